"""The scenarios whose every step is struck by every blow."""

from collections.abc import Awaitable, Callable

from chaos.segment import REFUSED, Mood, Reply, in_turn
from chaos.stage import Line, Stage
from pombo.shared.flow import pause, resume
from pombo.shared.keys import Keys

Scenario = Callable[[Stage], Awaitable[None]]
HELD = Reply(429, (("retry-after", "1"),))
DOWN = Reply(503)
LOST = Reply(heard=False)
REVOKED = Reply(401)
BROKEN = Reply(500)


def lines(prefix: str, users: int, count: int, *, every_s: float = 0.0, start_s: float = 0.0) -> list[Line]:
    """So many events, the users taking turns."""
    return [(start_s + number * every_s, f"{prefix}{number}", f"{prefix}u{number % users}") for number in range(count)]


async def delivery(stage: Stage) -> None:
    """A bot, a worker, some events; an id comes twice."""
    await stage.open()
    stage.staff(1)
    stage.bot("bot", [*lines("a", 3, 6), (0.3, "a0", "au0"), *lines("b", 2, 3, start_s=0.4)])
    await stage.settled()


async def two_workers(stage: Stage) -> None:
    """Two workers share the partitions, and a third one joins while events come."""
    await stage.open(partitions=3)
    stage.staff(2)
    stage.bot("bot", lines("a", 4, 12, every_s=0.25))
    await stage.played()
    stage.staff(1)
    stage.bot("late", lines("b", 3, 6, every_s=0.2))
    await stage.settled()


async def handed_back(stage: Stage) -> None:
    """A worker is asked to stop in the midst of a request; another goes on."""
    await stage.open()
    stage.segment.mood = in_turn([Reply(delay_s=0.6)] * 3)
    first, _ = stage.staff(2)
    bot = stage.bot("bot", lines("a", 4, 8, every_s=0.05))
    await stage.until(lambda: bool(stage.segment.sendings) or not bot.process.lives, "request")
    first.stop()
    await stage.settled()


async def refused(stage: Stage) -> None:
    """One event among others is refused: it alone dies, the second half after the first."""
    await stage.open(partitions=1)
    stage.segment.poison = frozenset({"a2"})
    stage.bot("bot", lines("a", 2, 5))
    await stage.played()
    stage.staff(1)
    await stage.settled()


async def failing(stage: Stage) -> None:
    """Segment fails for a while, and some answers get lost."""
    await stage.open()
    stage.segment.mood = in_turn([DOWN, LOST, DOWN, LOST])
    stage.staff(1)
    stage.bot("bot", [*lines("a", 3, 4), *lines("b", 3, 3, start_s=0.3)])
    await stage.settled()


async def held(stage: Stage) -> None:
    """Segment asks to wait, while two workers want to send."""
    await stage.open()
    stage.segment.mood = in_turn([HELD, HELD])
    stage.staff(2)
    stage.bot("bot", lines("a", 4, 8, every_s=0.1))
    await stage.settled()


async def parked(stage: Stage) -> None:
    """The write key is revoked, and the operator has the source go on."""
    await stage.open()
    stage.segment.mood = lambda sending: REVOKED if stage.world.now < 3 else Reply()
    stage.staff(1)
    stage.bot("bot", lines("a", 3, 6, every_s=0.1))
    await stage.clock(3)
    await stage.registry.unpark("bot")
    await stage.settled()


async def spooled(stage: Stage) -> None:
    """Redis is away for longer than the budget; what is spooled goes before what comes later."""
    await stage.open()
    stage.staff(1)
    stage.bot("bot", lines("a", 3, 14, every_s=0.25), spool="spool")
    await stage.clock(1.1)
    stage.world.refusing = True
    await stage.clock(2.6)
    stage.world.refusing = False
    await stage.settled()


async def sharing(stage: Stage) -> None:
    """Two bots share a spool, while Redis answers nobody for a while."""
    await stage.open()
    stage.staff(1)
    for name in ("a", "b"):
        stage.bot(name, lines(name, 2, 8, every_s=0.3), spool="spool")
    await stage.clock(0.8)
    stage.world.stalled = True
    await stage.clock(2.2)
    stage.world.stalled = False
    await stage.settled()


async def restarted(stage: Stage) -> None:
    """Redis loses its scripts, and is away for a moment, twice."""
    await stage.open()
    stage.staff(2)
    stage.bot("bot", lines("a", 3, 12, every_s=0.2), budget_s=3)
    for moment in (0.7, 1.9):
        await stage.clock(moment)
        stage.world.refusing = True
        stage.world.server.known.clear()
        await stage.clock(moment + 0.3)
        stage.world.refusing = False
    await stage.settled()


async def redriven(stage: Stage) -> None:
    """Two events die, beside a batch that nobody can read; the fault is repaired, and a job puts the two back."""
    await stage.open()
    stage.segment.poison = frozenset({"a1", "a4"})
    stage.staff(1)
    bot = stage.bot("bot", lines("a", 3, 6, every_s=0.05))
    await stage.played()
    await stage.spoil(0)
    await stage.until(lambda: stage.ledger().get("dead") == 4 or not bot.process.lives, "dead letters")
    stage.segment.poison = frozenset()
    await stage.redrive()
    await stage.settled()


async def paused(stage: Stage) -> None:
    """The operator pauses the source for longer than leases last, and resumes it."""
    await stage.open()
    stage.staff(2)
    stage.bot("bot", lines("a", 3, 10, every_s=0.3))
    await stage.clock(1)
    await pause(stage.redis, Keys(), "bot")
    await stage.clock(5)
    await resume(stage.redis, Keys(), "bot")
    await stage.settled()


async def failed_over(stage: Stage) -> None:
    """Redis comes back in an older state, amid the traffic of a bot with a spool and one without."""
    await stage.open()
    stage.staff(2)
    for name, spool in (("a", ""), ("b", "spool")):
        stage.bot(name, lines(name, 2, 10, every_s=0.2), spool=spool)
    await stage.clock(0.9)
    await stage.fail_over(behind_s=0.5)
    await stage.settled()


async def flushed(stage: Stage) -> None:
    """Redis loses everything, and the operator adds the source anew."""
    await stage.open()
    stage.staff(2)
    for name, spool in (("a", ""), ("b", "spool")):
        stage.bot(name, lines(name, 2, 10, every_s=0.4), spool=spool)
    await stage.clock(1.3)
    await stage.flush(again_s=1.0)
    await stage.settled()


async def refusing(stage: Stage) -> None:
    """Segment refuses all there is until somebody notices: the source is parked, and nothing dies."""
    await stage.open(partitions=1)
    stage.segment.mood = lambda _: REFUSED
    stage.bot("bot", lines("a", 2, 5))
    await stage.played()
    stage.staff(1)
    await stage.until(lambda: stage.watch.stored.flow("parked") is not None or stage.empty(), "park")
    stage.segment.mood = in_turn([])
    await stage.registry.unpark("bot")
    await stage.settled()


async def sick_of_two(stage: Stage) -> None:
    """One event always makes Segment fail, while what others send arrives: it alone dies."""
    await stage.open(partitions=4)
    stage.watch.excused.add("a2")
    stage.segment.mood = failing_at("a2")
    stage.staff(2)
    stage.bot("bot", lines("a", 2, 6))
    stage.bot("more", lines("b", 5, 60, every_s=2.0))
    await stage.settled()


async def sick_of_one(stage: Stage) -> None:
    """The first event of the only request always makes Segment fail: it dies, and all partitions arrive."""
    await stage.open(partitions=4)
    stage.bot("bot", lines("a", 8, 40))
    await stage.played()
    stage.segment.mood = lambda sending: failing_at(stage.segment.sendings[0].ids[0])(sending)
    stage.segment.on_begin.append(lambda _: stage.watch.excused.add(stage.segment.sendings[0].ids[0]))
    stage.staff(1)
    await stage.settled()
    assert len(stage.segment.sendings[0].ids) == 40, "not all is in the first request"
    assert {*stage.watch.stored.dead().values()} == {"poison"}


async def sick_and_first(stage: Stage) -> None:
    """The first event of the only partition always makes Segment fail: it dies of age, what waited behind it not."""
    await stage.open(partitions=1, max_age_s=30)
    stage.watch.excused.add("a0")
    stage.segment.mood = failing_at("a0")
    stage.bot("bot", lines("a", 2, 8))
    await stage.played()
    stage.staff(1)
    await stage.settled()


def failing_at(message_id: str) -> Mood:
    return lambda sending: BROKEN if message_id in sending.ids else Reply()


async def large(stage: Stage) -> None:
    """Events of which a request takes few, and in one partition more than a batch of."""
    await stage.open(partitions=3)
    stage.bot("bot", lines("a", 5, 60), padding=30_000)
    stage.bot("many", lines("b", 1, 250))
    await stage.played()
    stage.staff(1)
    await stage.settled()


async def spoilt(stage: Stage) -> None:
    """A batch that nobody can read lies amid others: it is dead as it is, and the rest goes on."""
    await stage.open(partitions=1)
    stage.bot("bot", lines("a", 2, 8, every_s=0.2))
    await stage.clock(0.5)
    await stage.spoil(partition=0)
    stage.staff(2)
    await stage.settled()


async def ageing(stage: Stage) -> None:
    """Ids are remembered over generations: copies within the window are not sent."""
    await stage.open(window_s=60)
    stage.staff(2)
    stage.bot("bot", lines("a", 3, 40, every_s=3.0))
    stage.bot("copies", [(at + 50.0, message_id, user) for at, message_id, user in lines("a", 3, 40, every_s=3.0)])
    await stage.settled()


async def waited(stage: Stage) -> None:
    """Failures, a pause for far longer than `max_age`, and one more failure: waiting kills nothing."""
    await stage.open(max_age_s=20)
    stage.segment.mood = in_turn([DOWN] * 3)
    stage.staff(1)
    stage.bot("bot", lines("a", 2, 4))
    await stage.until(lambda: bool(stage.segment.sendings), "request")
    await pause(stage.redis, Keys(), "bot")
    await stage.clock(60)
    await resume(stage.redis, Keys(), "bot")
    await stage.settled()


async def crowded(stage: Stage) -> None:
    """The backlog comes to its limit while the source is paused; one bot has a spool."""
    await stage.open(backlog_bytes=700)
    await pause(stage.redis, Keys(), "bot")
    stage.staff(1)
    for name, spool in (("a", ""), ("b", "spool")):
        stage.bot(name, lines(name, 2, 20, every_s=0.1), spool=spool)
    await stage.clock(4)
    await resume(stage.redis, Keys(), "bot")
    await stage.settled()


async def full_of_letters(stage: Stage) -> None:
    """Dead letters come to their limit, and the source waits until the operator makes room."""
    await stage.open(dead_bytes=1)
    stage.segment.poison = frozenset({"a1", "a4", "a7"})
    stage.staff(1)
    stage.bot("bot", lines("a", 1, 9, every_s=0.3))
    await stage.clock(8)
    assert len(stage.watch.stored.dead()) == 1, "the source goes on with its dead letters at their limit"
    await stage.registry.set("bot", dead_bytes=0)
    await stage.settled()


SCENARIOS: dict[str, Scenario] = {
    scenario.__name__: scenario
    for scenario in (
        delivery, two_workers, handed_back, refused, failing, held, parked, spooled, sharing, restarted,
        redriven, paused, failed_over, flushed, refusing, sick_of_two, sick_of_one, sick_and_first, large, spoilt,
        ageing, waited, crowded, full_of_letters,
    )
}  # fmt: skip
CALM_ONLY = frozenset({
    "sick_of_two", "sick_of_one", "sick_and_first", "large", "ageing", "waited", "crowded", "full_of_letters",
})  # fmt: skip
"""Those that are long, or many events: to strike their every step would cost more than it shows."""
REPEATING = frozenset({"failing", "failed_over", "flushed"})
"""Those in which events are sent again without a blow: answers are lost, or what Redis knew."""
