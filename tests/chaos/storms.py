"""Random schedules: several bots and workers, and faults of every kind at any moment."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from chaos.actors import Worker
from chaos.segment import Reply, Sending
from chaos.stage import Line, Stage
from chaos.weather import Blow, Storm
from pombo.shared.flow import pause, resume
from pombo.shared.keys import Keys
from pombo.shared.tail import watch

ANSWERS = (
    Reply(429, (("retry-after", "1"),)),
    Reply(500),
    Reply(502, taken=True),
    Reply(503, (("retry-after", "2"),)),
    Reply(heard=False),
    Reply(heard=False, taken=False),
    Reply(delay_s=2.0),
    Reply(200, body=b"<html>"),
)
SICK = 0.25
"""Share of storms with an event that always fails."""
AGED_S = 60.0
"""`max_age` then: longer than a storm lasts, and than all that it holds up; who never can be sent waits for it."""
Event = Callable[[Stage, random.Random], Awaitable[None]]


# -- what may happen in a storm ---------------------------------------------------------------------------------------


async def kill_worker(stage: Stage, rng: random.Random) -> None:
    if (worker := _some(stage, rng)) is not None:
        worker.process.kill()


async def freeze_worker(stage: Stage, rng: random.Random) -> None:
    if (worker := _some(stage, rng)) is not None:
        worker.process.freeze(rng.choice((1.0, 5.0, 9.0, 15.0)))


async def stop_worker(stage: Stage, rng: random.Random) -> None:
    if (worker := _some(stage, rng)) is not None:
        worker.stop()


async def hire(stage: Stage, rng: random.Random) -> None:
    if stage.wanted < 4:
        stage.staff(1)


async def cut_worker(stage: Stage, rng: random.Random) -> None:
    """One worker reaches Redis no more, or Segment, or neither."""
    if (worker := _some(stage, rng)) is not None:
        worker.process.cut |= {"redis", "segment"} if rng.random() < 0.3 else {rng.choice(("redis", "segment"))}
        stage.world.note(worker.process.name, f"cut off from {' and '.join(sorted(worker.process.cut))}")
        await asyncio.sleep(rng.choice((0.5, 4.0, 7.0, 12.0)))
        worker.process.cut.clear()


async def redis_away(stage: Stage, rng: random.Random) -> None:
    """Redis is killed and started again; its scripts are gone."""
    stage.world.note("redis", "away")
    stage.world.refusing = True
    await asyncio.sleep(rng.choice((0.2, 1.0, 3.0, 10.0)))
    stage.world.server.known.clear()
    stage.world.refusing = False
    stage.world.note("redis", "back")


async def redis_stalls(stage: Stage, rng: random.Random) -> None:
    stage.world.note("redis", "answers nobody")
    stage.world.stalled = True
    await asyncio.sleep(rng.choice((0.3, 1.0, 6.0)))
    stage.world.stalled = False


async def redis_full(stage: Stage, rng: random.Random) -> None:
    """Redis is at its maxmemory: appends are refused, the rest goes on."""
    stage.world.note("redis", "full")
    stage.world.server.raw("CONFIG", "SET", "maxmemory", "1")
    await asyncio.sleep(rng.choice((0.5, 2.0, 4.0)))
    stage.world.server.raw("CONFIG", "SET", "maxmemory", "0")


async def scripts_gone(stage: Stage, rng: random.Random) -> None:
    stage.world.server.known.clear()


async def rate_changed(stage: Stage, rng: random.Random) -> None:
    rate = float(rng.choice((0, 5, 50)))
    await stage.insist(lambda: stage.registry.set("bot", rate=rate))


async def redrive(stage: Stage, rng: random.Random) -> None:
    """What is dead by now is put back, and dies again or not."""
    stage.watch.excused |= stage.segment.poison
    stage.segment.poison = rng.choice((frozenset(), stage.segment.poison))
    await stage.redrive()


async def pause_awhile(stage: Stage, rng: random.Random) -> None:
    await stage.insist(lambda: pause(stage.redis, Keys(), "bot"))
    await asyncio.sleep(rng.choice((0.3, 2.0, 10.0)))
    await stage.insist(lambda: resume(stage.redis, Keys(), "bot"))


async def watched(stage: Stage, rng: random.Random) -> None:
    """Somebody looks on with the debugger."""
    await stage.insist(lambda: watch(stage.redis, Keys(), "bot", rng.choice((1, 5, 30))))


async def failover(stage: Stage, rng: random.Random) -> None:
    await stage.fail_over(rng.choice((0.05, 0.5, 3.0)))


async def flush(stage: Stage, rng: random.Random) -> None:
    await stage.flush(rng.choice((0.1, 2.0)))


async def key_rotated(stage: Stage, rng: random.Random) -> None:
    key = f"{rng.randrange(10**9):09d}" * 4
    await stage.insist(lambda: stage.registry.rotate_key("bot", key))


EVENTS: tuple[tuple[Event, float], ...] = (
    (kill_worker, 3), (freeze_worker, 2), (stop_worker, 2), (hire, 1), (cut_worker, 2), (redis_away, 2),
    (redis_stalls, 1), (redis_full, 1), (scripts_gone, 1), (rate_changed, 0.5), (key_rotated, 0.5), (redrive, 1),
    (pause_awhile, 1), (watched, 1), (failover, 0.7), (flush, 0.2),
)  # fmt: skip


def _some(stage: Stage, rng: random.Random) -> Worker | None:
    living = [worker for worker in stage.workers if not worker.gone]
    return rng.choice(living) if living else None


# -- the schedule -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Schedule:
    """What happens in a storm, drawn at random."""

    partitions: int
    rate: float
    workers: int
    plays: tuple[tuple[list[Line], str, float], ...]
    """Per bot: its events, its spool's folder if it has one, its budget (s)."""
    poison: frozenset[str]
    moody: float
    """Share of requests that Segment does not simply answer."""
    events: tuple[tuple[float, Event], ...]
    lasts_s: float
    seed: int

    @classmethod
    def drawn(cls, rng: random.Random) -> "Schedule":
        """Draw one."""
        lasts = rng.choice((2.0, 6.0, 12.0))
        plays = tuple(cls._play(rng, f"b{number}", lasts) for number in range(rng.choice((1, 1, 2, 3))))
        plays += cls._copies(rng, plays)
        ids = [message_id for lines, _, _ in plays for _, message_id, _ in lines]
        kinds, weights = zip(*EVENTS, strict=True)
        events = [
            (rng.uniform(0.0, lasts), kind) for kind in rng.choices(kinds, weights, k=rng.choice((0, 1, 2, 3, 5)))
        ]
        return cls(
            partitions=rng.choice((1, 2, 3)), rate=rng.choice((0, 0, 0, 20)), workers=rng.choice((1, 2, 2, 3)),
            plays=plays, poison=frozenset(rng.sample(ids, min(len(ids), rng.choice((0, 0, 1, 2))))),
            moody=rng.choice((0, 0, 0.1, 0.4)), events=tuple(sorted(events, key=lambda one: one[0])), lasts_s=lasts,
            seed=rng.randrange(1 << 30),
        )  # fmt: skip

    @classmethod
    def _play(cls, rng: random.Random, name: str, lasts: float) -> tuple[list[Line], str, float]:
        count, users, at = rng.choice((4, 10, 20)), rng.choice((1, 2, 4)), 0.0
        lines = []
        for number in range(count):
            lines.append((at, f"{name}-{number}", f"{name}u{rng.randrange(users)}"))
            at += rng.choice((0.0, 0.0, lasts / count, 2 * lasts / count))
        return lines, rng.choice(("", "spool", "spool", "other")), rng.choice((0.5, 1.0, 3.0))

    @classmethod
    def _copies(cls, rng: random.Random, plays: Any) -> tuple[tuple[list[Line], str, float], ...]:
        """A bot that offers some events of others again, later."""
        if rng.random() < 0.7:
            return ()
        lines = [line for play in plays for line in play[0] if rng.random() < 0.3]
        return ((sorted((at + 2.0, message_id, user) for at, message_id, user in lines), "", 1.0),)

    def weather(self, rng: random.Random) -> Storm:
        """The storm that goes with it."""
        blows = tuple(Blow) if rng.random() < 0.6 else tuple(rng.sample(list(Blow), 2))
        return Storm(
            rng=random.Random(f"{self.seed}/storm"), until_s=self.lasts_s + 2.0,
            share=rng.choice((0, 0.005, 0.02, 0.06)), slow=rng.choice((0, 0, 0.002, 0.05)),
            deaf=rng.choice((0, 0, 0.3, 1.0)), blows=blows,
        )  # fmt: skip

    @property
    def sick(self) -> str:
        """In one of four, an event that always makes Segment fail."""
        rng = random.Random(f"{self.seed}/sick")
        ids = [message_id for lines, _, _ in self.plays for _, message_id, _ in lines]
        return rng.choice(ids) if rng.random() < SICK else ""

    async def play(self, stage: Stage) -> None:
        """Play it, and then have everything settle in calm weather."""
        rng = random.Random(f"{self.seed}/events")
        await stage.open(partitions=self.partitions, rate=self.rate, **({"max_age_s": AGED_S} if self.sick else {}))
        stage.watch.excused |= {self.sick} - {""}
        stage.segment.poison = self.poison
        stage.segment.mood = self._mood(stage)
        stage.staff(self.workers)
        for number, (lines, spool, budget_s) in enumerate(self.plays):
            stage.bot(f"bot-{number}", lines, spool=spool, budget_s=budget_s)
        happening = [stage.operator.start(_at(at, event, stage, rng)) for at, event in self.events]
        await stage.played()
        await asyncio.gather(*happening)
        await stage.clock(self.lasts_s + 2.0)
        await stage.insist(lambda: resume(stage.redis, Keys(), "bot"))  # Redis may have forgotten that it was.
        await stage.settled()

    def _mood(self, stage: Stage) -> Callable[[Sending], Reply]:
        rng = random.Random(f"{self.seed}/mood")

        def mood(sending: Sending) -> Reply:
            if self.sick in sending.ids:
                return Reply(500)
            moody = stage.world.now < self.lasts_s and rng.random() < self.moody
            return rng.choice(ANSWERS) if moody else Reply()

        return mood


async def _at(at: float, event: Event, stage: Stage, rng: random.Random) -> None:
    await asyncio.sleep(at)
    stage.world.note("storm", event.__name__.replace("_", " "))
    await event(stage, rng)
