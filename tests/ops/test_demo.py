"""`pombo demo`: as a real process, and its screen."""

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pombo.ops.demo.kills import Kills
from pombo.ops.demo.screen import Frame, Meter, Outcome, Story, live, plain, summary
from pombo.ops.demo.tally import Tally, Verdict
from pombo.ops.demo.world import World
from pombo.ops.overview import Overview, RedisView, SourceView, WorkerView
from pombo.shared.audit import AuditReport, SourceAudit
from pombo.shared.deadletters import DeadLetter, LetterHeader
from pombo.shared.flow import Flow
from pombo.shared.ledger import Ledger
from pombo.shared.sources import Source
from support.programs import end_all, processes_with, program
from support.waiting import until

NONSENSE = {
    "POMBO_REDIS_URL": "nonsense://",
    "POMBO_JOBS_REDIS_URL": "nonsense://",
    "POMBO_NAMESPACE": "no space",
    "POMBO_SECRET_KEY": "x",
    "POMBO_SPOOL_DIR": "/nowhere",
    "POMBO_METRICS_PORT": "-1",
    "POMBO_LOG_LEVEL": "loud",
    "POMBO_LOG_FORMAT": "verse",
    "POMBO_DISABLED": "1",
    "POMBO_SEGMENT_WRITE_KEY": "y",
}
WIDTH, HEIGHT = 80, 24


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder for temporary files that nobody uses any more at the end."""
    made = tmp_path / "t"
    made.mkdir()
    yield made
    end_all(str(made))


def start(tmp_path: Path, *words: str, name: str = "demo", **env: str) -> Any:
    return program("demo", *words, folder=tmp_path / name, TMPDIR=str(tmp_path / "t"), **env)


def left(folder: Path) -> tuple[dict[int, str], list[Path]]:
    """Processes and files of a demo."""
    return processes_with(str(folder)), list(folder.iterdir())


def test_two_demos_end_well_among_nonsense(tmp_path: Path, folder: Path) -> None:
    """Two demos at once, one among settings and a `.env` of nonsense, balance, say so, and leave nothing."""
    disturbed = tmp_path / "disturbed"
    disturbed.mkdir()
    (disturbed / ".env").write_text("".join(f"{name}={value}\n" for name, value in NONSENSE.items()))
    with (
        start(tmp_path, "--seconds", "4") as one,
        start(tmp_path, "--seconds", "4", name="disturbed", **NONSENSE) as two,
    ):
        codes = [one.ends(), two.ends()]
        for demo in (one, two):
            assert "the audit balances: nothing lost, nothing twice, in order" in demo.out
            assert "Nothing was lost, nothing kept twice, and each user's events came in order." in demo.out
            assert "A worker was killed with -9; others served its partitions" in demo.out
            assert "" == demo.err

    assert [0, 0] == codes
    assert ({}, []) == left(folder)


def test_ctrl_c_ends_it_with_the_audit(tmp_path: Path, folder: Path) -> None:
    """Ctrl-C ends the talking; the rest is delivered and audited, and nothing is left behind."""
    with start(tmp_path, "--seconds", "600") as demo:
        until(lambda: " accepted " in demo.out, "figures")
        demo.send(signal.SIGINT)

        assert 0 == demo.ends()
        assert "No worker was killed." in demo.out
        assert "the audit balances" in demo.out
    assert ({}, []) == left(folder)


def test_a_stop_during_the_start_leaves_nothing(tmp_path: Path, folder: Path) -> None:
    """SIGTERM right after the first word is an early end, not a mess."""
    with start(tmp_path) as demo:
        until(lambda: "Starting" in demo.out, "first word")
        demo.send(signal.SIGTERM)

        assert 0 == demo.ends()
    assert ({}, []) == left(folder)


async def test_a_world_that_cannot_start_leaves_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where the server does not start, its folder is removed again."""
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    monkeypatch.setenv("POMBO_SERVER_BIN", str(tmp_path / "none"))
    with pytest.raises(Exception, match="none"):
        await World().__aenter__()

    assert ({}, []) == await asyncio.to_thread(left, folder)


# -- the screen --


def frame(*workers: WorkerView, **pids: int) -> Frame:
    ledger = Ledger(accepted=1_234_567, delivered=1_200_000, deduplicated=34_000, queued=567, dead=1)
    sources = [Source(name=name, incarnation="i") for name in ("support_bot", "orders_bot")]
    views = {source.name: SourceView(source, Flow(0), ledger) for source in sources}
    overview = Overview(views, (), workers, RedisView("valkey", "9", 0, 0, "aof always"))
    return Frame(second=59.4, ending="Ctrl-C ends it", overview=overview, pids=pids, requests=12_345, rate=199.6)


def screen_of(shown: Any) -> list[str]:
    """The lines on a terminal of 80 columns."""
    console = Console(width=WIDTH, height=HEIGHT, force_terminal=True, color_system=None)
    with console.capture() as capture:
        console.print(shown)
    return capture.get().splitlines()


def story(lines: int) -> Story:
    made = Story()
    for number in range(lines):
        made.tell(number * 7.1, "Segment accepts, then cuts the connection before it answers")
    return made


def outcome(*, lost: int = 0, letters: int = 2, ledger: Ledger | None = None) -> Outcome:
    tally = Tally({"u": ["m"] * 123_456}, offered_again=7_890)
    ledger = ledger or Ledger(accepted=131_346, delivered=123_450, deduplicated=7_890, dead=6)
    audits = {name: SourceAudit(ledger) for name in ("orders_bot", "support_bot")}
    header = LetterHeader("rejected_by_segment", 0, status=400)
    kills = Kills(took=[9.9])
    return Outcome(
        tally=tally,
        verdict=Verdict(123_450, 12, 6, lost, 0, 0),
        report=AuditReport(audits),
        letters=[DeadLetter("orders_bot", f"{n}-0", header, b"{}") for n in range(letters)],
        kills=kills,
    )


def test_live_figures_fit_a_small_terminal() -> None:
    """At 80 columns no figure is cut or wrapped, and all fits 24 lines."""
    running = WorkerView("a", pid=32_417, partitions=1, beat=1)
    killed = WorkerView("b", pid=32_419, partitions=8, beat=1)
    shown = screen_of(live(frame(running, killed, **{"worker 1": 32_417, "worker 2": 32_500}), story(20)))

    assert len(shown) < HEIGHT
    assert not [line for line in shown if "…" in line]
    text = "\n".join(shown)
    assert "support_bot active 1,234,567 1,200,000" in " ".join(text.split())
    assert "worker 1 (pid 32417) holds 1 partition " in text
    assert "worker 2 (pid 32500) is starting" in text
    assert "pid 32419 was killed with 8 partitions" in text
    assert "200 events/s delivered · 12,345 requests to Segment" in text
    assert "133.0" not in text
    assert "134.9 s  Segment accepts" in text


def test_summary_fits_one_screen() -> None:
    """The end says in plain words what happened, each sentence on a line of its own."""
    shown = screen_of(summary(outcome(), story(8)))
    text = "\n".join(shown)

    assert len(shown) < HEIGHT
    for told in (
        "123,456 events were accepted from bots, which offered 7,890 of them twice.",
        "2 were refused (400), alone: dead letters, with the answer kept.",
        "A worker was killed with -9; others served its partitions 9.9 s later.",
        "Nothing was lost, nothing kept twice, and each user's events came in order.",
        "support_bot: 131346 accepted = 123450 delivered + 7890 deduplicated + 6 dead",
    ):
        assert told in text
    assert "SOMETHING IS WRONG" not in text


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        (outcome(lost=3), "LOST 3, KEPT TWICE 0, OUT OF ORDER 0."),
        (outcome(ledger=Ledger(accepted=2, delivered=1)), "accepted = 1 delivered"),
    ],
)
def test_summary_says_what_is_wrong(bad: Outcome, expected: str) -> None:
    """A broken promise is in the title, in the text, and with the workers' last words."""
    if expected.startswith("accepted"):
        audits = {name: SourceAudit(one.ledger, one.ledger.problems) for name, one in bad.report.sources.items()}
        bad = Outcome(
            tally=bad.tally, verdict=bad.verdict, report=AuditReport(audits), letters=bad.letters, kills=bad.kills
        )
    text = "\n".join(screen_of(summary(bad, story(1), words="it hurts")))

    assert not bad.well
    assert "SOMETHING IS WRONG" in text
    assert expected in text
    assert "the workers' last words:" in text
    assert "it hurts" in text
    assert ("NOT BALANCED" in text) == expected.startswith("accepted")


def test_partitions_without_owner_are_not_well() -> None:
    """A demo at whose end a killed worker's partitions wait is no good one."""
    ended = outcome()
    ended.kills.note("w", 1.0)

    assert not ended.well


def test_plain_lines_hold_the_figures() -> None:
    """Without a terminal each source is a line."""
    lines = plain(frame()).splitlines()

    assert 2 == len(lines)
    assert " 59.4 s  support_bot  active  1234567 accepted" in lines[0]


def test_meter_measures_the_last_seconds() -> None:
    """The rate is that of the last two seconds, and 0 before there are two looks."""
    meter = Meter()
    rates = [meter.rate(second, count) for second, count in ((0, 0), (1, 100), (2, 200), (4, 200), (6, 200))]

    assert [0, 100, 100, 0, 0] == rates
