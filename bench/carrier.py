"""pombo's own trials: a producer that enqueues, a backlog, and a worker that drains it.

`POMBO_*` variables say which server and which secret; the source is there.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import cycle, islice

from redis import Redis

from bench.trial import PARTITIONS, SOURCE, Call, Event, Meter, Result, caller_times, main, peak_rss, read, timed
from pombo.producer import Producer
from pombo.shared.batches import MAX_EVENTS, RecordBatch, encode, partition_of
from pombo.shared.connection import aconnect, connect, redis_url
from pombo.shared.messageids import new_message_id
from pombo.shared.prepared import Prepared, prepare
from pombo.shared.registry import Registry
from pombo.shared.scripts import script
from pombo.shared.secrets import load_secrets
from pombo.shared.settings import Settings, read_settings
from pombo.shared.sources import Source
from pombo.worker.process import Options, run_worker

_PATIENCE_S = 60.0
_BATCHES = 64
"""Record batches in one append, as a producer makes it."""


def enqueue(*, events: str, count: int, warm: int) -> Result:
    """Call `track` for each event, and wait until all are accepted.

    Raises:
        RuntimeError: one was not.
    """
    settings = read_settings()
    # Room for all, as the SDK gets it: neither loses an event or waits for room.
    with Producer(SOURCE, buffer_events=count + warm, buffer_bytes=1 << 30, budget_s=_PATIENCE_S) as producer:
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


def _call(producer: Producer, event: Event) -> Call:
    if event["type"] == "identify":
        return partial(producer.identify, event["userId"], event["traits"])
    return partial(producer.track, event["userId"], event["event"], event["properties"])


def fill(*, events: str, count: int, batch: int = MAX_EVENTS) -> Result:
    """Append a backlog in record batches of `batch` events, as a producer under load does, only faster."""
    settings = read_settings()
    with connect(redis_url(settings)) as redis:
        source = asyncio.run(_source(settings))
        flushes = _flushes(_batches(_prepared(events, count), source.partitions, batch))
        for sequence, flush in enumerate(flushes, start=1):
            _append(redis, settings, source, sequence, flush)
    _expect(_stored(settings)["accepted"], count, "accepted")
    return {}


async def _source(settings: Settings) -> Source:
    redis = aconnect(redis_url(settings))
    try:
        return await Registry(redis, settings.keys, load_secrets(settings)).get(SOURCE)
    finally:
        await redis.aclose()


def _prepared(path: str, count: int) -> Iterator[Prepared]:
    """The file's events, a millisecond apart; once they are through they come again under new messageIds."""
    begun, step = datetime.now(UTC), timedelta(milliseconds=1)
    first = [prepare(event, now=begun + number * step) for number, event in enumerate(read(path, _lines(path)))]
    yield from first[:count]
    for one in islice(cycle(first), max(count - len(first), 0)):
        message_id = new_message_id()
        body = one.body.replace(one.message_id.encode(), message_id.encode(), 1)
        yield one._replace(message_id=message_id, body=body)


def _lines(path: str) -> int:
    with open(path, "rb") as file:
        return sum(1 for _ in file)


def _batches(some: Iterable[Prepared], partitions: int, size: int) -> Iterator[tuple[int, RecordBatch]]:
    drafts: list[list[bytes]] = [[] for _ in range(partitions)]
    for one in some:
        partition = partition_of(one.ordering_key, partitions)
        drafts[partition].append(one.body)
        if len(drafts[partition]) == size:
            yield partition, encode(drafts[partition])
            drafts[partition].clear()
    yield from ((partition, encode(rest)) for partition, rest in enumerate(drafts) if rest)


def _flushes(batches: Iterator[tuple[int, RecordBatch]]) -> Iterator[list[tuple[int, RecordBatch]]]:
    while flush := list(islice(batches, _BATCHES)):
        yield flush


def _append(
    redis: Redis, settings: Settings, source: Source, sequence: int, flush: list[tuple[int, RecordBatch]]
) -> None:
    of = settings.keys.of(SOURCE)
    keys = [of.ledger, of.session("bench"), *(of.stream(partition) for partition, _ in flush)]
    types = f"track={sum(batch.events for _, batch in flush)}"
    args: list[str | bytes | int] = [source.incarnation, sequence, 0, 3600, settings.keys.wake, types]
    for partition, batch in flush:
        args += [f"{SOURCE}/{partition}", batch.events, batch.raw, batch.payload]
    reply = script("append").call(redis, keys, args)
    if reply[0] != b"ok":
        raise RuntimeError(f"the server did not take the backlog: {reply!r}")
    partitions = {partition for partition, _ in flush}
    script("announce").call(redis, [settings.keys.active], [f"{SOURCE}/{partition}" for partition in partitions])


def drain(*, count: int) -> Result:
    """Deliver a backlog with a real worker, in this process; its CPU and its memory at their peak.

    Raises:
        RuntimeError: not all was delivered.
    """
    settings = read_settings()
    meter = Meter()
    code = run_worker(settings, Options(drain=True, jobs=False))
    cpu = meter.cpu
    _expect(_stored(settings)["delivered"], count, f"delivered (exit code {code})")
    return {"cpu_us": cpu / count * 1e6, "peak_rss": peak_rss()}


def _stored(settings: Settings) -> Counter[str]:
    """The source's ledger, and its record batches as `batches`."""
    of = settings.keys.of(SOURCE)
    with connect(redis_url(settings)) as redis:
        stored: dict[bytes, bytes] = redis.hgetall(of.ledger)
        lengths = [redis.xlen(of.stream(partition)) for partition in range(PARTITIONS)]
    ledger = Counter({name.decode(): int(value) for name, value in stored.items() if name != b"incarnation"})
    ledger["batches"] = sum(lengths)
    return ledger


def _expect(found: int, wanted: int, what: str) -> None:
    if found != wanted:
        raise RuntimeError(f"{found} of {wanted} events were {what}")


if __name__ == "__main__":
    main({"enqueue": enqueue, "fill": fill, "drain": drain})
