from typing import Any

import pytest
from redis.asyncio import Redis

from pombo.shared import batches
from pombo.shared.audit import AuditReport, Partition, Record, Recount, audit, judge
from pombo.shared.keys import Keys, SourceKeys
from pombo.shared.ledger import Ledger
from pombo.shared.registry import Registry, Snapshot
from pombo.shared.secrets import Secrets
from pombo.shared.sources import Source

SOURCE = Source(name="bot", incarnation="i", partitions=2)


@pytest.fixture
async def of(redis: Redis, keys: Keys) -> SourceKeys:
    """The keys of source `bot`, whose ledger is there and empty."""
    await redis.hset(keys.of("bot").ledger, "incarnation", "i")
    return keys.of("bot")


async def run(redis: Redis, keys: Keys, *sources: Source) -> AuditReport:
    snapshot = Snapshot(1, {source.name: source for source in sources or (SOURCE,)})
    return await audit(redis, keys, snapshot)


async def problems(redis: Redis, keys: Keys) -> list[str]:
    found = (await run(redis, keys)).sources["bot"].problems
    return [*found]


async def store(redis: Redis, of: SourceKeys, partition: int, *events: int) -> list[bytes]:
    """Append an entry for each number of events and count them as accepted and queued."""
    ids: list[Any] = []
    for number in events:
        batch = batches.encode([b'{"messageId":"m"}'] * number)
        fields: dict[Any, Any] = {"n": batch.events, "r": batch.raw, "b": batch.payload}
        ids.append(await redis.xadd(of.stream(partition), fields))
        for counter, by in (("accepted", number), ("queued", number), ("queued_bytes", len(batch.payload))):
            await redis.hincrby(of.ledger, counter, by)
    return ids


async def claim(redis: Redis, of: SourceKeys, partition: int, ids: list[bytes], done: str, **more: Any) -> None:
    """Write the in-flight record that covers `ids`, and move its events to in flight."""
    record: dict[Any, Any] = {
        "v": "1",
        "id": "r",
        "first": ids[0],
        "last": ids[-1],
        "done": done,
        "left": done.count("0"),
        **more,
    }
    await redis.hset(of.record(partition), mapping=record)
    await redis.hincrby(of.ledger, "queued", -len(done))
    await redis.hincrby(of.ledger, "in_flight", done.count("0"))
    await redis.hincrby(of.ledger, "delivered", done.count("1"))


async def test_new_source_is_balanced(redis: Redis, keys: Keys, secrets: Secrets) -> None:
    """A source right after adding has nothing wrong with it."""
    registry = Registry(redis, keys, secrets)
    await registry.add("bot", "A" * 32)

    report = await audit(redis, keys, await registry.snapshot())

    counters = ("accepted", "delivered", "deduplicated", "dead", "discarded", "erased", "queued", "in_flight")
    source = {**dict.fromkeys(counters, 0), "balanced": True, "problems": []}
    assert {"sources": {"bot": source}, "problems": [], "balanced": True} == report.describe()


async def test_no_sources_are_balanced(redis: Redis, keys: Keys) -> None:
    """An empty registry has an empty, balanced report."""
    assert {"sources": {}, "problems": [], "balanced": True} == (await audit(redis, keys, Snapshot(0, {}))).describe()


async def test_busy_source_is_balanced(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """Queued, half-delivered and dead events are all found where the ledger says they are."""
    first = await store(redis, of, 0, 3, 2, 100)
    await store(redis, of, 1, 7)
    await claim(redis, of, 0, first[:2], "01010")
    await redis.xadd(of.dead, {"h": "{}", "b": "{}"})
    await redis.xadd(of.dead, {"h": "{}", "b": "?", "n": 40})
    await redis.hincrby(of.ledger, "dead", 41)
    await redis.hincrby(of.ledger, "dead_bytes", 7)
    await redis.hincrby(of.ledger, "accepted", 41)

    described = (await run(redis, keys)).describe()

    assert {
        "accepted": 153,
        "delivered": 2,
        "deduplicated": 0,
        "dead": 41,
        "discarded": 0,
        "erased": 0,
        "queued": 107,
        "in_flight": 3,
        "balanced": True,
        "problems": [],
    } == described["sources"]["bot"]


async def test_long_streams_are_counted_to_the_end(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """Pages of the recount join without gap or overlap, before and after the in-flight record's end."""
    ids = await store(redis, of, 0, *[1] * 1201)
    await claim(redis, of, 0, ids[:600], "0" * 600)
    for _ in range(1000):
        await redis.xadd(of.dead, {"h": "{}"})
    await redis.hincrby(of.ledger, "dead", 1000)
    await redis.hincrby(of.ledger, "dead_bytes", 2000)
    await redis.hincrby(of.ledger, "accepted", 1000)

    assert [] == await problems(redis, keys)


async def test_lost_entry_is_found(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """An entry that vanished shows up as events and bytes missing from the streams."""
    ids = await store(redis, of, 1, 10, 2)
    size = int(await redis.hget(of.ledger, "queued_bytes") or 0)
    await redis.xdel(of.stream(1), ids[1])
    entries: Any = await redis.xrange(of.stream(1))
    left = len(entries[0][1][b"b"])

    assert [
        "ledger says 12 queued, the streams hold 10",
        f"ledger says {size} queued bytes, the streams hold {left}",
    ] == await problems(redis, keys)


async def test_extra_entry_is_found(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """An entry that the ledger never heard of shows up too: the audit is no tautology."""
    await redis.xadd(of.stream(0), {"n": 5, "r": 9, "b": b"\x01\x01"})

    report = await run(redis, keys)

    assert (
        "ledger says 0 queued, the streams hold 5",
        "ledger says 0 queued bytes, the streams hold 2",
    ) == report.sources["bot"].problems
    assert (True, False) == (report.sources["bot"].ledger.balanced, report.balanced)


async def test_lost_record_is_found(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """Events whose in-flight record vanished count as queued, and the difference is told both ways."""
    await claim(redis, of, 0, await store(redis, of, 0, 4), "0011")
    await redis.delete(of.record(0))

    assert [
        "ledger says 0 queued, the streams hold 4",
        "ledger says 2 in flight, the in-flight records hold 0",
    ] == await problems(redis, keys)


async def test_lost_dead_letters_are_found(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """Dead letters are recounted, corrupt batches by their events."""
    await redis.hset(of.ledger, mapping={"accepted": 9, "dead": 9})
    await redis.xadd(of.dead, {"h": "{}", "n": 5})
    await redis.xadd(of.dead, {"h": "{}"})

    assert [
        "ledger says 9 dead, the dead letters hold 6",
        "ledger says 0 dead bytes, the dead letters hold 4",
    ] == await problems(redis, keys)


async def test_imbalance_is_told(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """An equation that does not hold is told with its numbers."""
    await redis.hset(of.ledger, mapping={"accepted": 9, "delivered": 8})

    report = await run(redis, keys)

    assert "the ledger does not balance: 9 accepted, but 8 delivered" in report.sources["bot"].problems[0]
    assert not report.balanced


async def test_missing_ledger_is_told(redis: Redis, keys: Keys) -> None:
    """A registered source without ledger is named as lost by Redis, also when it holds nothing."""
    report = await run(redis, keys)

    assert ["the ledger is gone, Redis lost it: producers are refused; remove the source and add it again"] == [
        *report.sources["bot"].problems
    ]
    assert not report.balanced


async def test_ledger_of_another_incarnation_is_told(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """A ledger that was made for another source of that name is not taken for this one's."""
    await redis.hset(of.ledger, "incarnation", "other")

    assert "the ledger belongs to incarnation other, the registry has i" in (await problems(redis, keys))[0]


async def test_record_of_unknown_version_is_left_alone(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """A record that cannot be read is told, and nothing is concluded from what it covers."""
    await claim(redis, of, 1, await store(redis, of, 1, 4), "0011", v="2")

    assert [
        "partition 1 has an in-flight record of version '2', whose events cannot be counted: left alone; "
        "upgrade the workers"
    ] == await problems(redis, keys)
    assert not (await run(redis, keys)).balanced


async def test_incomplete_record_is_told(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """A record that lost its fields is told like one that cannot be read."""
    await redis.hset(of.record(0), "v", "1")

    assert ["partition 0 has an in-flight record of version '1'"] == [
        problem.partition(",")[0] for problem in await problems(redis, keys)
    ]


async def test_batches_of_unknown_version_are_counted(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """Record batches of a newer pombo are accounted for, reported and left alone."""
    await store(redis, of, 0, 1)
    for _ in range(2):
        await redis.xadd(of.stream(1), {"n": 3, "r": 9, "b": b"\x03new"})
        await redis.hincrby(of.ledger, "accepted", 3)
        await redis.hincrby(of.ledger, "queued", 3)
        await redis.hincrby(of.ledger, "queued_bytes", 4)

    report = await run(redis, keys)

    assert ("2 record batches have an unknown version: left alone; upgrade the workers",) == report.sources[
        "bot"
    ].problems
    assert report.balanced


async def test_foreign_entries_are_told(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """Entries that are no record batches are told and do not stop the audit."""
    await redis.xadd(of.stream(0), {"hello": "world"})
    await redis.xadd(of.stream(0), {"n": "many", "b": ""})

    assert ["2 stream entries are no record batches: something else wrote into the streams"] == await problems(
        redis, keys
    )


async def test_record_without_its_first_entry_is_told(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """A record whose first entry is gone points at what Redis lost."""
    ids = await store(redis, of, 0, 2, 2)
    await claim(redis, of, 0, ids, "0000")
    await redis.xdel(of.stream(0), ids[0])

    assert "partition 0 has an in-flight record whose first entry is gone: Redis lost it" in await problems(redis, keys)


async def test_record_that_lost_an_entry_inside_is_told(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """A record must have as many events as its entries."""
    ids = await store(redis, of, 0, 2, 3, 4)
    await claim(redis, of, 0, ids, "0" * 9)
    await redis.xdel(of.stream(0), ids[1])

    assert "partition 0 has an in-flight record of 9 events, its entries hold 6" in await problems(redis, keys)


async def test_record_that_miscounts_is_told(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """A record's own count must be what its bitmap shows."""
    await claim(redis, of, 0, await store(redis, of, 0, 3), "011", left=3)

    assert ["partition 0 has an in-flight record that says 3 events left, its bitmap shows 1"] == await problems(
        redis, keys
    )


async def test_unreadable_source_is_not_balanced(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """What cannot be read cannot be vouched for; other sources are audited all the same."""
    report = await audit(redis, keys, Snapshot(1, {"bot": SOURCE}, ("future",)))

    assert ["bot", "future"] == list(report.sources)
    assert [True, False] == [source.balanced for source in report.sources.values()]
    assert "the source is stored in a form that this pombo cannot read" in report.sources["future"].problems[0]
    assert not report.balanced


async def test_one_bad_source_spoils_the_report_alone(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """A source's problems stay its own."""
    report = await run(redis, keys, SOURCE, Source(name="lost", incarnation="x", partitions=1))

    assert {"bot": True, "lost": False} == {name: source.balanced for name, source in report.sources.items()}


async def test_audit_writes_nothing_and_runs_when_redis_is_full(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """At maxmemory the audit answers as usual."""
    await store(redis, of, 0, 4)
    await redis.config_set("maxmemory", "1")
    try:
        found = await problems(redis, keys)
    finally:
        await redis.config_set("maxmemory", "0")

    assert [] == found


def test_judging_needs_no_redis() -> None:
    """The comparison is a pure function of the source and its recount."""
    record = Record("1", True, unfinished=1, events=2, left=1, events_of_entries=2)
    ledger = Ledger("i", accepted=5, delivered=1, queued=2, in_flight=1, dead=1, queued_bytes=70)

    good = judge(SOURCE, Recount(ledger, 1, 0, (Partition(0, 2, 50, 0, 0, record), Partition(1, 0, 20, 0, 0, None))))
    bad = judge(SOURCE, Recount(ledger, 0, 0, (Partition(0, 1, 70, 0, 0, record),)))

    assert () == good.problems
    assert (
        "ledger says 2 queued, the streams hold 1",
        "ledger says 1 dead, the dead letters hold 0",
    ) == bad.problems


def test_one_is_singular() -> None:
    """A single batch or entry is told in the singular."""
    source = Source(name="bot", incarnation="i", partitions=1)
    ledger = Ledger.parse({b"incarnation": b"i"})

    judged = judge(source, Recount(ledger, 0, 0, (Partition(0, 0, 0, 1, 1, None),)))

    assert (
        "1 record batch has an unknown version: left alone; upgrade the workers",
        "1 stream entry is no record batch: something else wrote into the streams",
    ) == judged.remarks
