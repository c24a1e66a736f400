"""The report's form, with results made up: what went wrong or is missing is said, and no text breaks a table."""

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest

from chaos.campaign import Tally
from chaos.explore import Outcome
from chaos.report import (
    TEMPLATE,
    cell,
    document,
    main,
    missing,
    mutants,
    recovery,
    sections,
    simulated,
    summary,
    verdict,
    wrongs,
)
from chaos.seen import Result, read
from support.results import FAILED

SOUND = {
    "issued": 1000, "accepted": 990, "kept": 988, "dead": 2, "unconfirmed": 0, "lost": 0, "twice": 0,
    "out_of_order": 0, "spurious": 0, "dropped": 0, "needless": 0, "sent_again": {},
}  # fmt: skip
KILLED = "worker killed -9 amid a request"
WELL = "nothing accepted was lost but what Redis itself forgot"


def result(section: str, fault: str, seen: str = "well", *, runs: int = 1, **figures: float) -> Result:
    """A result without an oracle's judgement."""
    return Result(section=section, fault=fault, seen=seen, runs=runs, figures=figures)


def judged(section: str, fault: str, *, found: dict[str, Any] | None = None, runs: int = 1, **figures: float) -> Result:
    """A result of real processes; `found` is what the oracle counted besides a sound run."""
    oracle = {**SOUND, **(found or {})}
    words = {"section": section, "fault": fault, "seen": "well", "runs": runs, "figures": figures, "oracle": oracle}
    return Result.model_validate(words)


def campaign(fault: str, *, wrong: int = 0) -> Result:
    """A campaign of two runs, told as the simulation tells it."""
    tally = Tally()
    for number in range(2):
        figures = Counter(runs=1, steps=500, events=10, kills=3, requests=7, recounts=4)
        problems = ["lost: a0"] if number < wrong else []
        again, blows = Counter({"answer lost": 2, "lease lost": 1}), Counter({"late": 1000})
        tally.add(Outcome(f"storm:{number}", problems, figures, again, blows))
    return result("Simulation", fault, str(tally), **dict(tally.figures), went_wrong=wrong)


def whole() -> list[Result]:
    """Something of every suite, and all is well."""
    campaigns = ("every blow at every step", "random schedules", "random schedules for hours")
    processes = ("Our processes", "The gateway", "Redis", "Segment", "The machine")
    return [
        *(campaign(fault) for fault in campaigns),
        *(judged(section, "some fault") for section in processes),
        result("Mutants", "ack before send", "refused:calm: lost: a0"),
    ]


def row(table: str, first: str) -> list[str]:
    """The cells of the row that begins so."""
    line = next(line for line in table.splitlines() if line.startswith(f"| {first} |"))
    return [one.strip() for one in re.split(r"(?<!\\)\|", line)[2:-1]]


def test_all_is_well() -> None:
    """With every suite there and nothing wrong, the verdict says so, and nothing else."""
    assert ([], []) == (wrongs(whole()), missing(whole()))
    assert verdict(whole()).startswith("In what is shown here, ")
    assert WELL in verdict(whole())
    assert "Not" not in verdict(whole())


def test_missing_suites() -> None:
    """A suite that left nothing is named with its command, before the figures and in its own place."""
    there = [one for one in whole() if one.section not in {"Segment", "Mutants"} and "hours" not in one.fault]
    expected = ["Simulation: random schedules for hours (`make chaos-long`)", "Mutants (`make mutants`)"]
    assert [*expected, "Segment (`make e2e`)"] == missing(there)
    assert f"**Not run, so nothing is said of it:** {'; '.join(missing(there))}." in verdict(there)
    assert "### Segment\n\nNot run." in [*sections(there)]
    assert "Not run." == mutants(there)
    assert ["", "not run", "not run", "≤ 15 s"] == row(recovery(there), _of_a_kill(there))


def _of_a_kill(results: list[Result]) -> str:
    return next(line for line in recovery(results).splitlines() if "killed -9:" in line).split("|")[1].strip()


def test_nothing_of_the_simulation() -> None:
    """Sums of nothing are no zeros."""
    there = [one for one in whole() if one.section != "Simulation"]
    assert ["not run", "0"] == row(summary(there), "lost")
    assert ["0", "not run"] == row(summary([one for one in whole() if one.section == "Simulation"]), "lost")
    assert "Not run." == simulated(there)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (campaign("random schedules", wrong=1), "1 of 2 runs went wrong"),
        (judged("Redis", "late", found={"lost": 3}), "3 lost"),
        (judged("Redis", "flushed", found={"lost": 3}, held_events=2), "3 lost, of 2 held"),
        (judged("Redis", "late", found={"out_of_order": 4}), "4 out of order"),
        (judged("Segment", "late", found={"needless": 5, "twice": 1}), "1 kept twice, 5 sent again without a cause"),
        (judged("Segment", "late", found={"spurious": 1}), "1 never issued"),
        (judged("Segment", "late", found={"dropped": 1}), "1 dropped by Segment"),
        (result("Mutants", "spool bypassed", "survived"), "not found out"),
        (result(FAILED, "tests/e2e/test_kills.py::test_kills", "call: AssertionError"), "failed"),
    ],
)
def test_what_went_wrong_is_said_first(bad: Result, said: str) -> None:
    """Whatever went wrong is in the verdict by name, which then does not call it well."""
    told = verdict([*whole(), bad])
    assert told.startswith("**Not all went well: 1.**")
    assert f"- {bad.section}, {bad.fault}: {said}" in told
    assert WELL not in told


def test_what_went_wrong_is_in_its_row() -> None:
    """The row says so in bold, whatever its test had to say, and so do the sums."""
    bad = judged("Redis", "late", found={"lost": 3, "out_of_order": 4})
    shown = row("\n".join(sections([*whole(), bad])), "late")
    assert ["1", "1,000", "**3**", "**4**", "0", "**Went wrong: 3 lost, 4 out of order.** well"] == shown
    assert "**3**" == row(summary([*whole(), bad]), "lost")[1]
    assert "**4**" == row(summary([*whole(), bad]), "out of order")[1]


def test_simulated_runs_that_went_wrong() -> None:
    """They are counted in bold, and the zeros beside them are those of the others."""
    results = [*whole()[1:], campaign("every blow at every step", wrong=2)]
    assert "6, of which **2 went wrong**" == row(summary(results), "runs")[0]
    assert "0 in the runs that went well" == row(summary(results), "lost")[0]
    shown = row(simulated(results), "every blow at every step")
    assert ["2", "2,000", "1,000", "6", "20", "14", "8", "**2**", "4 answer lost, 2 lease lost"] == shown


def test_sums() -> None:
    """Figures of both kinds are added up over all runs; what Redis forgot is told apart from what is lost."""
    forgot = {"lost": 20, "sent_again": {"after Redis forgot": 7}}
    results = [
        *whole(), judged("Redis", "power lost", found=forgot, forgotten_events=50, named_events=50),
        judged("Our processes", KILLED, found={"sent_again": {"after kills": 2}}, runs=10),
    ]  # fmt: skip
    told = summary(results)
    assert ["6, of which 0 went wrong", "16, in 7 tests"] == row(told, "runs")
    assert ["18", "10 at least"] == row(told, "killed -9")
    assert ["60", "7,000"] == row(told, "ids issued")
    assert ["0", "0, and 20 that Redis itself forgot"] == row(told, "lost")
    again = "12 answer lost, 6 lease lost"
    assert [again, "7 after Redis forgot, 2 after kills"] == row(told, "sent again, with cause")
    assert [] == wrongs(results)
    assert "20 of 50 forgotten" == row("\n".join(sections(results)), "power lost")[2]


def test_recovery() -> None:
    """Median and worst come from the figures; what took longer than promised is bold, and in the verdict."""
    soon = judged("Our processes", KILLED, runs=10, recovered_median_s=8.25, recovered_worst_s=15.0)
    late = judged("Our processes", KILLED, runs=10, recovered_median_s=8.25, recovered_worst_s=15.01)
    assert ["10", "8.2 s", "15.0 s", "≤ 15 s"] == row(recovery([soon]), _of_a_kill([soon]))
    assert "**15.0 s**, late" == row(recovery([late]), _of_a_kill([late]))[2]
    assert [] == wrongs([soon])
    assert [f"{_of_a_kill([late])}: 15.0 s, promised 15 s"] == wrongs([late])


def test_recovery_over_several_faults() -> None:
    """Where no test knows a median, it is that of all faults' worst."""
    results = [judged("Segment", f"fault {s}", resumed_s=s) for s in (1.0, 2.0, 9.0)]
    told = next(line for line in recovery(results).splitlines() if line.startswith("| Segment "))
    assert ["3", "2.0 s", "9.0 s", ""] == [one.strip() for one in told.split("|")[2:-1]]


def test_mutants() -> None:
    """Each is shown with the run that found it, without moments and dumps; a survivor is bold."""
    results = [
        result("Mutants", "ack before send", "storm:7: 13.0150 claim: took effect"),
        result("Mutants", "claim remembers nothing", "delivery:calm: stuck: no end: {'queued': 1}"),
        result("Mutants", "spool bypassed", "survived"),
    ]
    told = mutants(results)
    assert told.startswith("**2 of 3 were found out.**")
    assert mutants(results[:2]).startswith("2 of 2 were found out.")
    assert ["`storm:7`", "claim: took effect"] == row(told, "ack before send")
    assert ["`delivery:calm`", "stuck: no end"] == row(told, "claim remembers nothing")
    assert ["**survived**", ""] == row(told, "spool bypassed")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a | b\nc\x1b[1m\td", "a \\| b c [1m d"),
        (r"a\|b", r"a\\\|b"),
        ("**well** <script> [x](y)", r"\*\*well\*\* &lt;script> [x]\(y)"),
        ("one ` alone", "one ' alone"),
        ("see `pombo audit`", "see `pombo audit`"),
        ("away since 2026-01-02T03:04:05.678Z: x", "away: x"),
        ("held until 2026-01-02T03:04:05+00:00", "held"),
        ("emptied at 2026-01-02 03:04:05 UTC, as", "emptied, as"),
        ("forgot between 2026-01-02 03:04:05 and 03:04:07 UTC: x", "forgot: x"),
        ("cannot open '/tmp/some/where.db': full", "cannot open '…': full"),
        ("POST /v1/batch at 1/2 and 502/503", "POST /v1/batch at 1/2 and 502/503"),
    ],
)
def test_cell(text: str, shown: str) -> None:
    """Text of any kind stays in its cell, and tells neither moments nor paths."""
    assert shown == cell(text)


def test_long_cell() -> None:
    """Text is cut between words, and says that it is."""
    assert "one two …" == cell("one two three", 10)
    assert "one two three" == cell("one two three", 13)


def test_a_pipe_keeps_the_columns() -> None:
    """A row has as many cells as its table, whatever its texts hold."""
    odd = judged("Redis", "a | b `c", found={"sent_again": {"x|y": 1}})
    lines = [line for line in "\n".join(sections([odd])).splitlines() if line.startswith("|")]
    assert {7} == {len(re.split(r"(?<!\\)\|", line)) - 2 for line in lines}


def test_a_page() -> None:
    """The template's every place is filled, headings stand in order, and a section that nobody foresaw is shown."""
    page = document(TEMPLATE.read_text("utf-8"), [*whole(), judged("Clouds", "rain")])
    assert "$" not in page
    promised = re.findall(r"^(\d+)\. \*\*", page, re.MULTILINE)
    assert [str(number) for number in range(1, 13)] == promised
    titles = re.findall(r"^### (.+)$", page, re.MULTILINE)
    real = ["Our processes", "The gateway", "Redis", "Segment", "The machine", "Clouds"]
    assert ["Simulated worlds", *real, "Broken pombos"] == titles


def test_what_a_redis_keeps() -> None:
    """The table of persistence shows what was seen under each, and where nothing was."""
    power = judged(
        "Redis", "power lost with appendfsync everysec", found={"lost": 20}, forgotten_events=50, named_events=49
    )
    page = document(TEMPLATE.read_text("utf-8"), [power, judged("Redis", "killed -9 with appendfsync everysec")])
    told = "Redis forgot 50 accepted, `audit` named 49, not delivered before: 20"
    assert told == row(page, "AOF, `appendfsync everysec`, its machine crashes")[1]
    assert "lost 0 of 990 accepted" == row(page, "AOF, `appendfsync everysec`, its process killed")[1]
    assert "not run" == row(page, "`FLUSHALL`")[1]


def test_unknown_place() -> None:
    """A place in the template that nothing belongs to is an error, not a hole."""
    with pytest.raises(ValueError, match=r"\$weather"):
        document("$verdict $weather", whole())


def test_command(tmp_path: Path) -> None:
    """It reads the files, writes the page, says what went wrong, and exits by that."""
    said: list[str] = []
    page = tmp_path / "page.md"
    for number, one in enumerate(whole()):
        (tmp_path / f"{number}.json").write_bytes(orjson.dumps(one.model_dump()))
    assert 0 == main(tmp_path, page, said.append)
    assert WELL in page.read_text("utf-8")
    (tmp_path / "bad.json").write_bytes(orjson.dumps(campaign("random schedules", wrong=1).model_dump()))
    assert 1 == main(tmp_path, page, said.append)
    assert "Not all went well" in page.read_text("utf-8")
    assert "random schedules: 1 of 2 runs went wrong" in said[-1]


def test_command_without_results(tmp_path: Path) -> None:
    """Nothing to read, or a file that is no result, leaves the page alone and says what to do."""
    said: list[str] = []
    page = tmp_path / "page.md"
    assert 2 == main(tmp_path, page, said.append)
    assert "run `make chaos`" in said[-1]
    (tmp_path / "odd.json").write_text('{"section": "Redis"}', "utf-8")
    assert 2 == main(tmp_path, page, said.append)
    assert "odd.json is no result (fault: Field required): delete it" in said[-1]
    assert not page.exists()
    with pytest.raises(ValueError, match=r"odd\.json"):
        read(tmp_path)


def test_a_failing_test_leaves_a_result(tmp_path: Path) -> None:
    """What a test recorded before it failed does not stand alone; once it passes, nothing is held against it."""
    tests = Path(__file__).resolve().parents[1]
    (tmp_path / "conftest.py").write_text("from e2e.conftest import pytest_runtest_makereport\n", "utf-8")
    (tmp_path / "test_it.py").write_text(
        "import os\n\n\ndef test_limit() -> None:\n    assert os.environ['TOOK_S'] <= '15', 'too late'\n", "utf-8"
    )

    def play(took_s: str) -> list[str]:
        env = {
            **os.environ, "TOOK_S": took_s, "POMBO_RESULTS": str(tmp_path / "seen"), "PYTHONPATH": str(tests),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        }  # fmt: skip
        words = [sys.executable, "-m", "pytest", "--rootdir", str(tmp_path), "-c", os.devnull, str(tmp_path)]
        done = subprocess.run(words, env=env, cwd=tmp_path, check=False, capture_output=True, text=True)
        assert done.returncode == (0 if took_s <= "15" else 1), done.stdout
        return [f"{one.section}: {one.fault}: {one.seen}" for one in _results(tmp_path / "seen")]

    (told,) = play("16")
    assert told.startswith(f"{FAILED}: test_it.py::test_limit: call: AssertionError: too late")
    assert [] == play("14")


def _results(folder: Path) -> list[Result]:
    return read(folder) if any(folder.glob("*.json")) else []
