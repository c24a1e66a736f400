"""Bad weather for Redis, each kind from the start of a `with` block to its end."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import chain, count

from support.installation import Installation, until
from support.oracle import Issued
from support.proxy import Road

LASTS_S = float(os.environ.get("POMBO_E2E_SECONDS", "20"))
"""Seconds of bad weather; the variable shortens it for development."""
BUDGET_S = 1.0
"""A producer's, unless it is told another."""
LATE_S = 0.25
"""Seconds beyond its budget after which a receipt must have told, however busy the machine is."""
SLOW_S = 2.0
FLAP_S, CRASH_S = 0.9, 1.7
"""Between two changes: longer than half a budget, so that bots spool each time."""
NOWHERE = ("127.0.0.1", "1")


@contextmanager
def _killed(here: Installation, road: Road) -> Iterator[list[float]]:
    at = here.kill_server()
    yield [at]
    here.restart_server()


@contextmanager
def _ended(here: Installation, road: Road) -> Iterator[list[float]]:
    at = here.kill_server(signal.SIGTERM)
    yield [at]
    here.restart_server()


@contextmanager
def _full(here: Installation, road: Road) -> Iterator[list[float]]:
    """Redis holds more than its limit, whatever the workers take out."""
    here.redis.config_set("maxmemory", "1mb")
    assert int(here.redis.info("memory")["used_memory"]) > 1 << 20
    yield []
    here.redis.config_set("maxmemory", "0")


@contextmanager
def _read_only(here: Installation, road: Road) -> Iterator[list[float]]:
    here.redis.replicaof(*NOWHERE)
    yield []
    here.redis.replicaof("NO", "ONE")


@contextmanager
def _slow(here: Installation, road: Road) -> Iterator[list[float]]:
    road.delay_s = SLOW_S
    yield []
    road.delay_s = 0.0


@contextmanager
def _half_open(here: Installation, road: Road) -> Iterator[list[float]]:
    road.hush()
    yield []
    road.speak()


@contextmanager
def _deaf(here: Installation, road: Road) -> Iterator[list[float]]:
    road.hush(replies_only=True)
    yield []
    road.speak()


@contextmanager
def _crashing(here: Installation, road: Road) -> Iterator[list[float]]:
    kills: list[float] = []
    starts: list[float] = []

    def crash(number: int) -> None:
        if number % 2:
            starts.append(here.restart_server())
        else:
            kills.append(here.kill_server())

    with by_turns(crash, CRASH_S):
        yield kills
    if len(starts) < len(kills):
        here.restart_server()


@contextmanager
def _flapping(here: Installation, road: Road) -> Iterator[list[float]]:
    def flap(number: int) -> None:
        road.speak() if number % 2 else road.hush(replies_only=number % 4 == 0)

    with by_turns(flap, FLAP_S):
        yield []
    road.speak()


@contextmanager
def _frozen(here: Installation, road: Road) -> Iterator[list[float]]:
    """What is sent meanwhile waits in the server's sockets, and is done when it goes on, whoever has given it up."""
    here.signal_server(signal.SIGSTOP)
    try:
        yield []
    finally:
        here.signal_server(signal.SIGCONT)


@contextmanager
def _freezing(here: Installation, road: Road) -> Iterator[list[float]]:
    def turn(number: int) -> None:
        here.signal_server(signal.SIGCONT if number % 2 else signal.SIGSTOP)

    try:
        with by_turns(turn, FLAP_S):
            yield []
    finally:
        here.signal_server(signal.SIGCONT)


@contextmanager
def by_turns(change: Callable[[int], None], every_s: float) -> Iterator[None]:
    """Call `change` with 0, 1, 2 … at once and then every so many seconds, in a thread, until the block ends."""
    ended = threading.Event()

    def work() -> None:
        for number in count():
            change(number)
            if ended.wait(every_s):
                return

    with ThreadPoolExecutor(1) as pool:
        turns = pool.submit(work)
        try:
            yield
        finally:
            ended.set()
            turns.result()


@dataclass(frozen=True)
class Weather:
    """One kind of weather.

    `begin` gives the wall clock (s) of each kill of Redis. `bots_outside` and `workers_outside`: it is on the road to
    Redis, so they must take the road; `steady`: it never clears up in between.
    """

    name: str
    begin: Callable[[Installation, Road], AbstractContextManager[list[float]]]
    bots_outside: bool = False
    workers_outside: bool = False
    steady: bool = True


KINDS = (
    Weather("killed", _killed),
    Weather("ended", _ended),
    Weather("killed again and again", _crashing, steady=False),
    Weather("frozen", _frozen),
    Weather("frozen again and again", _freezing, steady=False),
    Weather("full", _full),
    Weather("read-only", _read_only),
    Weather("2 s slow", _slow, bots_outside=True, workers_outside=True),
    Weather("half-open", _half_open, bots_outside=True, workers_outside=True),
    Weather("half-open for replies", _deaf, bots_outside=True, workers_outside=True),
    Weather("half-open again and again", _flapping, bots_outside=True, steady=False),
)


def last(since: float, seconds: float = LASTS_S) -> None:
    """Let the weather last until so many seconds after the wall clock's `since`."""
    until(lambda: time.time() > since + seconds, "end of the weather", seconds + 30)


def slowest(logs: Sequence[Sequence[Issued]]) -> float:
    """How long (s) the slowest receipt took; fails when that was beyond the budget."""
    last_one = max((one for one in chain(*logs) if one.outcome != "unheard"), key=lambda one: one.took)
    assert last_one.took <= BUDGET_S + LATE_S, last_one
    return last_one.took
