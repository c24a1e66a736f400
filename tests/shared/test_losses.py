"""What was noted of Redis' losses, as people read it, and how it is cleared."""

from collections.abc import Mapping
from typing import Any

import pytest
from redis.asyncio import Redis

from pombo.shared.audit import audit
from pombo.shared.keys import Keys
from pombo.shared.ledger import Ledger
from pombo.shared.losses import Loss, Losses, acknowledge, read_fleet_losses, span
from pombo.shared.registry import Snapshot
from pombo.shared.scripts import script
from pombo.shared.sources import Source

NOON = 1_767_268_800_000
SOURCE = Source(name="bot", incarnation="i", partitions=2)
WHY = "(a failover, a flush, or a restart that lost its last writes)"


def note(second: float, kind: str, **told: object) -> Loss:
    return Loss(f"{NOON + int(second * 1000)}-0", kind, {name: str(value) for name, value in told.items()})


def sentences(*notes: Loss, **ledger: Any) -> list[str]:
    return list(Losses(notes).sentences(Ledger(**ledger)))


def test_nothing_is_no_sentence() -> None:
    """Without notes there is nothing to say."""
    assert ([], []) == (sentences(), list(Losses().fleet_sentences()))


def test_forgotten_events() -> None:
    """Events and producers are counted, and it is told when it was noticed."""
    notes = [note(0, "append", session=s, forgotten=n) for s, n in (("a", 30), ("b", 6), ("a", 1))]
    notes[-1] = note(3, "append", session="a", forgotten=1)
    assert [
        "Redis forgot 37 accepted events of 2 producers between 2026-01-01 12:00:00 and 12:00:03 UTC "
        f"{WHY}: those not delivered before are lost"
    ] == sentences(*notes, forgotten=37)


def test_the_ledger_counts_what_notes_no_longer_hold() -> None:
    """Notes are bounded, the count is not."""
    (told,) = sentences(note(0, "append", session="a", forgotten=1), forgotten=5000)
    assert told.startswith("Redis forgot 5,000 accepted events of 1 producer at 2026-01-01 12:00:00 UTC ")


def test_counters_that_fell() -> None:
    """What workers saw is told counter by counter, and that it is the least."""
    notes = note(0, "fall", worker="w", accepted=40), note(0, "fall", worker="v", accepted=2, delivered=12)
    assert [
        "Redis went back by at least 42 accepted and 12 delivered events at 2026-01-01 12:00:00 UTC, as workers saw "
        + WHY
    ] == sentences(*notes, fallen=42)


def test_the_fleet() -> None:
    """Emptied and older are told once each; of a source that several saw, the last sight counts."""
    notes = (
        note(0, "emptied", worker="w"),
        note(1, "emptied", worker="v"),
        note(1, "older", worker="v"),
        note(2, "gone", note="w/i", worker="w", source="bot", queued=9, in_flight=1, ago_ms=2500),
        note(3, "gone", note="v/i", worker="v", source="bot", queued=1234, in_flight=2, ago_ms=400),
        note(3, "gone", note="v/j", worker="v", source="a", queued=0, in_flight=0, ago_ms=400),
    )
    assert [
        f"Redis was emptied between 2026-01-01 12:00:00 and 12:00:01 UTC, as 2 workers saw {WHY}",
        f"Redis came back in an older state at 2026-01-01 12:00:01 UTC, as 1 worker saw {WHY}",
        "Redis lost source 'a' with all it held: 0 events queued and 0 in flight, 0.4 s before that was noticed "
        "at 2026-01-01 12:00:03 UTC",
        "Redis lost source 'bot' with all it held: 1,234 events queued and 2 in flight, 0.4 s before that was noticed "
        "at 2026-01-01 12:00:03 UTC",
    ] == list(Losses(notes).fleet_sentences())


def test_notes_of_a_newer_pombo() -> None:
    """A kind that nobody here knows is told as a loss."""
    told = "1 loss noted by a newer pombo at 2026-01-01 12:00:00 UTC; upgrade pombo here to read it"
    losses = Losses((note(0, "melted"),))
    assert ([told], [told]) == (list(losses.sentences(Ledger())), list(losses.fleet_sentences()))


def test_a_span_over_midnight() -> None:
    """The day is told again only where it is another one."""
    assert "between 2026-01-01 23:59:59 and 2026-01-02 00:00:01 UTC" == span([note(43_199, ""), note(43_201, "")])


# -- stored -----------------------------------------------------------------------------------------------------------


@pytest.fixture
async def lost(redis: Redis, keys: Keys) -> Redis:
    """A source that forgot 3 events, and a fleet that saw Redis emptied."""
    of = keys.of("bot")
    await redis.hset(of.ledger, mapping={"incarnation": "i", "forgotten": 3, "fallen": 2, "falls": 1})
    told: Mapping[Any, Any] = {"kind": "append", "session": "s", "forgotten": 3}
    await redis.xadd(of.losses, dict(told))
    await redis.xadd(keys.losses, {"kind": "emptied", "worker": "w"})
    return redis


async def report(redis: Redis, keys: Keys) -> Any:
    return await audit(redis, keys, Snapshot(1, {"bot": SOURCE}))


async def test_the_audit_names_them(lost: Redis, keys: Keys) -> None:
    """A source with a loss is not balanced, and neither is an installation that was emptied."""
    found = (await report(lost, keys)).describe()
    assert (False, False) == (found["balanced"], found["sources"]["bot"]["balanced"])
    assert [("Redis", "forgot"), ("Redis", "went")] == [
        tuple(told.split()[:2]) for told in found["sources"]["bot"]["problems"]
    ]
    assert ["Redis was emptied"] == [told[:17] for told in found["problems"]]


async def test_acknowledged(lost: Redis, keys: Keys) -> None:
    """What was read is cleared, and all is balanced; once more changes nothing; falls go on being counted."""
    found = await report(lost, keys)
    for _ in range(2):
        assert await acknowledge(lost, keys, "bot", found.sources["bot"].losses)
        assert await acknowledge(lost, keys, None, found.losses)
    after = await report(lost, keys)
    assert (True, ()) == (after.balanced, after.problems)
    assert {b"incarnation": b"i", b"falls": b"1"} == await lost.hgetall(keys.of("bot").ledger)


async def test_newer_notes_are_kept(lost: Redis, keys: Keys) -> None:
    """What nobody has read yet is not cleared, nor is what was read with it."""
    found = await report(lost, keys)
    await lost.xadd(keys.of("bot").losses, {"kind": "append", "session": "t", "forgotten": 4})
    await lost.xadd(keys.losses, {"kind": "older", "worker": "w"})
    assert not await acknowledge(lost, keys, "bot", found.sources["bot"].losses)
    assert not await acknowledge(lost, keys, None, found.losses)
    assert (2, 2) == (
        len((await report(lost, keys)).sources["bot"].losses.notes),
        len((await read_fleet_losses(lost, keys)).notes),
    )


# -- workers' scripts -------------------------------------------------------------------------------------------------


async def fall(redis: Redis, keys: Keys, incarnation: str = "i", falls: int = 0, **seen: int) -> Any:
    of = keys.of("bot")
    pairs = [word for pair in seen.items() for word in pair]
    return await script("fall").acall(redis, [of.ledger, of.losses], [incarnation, "w", falls, *pairs])


async def test_a_fall_is_noted(redis: Redis, keys: Keys) -> None:
    """Counters below what was seen are noted, by how much; those that are not, are not."""
    await redis.hset(keys.of("bot").ledger, mapping={"incarnation": "i", "accepted": 60, "delivered": 50})
    assert 40 == await fall(redis, keys, accepted=100, delivered=62, erased=0)
    (one,) = Losses.parse(await redis.xrange(keys.of("bot").losses) or ()).notes
    assert ("fall", {"worker": "w", "accepted": "40", "delivered": "12"}) == (one.kind, one.told)
    assert [b"40", b"1"] == await redis.hmget(keys.of("bot").ledger, ["fallen", "falls"])


async def test_a_fall_is_noted_once(redis: Redis, keys: Keys) -> None:
    """Of the workers that saw it one notes it, and a repeat changes nothing; the next fall is another one."""
    await redis.hset(keys.of("bot").ledger, mapping={"incarnation": "i", "accepted": 60})
    assert [40, 0, 0] == [await fall(redis, keys, accepted=seen) for seen in (100, 100, 90)]
    assert 5 == await fall(redis, keys, falls=1, accepted=65)


@pytest.mark.parametrize("stored", [{}, {"incarnation": "j"}, {"incarnation": "i", "accepted": 100}])
async def test_no_fall(redis: Redis, keys: Keys, stored: dict[Any, Any]) -> None:
    """A ledger that is gone, or another source's, or not below, has not fallen."""
    if stored:
        await redis.hset(keys.of("bot").ledger, mapping=stored)
    assert (0, 0) == (await fall(redis, keys, accepted=100), await redis.exists(keys.of("bot").losses))


async def test_a_source_that_is_gone_is_noted_once(redis: Redis, keys: Keys) -> None:
    """A repeat of a note changes nothing; another worker's is another one; they are bounded."""
    told = ["worker", "w", "source", "bot", "queued", "3"]
    for note_id, written in (("w/i", 1), ("w/i", 0), ("v/i", 1)):
        assert written == await script("gone").acall(redis, [keys.losses], [note_id, *told])
    for number in range(120):
        await script("gone").acall(redis, [keys.losses], [f"w/{number}", *told])
    assert 100 == await redis.xlen(keys.losses)
