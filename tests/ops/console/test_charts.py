"""Histories read once for everybody, and what they say of the last minutes."""

import pytest
from redis.asyncio import Redis

from ops.console.rig import Ahead
from ops.top.looks import look, view, worker
from pombo.ops.console.charts import ASKED, FRESH_S, KEPT, Charts, freshness
from pombo.ops.overview import Overview, read_overview
from pombo.shared.history import read_history, sample
from pombo.shared.keys import Keys
from pombo.shared.registry import Registry
from pombo.shared.secrets import Secrets


@pytest.fixture
def clock() -> Ahead:
    return Ahead()


async def overview(redis: Redis, keys: Keys, secrets: Secrets, *names: str) -> Overview:
    """The overview of an installation with these sources."""
    registry = Registry(redis, keys, secrets)
    for name in names:
        await registry.add(name, "w" * 32)
    return await read_overview(redis, keys, await registry.snapshot())


async def test_a_history_is_read_once_for_everybody(redis: Redis, keys: Keys, secrets: Secrets, clock: Ahead) -> None:
    """Within some seconds all get the same; another span or another source is read for itself."""
    found = await overview(redis, keys, secrets, "bot", "shop")
    charts = Charts(redis, keys, clock)
    bot, shop = found.sources.values()
    first, fleet = await charts.history(bot, "15m"), await charts.fleet(found, "15m")
    assert first is await charts.history(bot, "15m")
    assert fleet is await charts.fleet(found, "15m")
    assert first is not await charts.history(bot, "24h")
    assert first is not await charts.history(shop, "15m")
    assert fleet is not await charts.fleet(found, "24h")
    clock.by += FRESH_S["15m"]
    assert first is not await charts.history(bot, "15m")
    assert fleet is not await charts.fleet(found, "15m")


async def test_the_fleet_is_the_sum_of_its_sources(redis: Redis, keys: Keys, secrets: Secrets, clock: Ahead) -> None:
    """The same figures as of all of them read at once, at the moment of the overview."""
    found = await overview(redis, keys, secrets, "bot", "shop", "desk")
    for name, accepted in (("bot", 5), ("shop", 8)):
        await sample(redis, keys, found.sources[name].source)
        await redis.hset(keys.of(name).ledger, mapping={"accepted": accepted, "delivered": accepted})
    found = await read_overview(redis, keys, await Registry(redis, keys, secrets).snapshot())
    fleet = await Charts(redis, keys, clock).fleet(found, "15m")
    sources = [view.source for view in found.sources.values()]
    assert 13 == sum(filter(None, fleet.series.accepted))
    assert (await read_history(redis, keys, sources, "15m", now=found.now)).series == fleet.series


async def test_histories_kept_are_bounded(redis: Redis, keys: Keys, secrets: Secrets, clock: Ahead) -> None:
    """Who looks at ever other sources does not fill the console's memory."""
    charts = Charts(redis, keys, clock)
    for number in range(KEPT + 5):
        await charts.history(view(f"bot{number}"), "15m")
    assert KEPT == len(charts._read)


async def test_what_died_lately_is_told(redis: Redis, keys: Keys, secrets: Secrets, clock: Ahead) -> None:
    """Of sources that hold dead letters or are late; the others are not read at all."""
    found = await overview(redis, keys, secrets, "bot", "shop")
    await sample(redis, keys, found.sources["bot"].source)
    await redis.hset(keys.of("bot").ledger, mapping={"accepted": 3, "dead": 3, "dead:invalid": 3, "died:invalid": 3})
    found = await read_overview(redis, keys, await Registry(redis, keys, secrets).snapshot())
    charts = Charts(redis, keys, clock)
    recent = await charts.recent(found)
    assert ({"bot"}, 3) == (set(recent), recent["bot"].died)
    assert 1 == len(charts._read)


async def test_a_look_asks_of_a_few(redis: Redis, keys: Keys, clock: Ahead) -> None:
    """Where a thousand sources hold dead letters no look takes long: it asks of some, and the next ones of others."""
    views = {f"bot{number}": view(f"bot{number}", dead=1) for number in range(ASKED + 3)}
    seen = Overview(views, (), [], look(0).overview.redis, look(0).overview.now)
    charts = Charts(redis, keys, clock)
    assert ASKED == len(await charts.recent(seen))
    assert {*views} == {*await charts.recent(seen)}
    read = len(charts._read)
    clock.by += 3600
    await charts.recent(seen)
    assert read == len(charts._read)
    assert {} == await charts.recent(Overview({}, (), [], seen.redis, seen.now))


async def test_the_console_samples_only_while_nobody_else_does(
    redis: Redis, keys: Keys, secrets: Secrets, clock: Ahead
) -> None:
    """Once in ten seconds, of what is astir, and never beside a living worker."""
    found = await overview(redis, keys, secrets, "bot")
    history = keys.of("bot").history
    alive = Overview(found.sources, (), [worker("w1")], found.redis, look(0).overview.now)
    charts = Charts(redis, keys, clock)
    await charts.stand_in(alive)
    assert not await redis.exists(history)
    await charts.stand_in(found)
    assert await redis.exists(history)
    await redis.delete(history)
    await charts.stand_in(found)
    assert not await redis.exists(history)
    clock.by += 10
    await charts.stand_in(found)
    assert not await redis.exists(history)
    await redis.hset(keys.of("bot").ledger, mapping={"accepted": 1, "delivered": 1})
    clock.by += 10
    await charts.stand_in(await overview(redis, keys, secrets))
    assert await redis.exists(history)


async def test_without_deliveries_freshness_is_unknown(redis: Redis, keys: Keys, clock: Ahead) -> None:
    """No figure is better than a zero that reads like a good one."""
    assert (None, None) == freshness(await Charts(redis, keys, clock).history(view("bot"), "15m"))
