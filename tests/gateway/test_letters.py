"""Letters that a gateway writes: one step with the ledger, once, within their bound."""

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis

from gateway.rig import KEYS, Keyed, letters, problems
from pombo.gateway.catalogue import Catalogue
from pombo.gateway.letters import Letter, Letterbox
from pombo.shared.audit import audit_source
from pombo.shared.clock import SystemClock
from pombo.shared.connection import aconnect
from pombo.shared.deadletters import redrive_page, row_of
from pombo.shared.errors import RedriveError
from pombo.shared.keys import Keys
from pombo.shared.ledger import read_ledger
from pombo.shared.registry import Registry
from pombo.shared.scripts import Argument, script
from pombo.shared.secrets import Secrets
from producer.proxy import Proxy, first
from support.programs import SECRET


def letter(number: int = 0, size: int = 10) -> Letter:
    return Letter(
        "invalid", "track", "u1", b'{"n":%d,"x":"%s"}' % (number, b"x" * size), "event_not_defined", "no event"
    )


def made(redis: Redis) -> Letterbox:
    registry = Registry(redis, KEYS, Secrets([SECRET]))
    return Letterbox(redis, KEYS, "bot", Catalogue(redis, KEYS, registry, SystemClock()), SystemClock())


@pytest.fixture
def box(redis: Redis, bot: Keyed) -> Letterbox:
    return made(redis)


async def test_put(box: Letterbox, redis: Redis) -> None:
    """Letters are accepted and dead in one step; header and payload say what came and what is wrong with it."""
    assert "kept" == await box.put([letter(1), letter(2)])
    found = await letters(redis)
    assert [1, 2] == [one.event["n"] for one in found]
    header = found[0].header
    assert ("invalid", "no event", "event_not_defined") == (header.reason, header.answer, header.history[0]["outcome"])
    ledger = await read_ledger(redis, KEYS.of("bot"))
    assert (2, 2, {"track": 2}, {"invalid": 2}) == (
        ledger.accepted,
        ledger.dead,
        ledger.accepted_by_type,
        ledger.dead_by_reason,
    )
    assert () == await problems(redis)


async def test_requests_share_calls(box: Letterbox, redis: Redis) -> None:
    """Letters of requests that come while a call is under way go together."""
    calls = await redis.info("commandstats")
    fates = await asyncio.gather(*(box.put([letter(number)]) for number in range(50)))
    after = await redis.info("commandstats")
    assert ["kept"] * 50 == fates
    assert list(range(50)) == [one.event["n"] for one in await letters(redis)]

    def count(stats: dict[str, Any]) -> int:
        return sum(int(stats.get(f"cmdstat_{name}", {}).get("calls", 0)) for name in ("evalsha", "eval"))

    assert count(after) - count(calls) <= 4


@pytest.mark.parametrize("rule", ["cut", "hang"])
async def test_a_lost_answer(redis: Redis, bot: Keyed, redis_url: str, rule: str) -> None:
    """A call whose answer is lost is repeated, and its letters are stored once."""
    with Proxy(redis_url) as proxy:
        proxy.rule = first(rule, 3)
        client = aconnect(proxy.url, timeout_s=0.2)
        box = made(client)
        assert "kept" == await box.put([letter(1)])
        await client.aclose()
    assert [1] == [one.event["n"] for one in await letters(redis)]
    assert () == await problems(redis)


async def test_a_call_that_was_given_up_is_never_applied_later(redis: Redis, bot: Keyed, keys: Keys) -> None:
    """A later sequence makes an earlier one stale: nothing that was answered 503 appears after it."""
    source = await Registry(redis, keys, Secrets(["x" * 40])).get("bot")
    of = keys.of("bot")

    async def call(sequence: int, text: str) -> Any:
        args: list[Argument] = [
            source.incarnation,
            sequence,
            0,
            60,
            "track=1",
            "invalid",
            b'{"reason":"invalid"}',
            text,
            1,
            *row_of(b'{"reason":"invalid"}', text.encode()).arguments,
        ]
        touched = [of.ledger, of.session("s"), of.dead, of.dead_table, of.dead_groups]
        return await script("dead_append").acall(redis, touched, args)

    assert b"ok" == (await call(2, "second"))[0]
    assert [b"stale"] == await call(1, "first")
    assert b"ok" == (await call(2, "second"))[0]
    assert 1 == await redis.xlen(of.dead)
    assert (1, 1) == ((await read_ledger(redis, of)).accepted, (await read_ledger(redis, of)).dead)
    assert () == (await audit_source(redis, keys, source)).problems


async def test_the_bound(box: Letterbox, redis: Redis, secrets: Secrets) -> None:
    """At the letters' limit none is written, and the source is not parked for it."""
    await Registry(redis, KEYS, secrets).set("bot", dead_bytes=2000)
    assert "kept" == await box.put([letter(1, 3000)])
    assert "full" == await box.put([letter(2)])
    assert 1 == len(await letters(redis))
    assert not await redis.hexists(KEYS.of("bot").flow, "parked")
    assert () == await problems(redis)


async def test_no_source(redis: Redis, bot: Keyed, secrets: Secrets) -> None:
    """Of a source that was removed nothing is kept; one that was added anew is another one, and is found."""
    box = made(redis)
    registry = Registry(redis, KEYS, secrets)
    assert "kept" == await box.put([letter(1)])
    await registry.remove("bot", discard=True)
    assert "unknown_source" == await box.put([letter(2)])
    await registry.add("bot", "w" * 32)
    assert "kept" == await box.put([letter(3)])
    assert [3] == [one.event["n"] for one in await letters(redis)]


async def test_redis_is_full(box: Letterbox, redis: Redis) -> None:
    """A full Redis takes no letters, as it takes no events; nothing is half written."""
    await redis.config_set("maxmemory", 1)
    try:
        assert "unavailable" == await box.put([letter(1)])
    finally:
        await redis.config_set("maxmemory", 0)
    assert [] == await letters(redis)
    assert "kept" == await box.put([letter(2)])
    assert () == await problems(redis)


async def test_they_are_not_redriven_as_they_are(box: Letterbox, redis: Redis, secrets: Secrets) -> None:
    """Segment would answer 200 and drop them: an invalid letter is redriven by nobody who has not mended it."""
    await box.put([Letter("invalid", "track", "u1", b'{"messageId":"m1","type":"track"}', "no_user_anon_id", "no id")])
    source = await Registry(redis, KEYS, secrets).get("bot")
    found = await letters(redis)
    with pytest.raises(RedriveError, match="holds no event that could be sent"):
        await redrive_page(redis, KEYS, source, found)
    assert not found[0].redrivable
