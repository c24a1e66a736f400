from redis.asyncio import Redis

from ops.console.rig import Ahead
from pombo.ops.console.sparks import FRESH_S, KEPT, Spark, Sparks
from pombo.ops.overview import SourceView, read_source
from pombo.shared.clock import Clock
from pombo.shared.flow import Flow, redis_now
from pombo.shared.history import History
from pombo.shared.history.series import Grid, Series
from pombo.shared.keys import Keys
from pombo.shared.ledger import Ledger
from pombo.shared.sources import Source


def history(accepted: list[int | None], delivered: list[int | None]) -> History:
    """A history of these counts, ten seconds a slot; the last slot still fills."""
    nothing: list[int | None] = [0 if count is not None else None for count in accepted]
    size = len(accepted)
    series = Series(
        accepted, delivered, nothing, nothing, nothing, nothing, [None] * size, [None] * size, nothing, {}, [0] * size,
        [],
    )  # fmt: skip
    return History(0, Grid(0, 10_000, size), series, {})


def test_rates_are_of_the_last_full_minute() -> None:
    """The slot that still fills does not count, nor what was before, nor slots that nobody knows."""
    spark = Spark.of(history([600, *[60] * 6, 999], [0, 30, 30, 30, 30, 30, None, 5]))
    assert (6.0, 3.0) == (spark.into, spark.out)
    unknown = Spark.of(history([None] * 8, [None] * 8))
    assert (None, None, {"accepted": "", "delivered": ""}) == (unknown.into, unknown.out, unknown.lines)


def test_lines_share_their_height() -> None:
    """The highest slot touches the top, zero the bottom; a line of nothing but zero is left out."""
    spark = Spark.of(history([0, 20, 10, 0], [0, 10, 0, 0]))
    assert "0.0,21.0 45.0,1.0 90.0,11.0" == spark.lines["accepted"]
    assert "0.0,21.0 45.0,11.0 90.0,21.0" == spark.lines["delivered"]
    assert 2.0 == spark.most
    assert "" == Spark.of(history([5, 5], [0, 0])).lines["delivered"]


async def view(redis: Redis, keys: Keys, incarnation: str = "i") -> SourceView:
    return await read_source(redis, keys, Source(name="bot", incarnation=incarnation), await redis_now(redis))


async def test_a_spark_is_read_once_in_a_while(redis: Redis, keys: Keys) -> None:
    """Whoever looks within some seconds gets the same; a source that was made anew is another one."""
    clock = Ahead()
    sparks = Sparks(redis, keys, clock)
    first = (await sparks.read([await view(redis, keys)]))["bot"]
    assert first is (await sparks.read([await view(redis, keys)]))["bot"]
    assert first is not (await sparks.read([await view(redis, keys, "other")]))["bot"]
    clock.by += FRESH_S
    assert first is not (await sparks.read([await view(redis, keys)]))["bot"]


async def test_sparks_are_bounded(redis: Redis, keys: Keys) -> None:
    """However many sources there are, only so many sparks are kept."""
    clock: Clock = Ahead()
    sparks = Sparks(redis, keys, clock)
    views = [SourceView(Source(name=f"s{n}", incarnation="i"), Flow(0), Ledger()) for n in range(KEPT + 5)]
    assert len(views) == len(await sparks.read(views))
    assert KEPT == len(sparks)
