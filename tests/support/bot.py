"""A bot for end-to-end tests, as a process of its own: a real `Producer`, and a file that says what it was told.

`python -m support.bot SOURCE OUT {play,repeat,stream,wait,fork} …`; the file has one line an event, in the order in
which they were issued: messageId, user, outcome, the wall clock (s) at which the receipt told it, and how long after
the call (s). A bot that streams may be killed: `OUT.offers` says before each call what is about to be issued.
"""

import argparse
import faulthandler
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import count, cycle
from multiprocessing import get_context
from pathlib import Path
from queue import SimpleQueue
from select import select
from typing import Any

import orjson
from prometheus_client import start_http_server

from pombo.producer import Producer, Receipt
from support.looped import Looped, Told

RECEIPT_S = 40.0
"""Less than who waits for a bot has patience, so that a receipt that stays silent is told as such."""
_LOOK_S = 0.005


class Watched:
    """A receipt, and when it told its outcome."""

    def __init__(self, receipt: Receipt | Told, begun: float) -> None:
        self.message_id = receipt.message_id
        self._receipt = receipt
        self._begun = begun
        self._told: list[tuple[float, float]] = []
        receipt.watch(lambda: self._told.append((time.time(), time.monotonic())))

    def outcome(self) -> tuple[str, float, float]:
        """Wait for it; its word, when it was told by the wall clock (s), and how long after the call (s)."""
        known = self._receipt.wait(RECEIPT_S)
        outcome = type(self._receipt.outcome).__name__.lower() if known else "silent"
        at, ended = self._told[0] if self._told else (time.time(), time.monotonic())
        return getattr(self._receipt.outcome, "reason", outcome), at, ended - self._begun


class Diary:
    """Write down what became of each event, in order, as soon as it is known; a thread waits for the receipts."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb", buffering=0)
        self._offers = path.with_name(f"{path.name}.offers").open("wb", buffering=0)
        self._queue: SimpleQueue[tuple[str, Watched] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="diary")
        self._thread.start()

    def offer(self, user: str, message_id: str) -> float:
        """Write down what is about to be issued; returns the monotonic time (s)."""
        self._offers.write(orjson.dumps([message_id, user], option=orjson.OPT_APPEND_NEWLINE))
        return time.monotonic()

    def note(self, user: str, receipt: Receipt | Told, begun: float | None = None) -> None:
        """Follow a receipt of a call that began at that monotonic time (s); default: now."""
        self._queue.put((user, Watched(receipt, time.monotonic() if begun is None else begun)))

    def close(self) -> None:
        """Wait for the last receipt."""
        self._queue.put(None)
        self._thread.join()
        self._file.close()
        self._offers.close()

    def _work(self) -> None:
        while (entry := self._queue.get()) is not None:
            user, watched = entry
            line = [watched.message_id, user, *watched.outcome()]
            self._file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))


class Stopped:
    """Whether SIGTERM asked this bot to end.

    No `Event`: a handler that sets one waits for ever when the signal comes while its own thread holds the Event's
    lock.
    """

    def __init__(self) -> None:
        self._ear, mouth = os.pipe()
        signal.signal(signal.SIGTERM, lambda *_: os.write(mouth, b"."))

    def __bool__(self) -> bool:
        return self._hears(0)

    def wait(self, seconds: float | None) -> None:
        """Wait so long, or for SIGTERM."""
        self._hears(seconds)

    def _hears(self, seconds: float | None) -> bool:
        return bool(select([self._ear], [], [], seconds)[0])


def play(producer: Producer, diary: Diary, path: Path) -> None:
    """Issue the events of a file as fast as they are taken."""
    for event in _read(path):
        diary.note(event["userId"], producer.enqueue(event))


def repeat(producer: Producer, diary: Diary, path: Path, others: list[Path]) -> None:
    """Issue the events of a file again, each once another bot wrote down that it was accepted."""
    waiting = {event["messageId"]: event for event in _read(path)}
    tails = [_Tail(other) for other in others]
    ends = time.monotonic() + RECEIPT_S
    while waiting and time.monotonic() < ends:
        for message_id, _, outcome, *_ in (row for tail in tails for row in tail.news()):
            event = waiting.pop(message_id, None)
            if event is not None and outcome == "accepted":
                diary.note(event["userId"], producer.enqueue(event))
        time.sleep(_LOOK_S)
    if waiting:
        sys.exit(f"{len(waiting)} events to repeat were never accepted")


class _Tail:
    """Another bot's diary, as it grows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def news(self) -> list[Any]:
        """The whole lines since the last look."""
        with suppress(FileNotFoundError), self._path.open("rb") as file:
            file.seek(self._offset)
            text = file.read()
            text = text[: text.rfind(b"\n") + 1]
            self._offset += len(text)
            return [orjson.loads(line) for line in text.splitlines()]
        return []


class Turns(threading.Thread):
    """Take one's turns in a relay: issue what a line on stdin lists, and answer with all the outcomes on stdout."""

    def __init__(self, producer: Producer | Looped) -> None:
        super().__init__(name="turns", daemon=True)
        self._producer = producer
        self.start()

    def run(self) -> None:
        """Until stdin ends."""
        for line in sys.stdin:
            told = [watched.outcome() for watched in [self._issue(*one) for one in orjson.loads(line)]]
            print(orjson.dumps([(outcome, took) for outcome, _, took in told]).decode(), flush=True)

    def _issue(self, user: str, message_id: str) -> Watched:
        begun = time.monotonic()
        return Watched(self._producer.track(user, "Message Sent", {"text": "olá"}, message_id=message_id), begun)


def stream(producer: Producer | Looped, diary: Diary, name: str, *, users: int, rate: float, tick: float) -> None:
    """Issue events of some users in turn, `rate` a second in bursts every `tick` seconds, until SIGTERM."""
    stopped = Stopped()
    begun, issued = time.monotonic(), 0
    names = cycle(f"{name}-u{number:03}" for number in range(users))
    numbers = {user: count() for user in (f"{name}-u{number:03}" for number in range(users))}
    while not stopped:
        due = int((time.monotonic() - begun) * rate)
        for user in (next(names) for _ in range(due - issued)):
            message_id = f"{user}.{next(numbers[user]):06}"
            called = diary.offer(user, message_id)
            diary.note(user, producer.track(user, "Message Sent", {"text": "olá"}, message_id=message_id), called)
        issued = due
        stopped.wait(tick)


def fork(producer: Producer, diary: Diary, out: Path) -> None:
    """Issue events, fork with some of them still buffered, and issue more on both sides, the child as another user."""
    users = {"parent": count(), "child": count(), "grandchild": count()}

    def issue(diary: Diary, user: str, events: int) -> None:
        for _ in range(events):
            receipt = producer.track(user, "Message Sent", message_id=f"{user}.{next(users[user]):06}")
            diary.note(user, receipt)

    def child(name: str) -> None:
        own = Diary(out.with_suffix(f".{name}"))
        issue(own, name, 500)
        producer.flush(10)
        own.close()

    issue(diary, "parent", 500)
    forked = os.fork()
    if not forked:
        child("child")
        os._exit(0)
    # One that ends as multiprocessing's children do, without a flush at exit of its own.
    grandchild = get_context("fork").Process(target=child, args=("grandchild",))
    grandchild.start()
    issue(diary, "parent", 500)
    grandchild.join(30)
    _, status = os.waitpid(forked, 0)
    if status or grandchild.exitcode:
        sys.exit(f"the children ended with {status} and {grandchild.exitcode}")


def _read(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        yield from map(orjson.loads, file)


def main() -> None:
    """Read the command line and be that bot."""
    parser = argparse.ArgumentParser()
    parser.add_argument("source")
    parser.add_argument("out", type=Path)
    parser.add_argument("--budget", type=float, default=1.0)
    parser.add_argument("--spool-bytes", type=int)
    parser.add_argument("--metrics", action="store_true", help="serve /metrics, on the port in OUT.port")
    modes = parser.add_subparsers(dest="mode", required=True)
    modes.add_parser("play").add_argument("events", type=Path)
    again = modes.add_parser("repeat")
    again.add_argument("events", type=Path)
    again.add_argument("others", type=Path, nargs="+")
    steady = modes.add_parser("stream")
    steady.add_argument("name")
    steady.add_argument("--users", type=int, default=20)
    steady.add_argument("--rate", type=float, default=200.0)
    steady.add_argument("--tick", type=float, default=0.02)
    steady.add_argument("--turns", action="store_true", help="take turns in a relay, told on stdin")
    steady.add_argument("--asyncio", action="store_true", help="be an AsyncProducer")
    modes.add_parser("wait", help="issue nothing until SIGTERM")
    modes.add_parser("fork")
    run(parser.parse_args())


def run(told: argparse.Namespace) -> None:
    """Be the bot that was told."""
    faulthandler.enable()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s")
    diary = Diary(told.out)
    if told.metrics:
        server, _ = start_http_server(0, "127.0.0.1")
        told.out.with_name(f"{told.out.name}.port").write_text(f"{server.server_port}\n")
    options = {"when_full": "block", "block_timeout_s": RECEIPT_S, "budget_s": told.budget}
    if told.spool_bytes is not None:
        options["spool_bytes"] = told.spool_bytes
    if getattr(told, "asyncio", False):
        with Looped(told.source, **options) as looped:
            _stream(looped, diary, told)
    else:
        with Producer(told.source, **options) as producer:
            _be(producer, diary, told)
    diary.close()


def _be(producer: Producer, diary: Diary, told: argparse.Namespace) -> None:
    match told.mode:
        case "play":
            play(producer, diary, told.events)
        case "repeat":
            repeat(producer, diary, told.events, told.others)
        case "stream":
            _stream(producer, diary, told)
        case "wait":
            stopped = Stopped()
            print("ready", flush=True)
            stopped.wait(None)
        case "fork":
            fork(producer, diary, told.out)


def _stream(producer: Producer | Looped, diary: Diary, told: argparse.Namespace) -> None:
    if told.turns:
        Turns(producer)
    stream(producer, diary, told.name, users=told.users, rate=told.rate, tick=told.tick)


if __name__ == "__main__":
    main()
