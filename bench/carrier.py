"""pombo's own trials on a bot's side: producers that enqueue, and backlogs.

`POMBO_*` variables say which server and which secret; the sources are there.
"""

import asyncio
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import cycle, islice
from queue import SimpleQueue
from typing import Any, NamedTuple

from redis import Redis

from bench.trial import PARTITIONS, SOURCE, Call, Event, Meter, Result, at_pace, caller_times, main, read, timed
from pombo.producer import Producer
from pombo.producer.flush import MAX_BATCHES, Flush, read_answer
from pombo.producer.receipts import Receipt
from pombo.shared.batches import MAX_EVENTS, key_hash
from pombo.shared.connection import aconnect, connect, redis_url
from pombo.shared.messageids import new_message_id
from pombo.shared.prepared import prepare
from pombo.shared.registry import Registry
from pombo.shared.scripts import script
from pombo.shared.secrets import load_secrets
from pombo.shared.settings import Settings, read_settings
from pombo.shared.sources import Source

_PATIENCE_S = 60.0


# -- bots -----------------------------------------------------------------------------------------------------------


def enqueue(*, events: str, count: int, warm: int, redis: str | None = None) -> Result:
    """Call `track` for each event, and wait until all are accepted; `redis` is a way round, such as a relay.

    Raises:
        RuntimeError: one was not.
    """
    settings = read_settings()
    # Room for all, as the SDK gets it: neither loses an event or waits for room.
    with Producer(
        SOURCE, redis_url=redis, buffer_events=count + warm, buffer_bytes=1 << 30, budget_s=_PATIENCE_S
    ) as producer:
        calls = [_call(producer, event) for event in read(events, count)]
        timed(calls[:warm])
        producer.flush(_PATIENCE_S)
        before = _stored(settings)
        meter = Meter()
        spent = timed(calls)
        called = meter.wall
        producer.flush(_PATIENCE_S)
        accepted, cpu = meter.wall, meter.cpu
    after = _stored(settings)
    _expect(after["accepted"] - before["accepted"], count, "accepted")
    return {
        "rate": count / accepted,
        "call_rate": count / called,
        "cpu_us": cpu / count * 1e6,
        "batch_events": count / (after["batches"] - before["batches"]),
        **caller_times(spent),
    }


def paced(*, events: str, rate: float, seconds: float, warm: int, redis: str) -> Result:
    """Call `track` at a steady pace, and time each call.

    Raises:
        RuntimeError: not all events were accepted.
    """
    count = int(rate * seconds)
    with Producer(SOURCE, redis_url=redis, budget_s=_PATIENCE_S) as producer:
        calls = [_call(producer, event) for event in read(events, count)]
        timed(calls[:warm])
        producer.flush(_PATIENCE_S)
        spent = timed(calls, pace_s=1 / rate)
        producer.flush(_PATIENCE_S)
    _expect(_stored(read_settings())["accepted"], count + warm, "accepted")
    return caller_times(spent)


def offer(*, events: str, rate: float, seconds: float) -> Result:
    """Offer events at a steady pace; by messageId, when each receipt said Accepted (monotonic, s)."""
    accepted: Result = {}
    receipts: SimpleQueue[Receipt | None] = SimpleQueue()

    def collect() -> None:
        while (receipt := receipts.get()) is not None:
            message_id = receipt.result(_PATIENCE_S).message_id
            accepted[message_id] = time.monotonic()

    collector = threading.Thread(target=collect)
    collector.start()
    with Producer(SOURCE, budget_s=_PATIENCE_S) as producer:
        for call in at_pace((_call(producer, event) for event in read(events, int(rate * seconds))), 1 / rate):
            receipts.put(call())
        receipts.put(None)
        collector.join()
    return accepted


def bots(*, events: str, sources: Sequence[str], rate: float, seconds: float) -> Result:
    """Several bots, each of its own source and with `rate` events a second, one after the other in turns."""
    with ExitStack() as stack:
        producers = [stack.enter_context(Producer(source)) for source in sources]
        some = zip(cycle(producers), read(events, int(rate * seconds) * len(sources)), strict=False)
        calls = (_call(producer, event) for producer, event in some)
        receipts = [call() for call in at_pace(calls, 1 / rate / len(sources))]
        for receipt in receipts:
            receipt.result(_PATIENCE_S)
    return {"accepted": len(receipts)}


def _call(producer: Producer, event: Event) -> Call[Receipt]:
    if event["type"] == "identify":
        return partial(producer.identify, event["userId"], event["traits"])
    return partial(producer.track, event["userId"], event["event"], event["properties"])


# -- backlogs -------------------------------------------------------------------------------------------------------


class _Ready(NamedTuple):
    """An event as an append wants it."""

    body: bytes
    type: str
    hash: int


def fill(*, events: str, count: int, batch: int = MAX_EVENTS) -> Result:
    """Append a backlog in record batches of `batch` events (1, or as many as they hold), as a busy producer does.

    Raises:
        RuntimeError: the server did not take it.
    """
    settings = read_settings()
    some = _ready(events, count)
    source = asyncio.run(_sources(settings))[SOURCE]
    with connect(redis_url(settings)) as redis:
        before = _stored(settings)["accepted"]
        single = batch == 1
        _append(redis, settings, source, ([one] for one in some) if single else _full(some, source.partitions))
    _expect(_stored(settings)["accepted"] - before, count, "accepted")
    return {}


def fill_many(*, events: str, each: int) -> Result:
    """Append `each` events to every source that there is; raises `RuntimeError` as `fill` does."""
    settings = read_settings()
    sources = asyncio.run(_sources(settings)).values()
    some = _ready(events, each * len(sources))
    with connect(redis_url(settings)) as redis:
        for source in sources:
            _append(redis, settings, source, [list(islice(some, each))])
    return {}


async def _sources(settings: Settings) -> dict[str, Source]:
    redis = aconnect(redis_url(settings))
    try:
        return {one.name: one for one in await Registry(redis, settings.keys, load_secrets(settings)).list()}
    finally:
        await redis.aclose()


def _ready(path: str, count: int) -> Iterator[_Ready]:
    """The file's events, a millisecond apart; once they are through they come again under new messageIds."""
    begun, step = datetime.now(UTC), timedelta(milliseconds=1)
    first = [prepare(event, now=begun + number * step) for number, event in enumerate(read(path, _lines(path)))]
    yield from (_Ready(one.body, one.type, key_hash(one.ordering_key)) for one in first[:count])
    for one in islice(cycle(first), max(count - len(first), 0)):
        body = one.body.replace(one.message_id.encode(), new_message_id().encode(), 1)
        yield _Ready(body, one.type, key_hash(one.ordering_key))


def _lines(path: str) -> int:
    with open(path, "rb") as file:
        return sum(1 for _ in file)


def _full(some: Iterable[_Ready], partitions: int) -> Iterator[list[_Ready]]:
    """Group the events so that each append holds full record batches; the last ones hold the rest."""
    drafts: list[list[_Ready]] = [[] for _ in range(partitions)]
    full: list[list[_Ready]] = []
    for one in some:
        draft = drafts[one.hash % partitions]
        draft.append(one)
        if len(draft) == MAX_EVENTS:
            full.append(draft)
            drafts[one.hash % partitions] = []
            if len(full) == MAX_BATCHES:
                yield [event for draft in full for event in draft]
                full = []
    rest = [*full, *filter(None, drafts)]
    for first in range(0, len(rest), MAX_BATCHES):
        yield [event for draft in rest[first : first + MAX_BATCHES] for event in draft]


def _append(redis: Redis, settings: Settings, source: Source, groups: Iterable[list[_Ready]]) -> None:
    """Append each group at once, and announce the partitions, as a producer does."""
    execute: Callable[..., Any] = redis.execute_command
    append, session = script("append"), secrets.token_hex(8)
    redis.script_load(append.text)
    partitions: set[int] = set()
    for sequence, group in enumerate(groups, start=1):
        flush = Flush(group, source, settings.keys, session, sequence)
        _expect(flush.count, len(group), "in the append")
        answer = read_answer(execute(*flush.command("EVALSHA", append.sha)))
        if answer.kind != "ok":
            raise RuntimeError(f"the server did not take the backlog: {answer}")
        partitions.update(flush.partitions)
    script("announce").call(redis, [settings.keys.active], [f"{source.name}/{one}" for one in sorted(partitions)])


def _stored(settings: Settings) -> Counter[str]:
    """The source's ledger, and its record batches as `batches`."""
    of = settings.keys.of(SOURCE)
    with connect(redis_url(settings)) as redis:
        stored: dict[bytes, bytes] = redis.hgetall(of.ledger)
        lengths = [redis.xlen(of.stream(partition)) for partition in range(PARTITIONS)]
    ledger = Counter({name.decode(): int(value) for name, value in stored.items() if value.isdigit()})
    ledger["batches"] = sum(lengths)
    return ledger


def _expect(found: int, wanted: int, what: str) -> None:
    if found != wanted:
        raise RuntimeError(f"{found} of {wanted} events were {what}")


if __name__ == "__main__":
    trials: dict[str, Callable[..., Result]] = {
        "enqueue": enqueue,
        "paced": paced,
        "offer": offer,
        "bots": bots,
        "fill": fill,
        "fill_many": fill_many,
    }
    main(trials)
