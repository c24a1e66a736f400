"""The benchmark: that it runs and tells all its figures; what they are, `make bench` says."""

import gzip
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from math import isfinite
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest
from bench import nginx, peers
from bench.corpus import load
from bench.figures import Beside, Figure, Line, Series, figures, least, most, percentile
from bench.nginx import NginxSink
from bench.peers import ROOT
from bench.plan import QUICK
from bench.processes import Sample, between, cpu_s, cpu_us_per_event, growth, rate, rss_bytes, tree
from bench.relay import Relay
from bench.report import NAMES, Chapter, as_json, document, number, rows
from bench.rounds import take_turns
from bench.sections import SECTIONS
from bench.setting import Setting
from bench.sink import PythonSink, Tally
from redis import Redis

from support.waiting import until

SETTING = Setting("2026-01-01", "a machine", {"pombo": "1"}, "3 events", "a sink", QUICK)
RATE = Line("rate", "a rate", "events/s", "mine", beside=(Beside("sdk", "theirs", least(2)),))
INSTALLED = {"sdk": "python", "sdk_consumer": "python", "sdk_import": "python", "streaq": "python", "arq": "python"}
"""Which of the peers' programs each comparison needs; the rest needs none."""


def figure(mine: list[float], theirs: list[float], line: Line = RATE) -> Figure:
    """One line with these values."""
    (found,) = figures({"mine": mine, "theirs": theirs}, [line])
    return found


# -- the run ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, str, str]:
    """What one quick run told: its JSON, its page and its table."""
    folder = tmp_path_factory.mktemp("bench")
    results, page = folder / "results.json", folder / "page.md"
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--quick", "--json", str(results), "--docs", str(page)],
        cwd=ROOT, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert 0 == done.returncode, done.stderr
    return json.loads(results.read_bytes()), page.read_text("utf-8"), done.stdout


LINES = [line for section in SECTIONS.values() for line in section.lines]


@pytest.mark.timeout(300)
def test_quick_run_has_every_figure(quick: tuple[Any, str, str]) -> None:
    """A quick run measures every line beside each peer that is there."""
    results, _, _ = quick
    there = peers.find()
    absent = {"python"} - ({"python"} if there.python else set())
    assert [line.key for line in LINES] == list(results["figures"])
    for line in LINES:
        told = results["figures"][line.key]
        wanted = [
            one.name
            for one in line.beside
            if INSTALLED.get(one.name) not in absent and (one.name != "node" or there.node is not None)
        ]
        assert wanted == list(told["beside"]), line.key
        for series in (told["pombo"], *(one["value"] for one in told["beside"].values())):
            assert all(isfinite(value) for value in series["runs"]), line.key
    assert {"pombo", "rq", "server", "Python"} <= set(results["setting"]["versions"])


@pytest.mark.timeout(300)
def test_quick_run_shows_every_line(quick: tuple[Any, str, str]) -> None:
    """Table and page have a row for every line, and the table needs no more than 160 columns."""
    _, page, table = quick
    assert [] == [line.title for line in LINES if line.title not in table or f"| {line.title} |" not in page]
    assert max(map(len, table.splitlines())) <= 160


@pytest.mark.timeout(300)
def test_nothing_of_this_machine_is_told(quick: tuple[Any, str, str]) -> None:
    """The page names the machine's kind, and no folder of it."""
    results, page, _ = quick
    assert str(ROOT) not in page + json.dumps(results)
    assert "/tmp" not in page + json.dumps(results)


def test_full_run_needs_its_peers(tmp_path: Path) -> None:
    """Without the peers nothing is measured for the record, and the error says how to install them."""
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--peers", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert 2 == done.returncode
    assert "segment-analytics-python, streaq, arq, @segment/analytics-node: not installed" in done.stderr
    assert "`make bench` installs them" in done.stderr


def test_unknown_section_is_refused() -> None:
    """A section that there is not is wrong usage, and the answer names those that there are."""
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--only", "enqueue,speed"],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert 2 == done.returncode
    assert f"there is no section speed; there are {', '.join(SECTIONS)}" in " ".join(done.stderr.split())


def test_everything_beside_pombo_has_a_name() -> None:
    """Every peer and limit has words for the table, and every line a key of its own."""
    assert set() == {one.name for line in LINES for one in line.beside} - set(NAMES)
    assert len(LINES) == len({line.key for line in LINES})


def test_rounds_alternate_and_warm_up_is_not_counted() -> None:
    """Every second round goes in reverse; the warm-up's values are forgotten."""
    taken: list[str] = []

    def road(name: str) -> dict[str, float]:
        taken.append(name)
        return {name: float(len(taken))}

    runs = take_turns([lambda: road("a"), lambda: road("b")], rounds=2, warm_rounds=1, say=lambda _: None)
    assert list("ababba") == taken
    assert {"a": [3.0, 6.0], "b": [4.0, 5.0]} == runs


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


# -- the sinks --------------------------------------------------------------------------------------------------------


@pytest.fixture
def sink() -> Iterator[PythonSink]:
    """A running sink."""
    running = PythonSink()
    yield running
    running.close()


def post(url: str, body: bytes) -> Any:
    """Send a body; what was answered."""
    with urlopen(Request(f"{url}/v1/batch", body, method="POST")) as answer:
        return json.load(answer)


def counted(tally: Tally) -> tuple[int, int]:
    """Requests, and bytes of their bodies."""
    return tally.requests, tally.bytes


def test_sink_counts_requests_and_bytes(sink: PythonSink) -> None:
    """Every POST is answered as Segment does, counted once, and forgotten when it was told."""
    for size in (0, 1, 200_000):
        assert {"success": True} == post(sink.url, b"x" * size)
    assert (3, 200_001) == counted(sink.take())
    assert (0, 0) == counted(sink.take())


def test_sink_takes_requests_in_pieces(sink: PythonSink) -> None:
    """Heads and bodies may come byte by byte, and several requests at once, over one connection."""
    request = b"POST /v1/batch HTTP/1.1\r\nHost: h\r\ncontent-length: 3\r\n\r\nabc"
    with socket.create_connection(("127.0.0.1", int(sink.url.rpartition(":")[2]))) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(len(request)):
            connection.sendall(request[at : at + 1])
        connection.sendall(request * 2)
        answers = b""
        while answers.count(b"success") < 3:
            answers += connection.recv(1 << 16)
    assert (3, 9) == counted(sink.take())


def test_sink_waits_and_notes_arrivals() -> None:
    """Told to, it lets answers wait, and notes when each messageId came: before the answer."""
    sink = PythonSink(delay_s=0.05, keep=True)
    try:
        begun = time.monotonic()
        post(sink.url, gzip.compress(json.dumps({"batch": [{"messageId": "a"}, {"messageId": "b"}]}).encode()))
        ended = time.monotonic()
        arrivals = sink.take().arrivals
    finally:
        sink.close()
    assert ["a", "b"] == sorted(arrivals)
    assert all(begun <= at <= ended - 0.05 for at in arrivals.values())


def test_access_log_is_added_up() -> None:
    """Begin, end, requests and bytes come from nginx's log; a request without a body counts 0 bytes."""
    tally = nginx.parse(["100.250 0.050 10", "100.300 0.200 30", "100.400 0.000 -"])
    assert (3, 40) == counted(tally)
    assert (100.1, 100.4) == pytest.approx((tally.first, tally.last))


@pytest.mark.skipif(nginx.program() is None and not os.environ.get("CI"), reason="nginx is not installed")
def test_nginx_sink_counts(tmp_path: Path) -> None:
    """Nginx answers as Segment does, keeps connections open, and tells requests and bytes once."""
    sink = NginxSink(tmp_path / "nginx")
    try:
        for size in (1, 300_000):
            assert {"success": True} == post(sink.url, b"x" * size)
        seen: list[Tally] = []

        def requests() -> int:
            seen.append(sink.take())
            return sum(one.requests for one in seen)

        until(lambda: requests() == 2, "two requests")  # nginx writes its log right after the answer.
        assert 300_001 == sum(one.bytes for one in seen)
        assert (0, 0) == counted(sink.take())
    finally:
        sink.close()


# -- the relay --------------------------------------------------------------------------------------------------------


def test_relay_delays_and_counts(redis_url: str) -> None:
    """A relay passes everything on, late in each direction, and counts the commands that clients sent."""
    with Relay(urlsplit(redis_url).path, delay_s=0.02, count=True) as relay, Redis.from_url(relay.redis_url) as redis:
        redis.ping()
        before, begun = relay.commands, time.monotonic()
        pipe = redis.pipeline(transaction=False)
        for number_ in range(300):
            pipe.set(f"k{number_}", b"x" * 10_000)
        pipe.execute()
        took = time.monotonic() - begun
        assert 300 == relay.commands - before
        assert b"x" * 10_000 == redis.get("k299")
    assert 0.04 <= took


def test_relay_ends_both_sides(redis_url: str) -> None:
    """Who hangs up is hung up on behind the relay, too."""
    with Relay(urlsplit(redis_url).path) as relay:
        with Redis.from_url(relay.redis_url, client_name="relayed") as redis:
            redis.ping()
        with Redis.from_url(redis_url) as other:
            until(lambda: "relayed" not in {one["name"] for one in other.client_list()}, "the relay to hang up")


# -- processes --------------------------------------------------------------------------------------------------------


SAMPLES = [
    Sample(0.0, 0, 0.50, 70),
    Sample(1.0, 100, 0.55, 80),
    Sample(2.0, 500, 0.75, 95),
    Sample(3.0, 900, 0.95, 85),
    Sample(4.0, 1000, 1.50, 99),
]


def test_steady_part_leaves_start_and_end_out() -> None:
    """Rate, CPU and memory are those between a tenth and nineteen twentieths of the events."""
    steady = between(SAMPLES, 1000)
    assert SAMPLES[1:4] == steady
    assert (400.0, 500.0, 15) == pytest.approx((rate(steady), cpu_us_per_event(steady), growth(steady)))


def test_too_few_samples_show_nothing() -> None:
    """A delivery that is over between two looks has no steady part."""
    with pytest.raises(ValueError, match="2 samples do not show a steady delivery of 1000 events"):
        between([SAMPLES[0], SAMPLES[-1]], 1000)


def test_processes_are_seen_from_outside() -> None:
    """A process' CPU and memory, and its children, are found by its pid."""
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as process:
        until(lambda: len(list(tree(process.pid))) == 2, "the child")
        assert process.pid == next(tree(process.pid))
        assert 0 < cpu_s(process.pid) < 60
        assert 1 << 20 < rss_bytes(process.pid) < 1 << 30
        assert process.stdin is not None
        process.stdin.close()
    assert (0.0, 0) == (cpu_s(process.pid), rss_bytes(process.pid))


# -- figures ----------------------------------------------------------------------------------------------------------


def test_ratios_are_taken_within_rounds() -> None:
    """A ratio is that of the same round: what slowed both does not move it."""
    (compared,) = figure([30.0, 3.0, 300.0], [10.0, 1.0, 100.0]).comparisons
    assert Series((3.0, 3.0, 3.0)) == compared.ratio


@pytest.mark.parametrize(("mine", "met"), [(21.0, True), (20.0, True), (19.0, False)])
def test_aims_judge_medians(mine: float, met: bool) -> None:
    """An aim is met by the median, from its bound on."""
    found = figure([1.0, mine, 99.0], [10.0, 10.0, 10.0])
    assert [met] == [one.met for one in found.comparisons]
    assert (None, not met) == (found.met, found.missed)


def test_aims_may_bound_from_above() -> None:
    """An aim of at most so much is missed by more."""
    line = Line("memory", "memory", "B", "mine", most(16))
    assert [(True, False), (False, True)] == [
        (found.met, found.missed) for found in (figure([value], [1.0], line) for value in (16.0, 16.1))
    ]


def test_absent_peer_decides_nothing() -> None:
    """Where a peer was not measured there is no ratio, and its aim is neither met nor missed."""
    (found,) = figures({"mine": [1.0]}, [RATE])
    assert ((), None, False) == (found.comparisons, found.met, found.missed)
    assert [] == figures({}, [RATE])


@pytest.mark.parametrize(("share", "found"), [(50, 51), (99, 100), (100, 100)])
def test_percentiles(share: int, found: float) -> None:
    """A percentile is a value that occurred."""
    assert found == percentile(list(range(1, 101)), share)


def test_page_says_median_and_spread() -> None:
    """The page has the median with its spread, the ratio, the aim and whether it was met; JSON has every run."""
    chapter = Chapter("part", "A part", [figure([1000.0, 3000.0, 2000.0], [1000.0] * 3)], "By counting.")
    row = (
        "| a rate | events/s | 2,000 (1,000 … 3,000) | segment-analytics-python | 1,000 (1,000 … 1,000) | 2 (1 … 3)"
        " | ≥ 2 | yes |"
    )
    page = document(SETTING, [chapter]).splitlines()
    assert row in page
    assert "- **A part.** By counting." in page
    assert [1000.0, 3000.0, 2000.0] == as_json(SETTING, [chapter])["figures"]["rate"]["pombo"]["runs"]


def test_own_aim_has_a_row_of_its_own() -> None:
    """A line with an aim of its own is judged in its first row, and its peers stand below."""
    line = Line("cpu", "CPU", "µs", "mine", most(8), beside=(Beside("sdk", "theirs", most(1 / 12)),))
    assert [
        ["CPU", "µs", "7", "", "", "", "≤ 8", "yes"],
        ["", "", "", "segment-analytics-python", "70.0", "0.1", "≤ 1/12", "NO"],
    ] == list(rows(figure([7.0], [70.0], line), spread=False))


def test_numbers_have_three_digits() -> None:
    """Numbers are as long as they mean something."""
    assert ["1,234,568", "123", "12.3", "1.23", "0.0123"] == [
        number(value) for value in (1_234_567.8, 123.4, 12.34, 1.234, 0.01234)
    ]
