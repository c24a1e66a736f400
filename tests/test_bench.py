"""The benchmark: that it runs and tells all its figures; what they are, `make bench` says."""

import gzip
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from math import isfinite
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from bench.corpus import load
from bench.figures import LINES, Aim, Figure, Line, Series, figures
from bench.plan import QUICK
from bench.report import as_json, document, number
from bench.setting import Setting
from bench.stage import ROOT, SDK_PYTHON

SETTING = Setting("2026-01-01", "a machine", {"pombo": "1"}, "3 events", QUICK)
RATE = Line("rate", "a rate", "events/s", "mine", "theirs", aim=Aim("sdk", at_least=True, bound=2))


def runs(**given: list[float]) -> dict[str, list[float]]:
    """Values for a figure, with what every run has."""
    return {"large.worker_rss": [2.0], "small.worker_rss": [1.0], **given}


def figure(mine: list[float], theirs: list[float], line: Line = RATE) -> Figure:
    """One line with these values."""
    (found,) = figures(runs(mine=mine, theirs=theirs), [line])
    return found


# -- the run ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, str, str]:
    """What one quick run told: its JSON, its page and its table."""
    folder = tmp_path_factory.mktemp("bench")
    results, page = folder / "results.json", folder / "page.md"
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--quick", "--json", str(results), "--docs", str(page)],
        cwd=ROOT, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert 0 == done.returncode, done.stderr
    return json.loads(results.read_bytes()), page.read_text("utf-8"), done.stdout


def test_quick_run_has_every_figure(quick: tuple[Any, str, str]) -> None:
    """A quick run measures every line, each round of it, and each peer that is there."""
    results, _, _ = quick
    assert [line.key for line in LINES] == list(results["figures"])
    for line in LINES:
        told = results["figures"][line.key]
        wanted = {"pombo": True, "sdk": bool(line.sdk) and SDK_PYTHON.exists(), "rq": bool(line.rq)}
        assert wanted == {name: told[name] is not None for name in wanted}, line.key
        for name in (name for name in wanted if wanted[name]):
            assert all(isfinite(value) and value >= 0 for value in told[name]["runs"]), line.key
            assert len(told[name]["runs"]) == QUICK.rounds
    assert {"pombo", "rq", "server", "Python"} <= set(results["setting"]["versions"])


def test_quick_run_shows_every_line(quick: tuple[Any, str, str]) -> None:
    """Table and page have a row for every line."""
    _, page, table = quick
    assert [] == [line.title for line in LINES if line.title not in table or f"| {line.title} |" not in page]


def test_nothing_of_this_machine_is_told(quick: tuple[Any, str, str]) -> None:
    """The page names the machine's kind, and no folder of it."""
    results, page, _ = quick
    assert str(ROOT) not in page + json.dumps(results)
    assert "/tmp" not in page + json.dumps(results)


def test_full_run_needs_its_peer(tmp_path: Path) -> None:
    """Without Segment's SDK nothing is measured for the record, and the error says how to install it."""
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--sdk", str(tmp_path / "python")],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert 2 == done.returncode
    assert "`make bench` installs it" in done.stderr


# -- events -----------------------------------------------------------------------------------------------------------


def test_corpus_of_a_fresh_clone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Events come without messageIds, of many people at a time, and each person's turns in order."""
    talk = {
        "conversation_id": "c1",
        "vertical": "v",
        "scenario": "s",
        "turns": [{"speaker": "user", "text": "olá"}] * 3,
    }
    path = tmp_path / "dialogues.gz"
    path.write_bytes(gzip.compress(b"\n".join(json.dumps({**talk, "conversation_id": c}).encode() for c in "abc")))
    monkeypatch.setenv("POMBO_DIALOGUES", str(path))
    corpus = load()
    assert (3, 12) == (corpus.dialogues, len(corpus.events))
    assert all("messageId" not in event for event in corpus.events)
    assert ["a", "b", "c"] == [event["userId"] for event in corpus.events[:3]]
    turns = [event["properties"]["turn"] for event in corpus.events if event["userId"] == "b" and "properties" in event]
    assert all(one < other for one, other in pairwise(turns))


# -- the sink ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def sink() -> Iterator[int]:
    """The port of a running sink."""
    with subprocess.Popen(
        [sys.executable, "-m", "bench.sink"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.terminate()


def told(port: int) -> tuple[int, int]:
    """How many requests, with how many bytes, came since the last time."""
    with urlopen(f"http://127.0.0.1:{port}") as answer:
        tally = json.load(answer)
    return tally["requests"], tally["bytes"]


def test_sink_counts_requests_and_bytes(sink: int) -> None:
    """Every POST is answered as Segment does, counted once, and forgotten when it was told."""
    for size in (0, 1, 200_000):
        with urlopen(Request(f"http://127.0.0.1:{sink}/v1/batch", b"x" * size, method="POST")) as answer:
            assert {"success": True} == json.load(answer)
    assert (3, 200_001) == told(sink)
    assert (0, 0) == told(sink)


def test_sink_takes_requests_in_pieces(sink: int) -> None:
    """Heads and bodies may come byte by byte, and several requests at once, over one connection."""
    request = b"POST /v1/batch HTTP/1.1\r\nHost: h\r\ncontent-length: 3\r\n\r\nabc"
    with socket.create_connection(("127.0.0.1", sink)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(len(request)):
            connection.sendall(request[at : at + 1])
        connection.sendall(request * 2)
        answers = b""
        while answers.count(b"success") < 3:
            answers += connection.recv(1 << 16)
    assert (3, 9) == told(sink)


# -- figures ----------------------------------------------------------------------------------------------------------


def test_ratios_are_taken_within_rounds() -> None:
    """A ratio is that of the same round: what slowed both does not move it."""
    ratio = figure([30.0, 3.0, 300.0], [10.0, 1.0, 100.0]).ratio("sdk")
    assert Series((3.0, 3.0, 3.0)) == ratio


@pytest.mark.parametrize(("mine", "met"), [(21.0, True), (20.0, True), (19.0, False)])
def test_aims_judge_medians(mine: float, met: bool) -> None:
    """An aim is met by the median, from its bound on."""
    assert met is figure([1.0, mine, 99.0], [10.0, 10.0, 10.0]).met


def test_aims_may_bound_from_above() -> None:
    """An aim of at most so much is missed by more."""
    line = Line("memory", "memory", "B", "mine", aim=Aim("value", at_least=False, bound=16))
    assert [True, False] == [figure([value], [1.0], line).met for value in (16.0, 16.1)]


def test_absent_peer_decides_nothing() -> None:
    """Where a peer was not measured there is no ratio, and its aim is neither met nor missed."""
    (found,) = figures(runs(mine=[1.0]), [RATE])
    assert (None, None, None) == (found.sdk, found.ratio("sdk"), found.met)


def test_page_says_median_and_spread() -> None:
    """The page has the median with its spread, the ratio, the aim and whether it was met; JSON has every run."""
    found = figure([1000.0, 3000.0, 2000.0], [1000.0, 1000.0, 1000.0])
    row = "| a rate | events/s | 2,000 (1,000 … 3,000) | 1,000 (1,000 … 1,000) |  | 2 (1 … 3) |  | ≥ 2 | yes |"
    assert row in document(SETTING, [found]).splitlines()
    assert [1000.0, 3000.0, 2000.0] == as_json(SETTING, [found])["figures"]["rate"]["pombo"]["runs"]


def test_numbers_have_three_digits() -> None:
    """Numbers are as long as they mean something."""
    assert ["1,234,568", "123", "12.3", "1.23", "0.0123"] == [
        number(value) for value in (1_234_567.8, 123.4, 12.34, 1.234, 0.01234)
    ]
