"""What may happen to one step of a process towards the outside: to Redis, to Segment, or to its disk."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final, Protocol

LEASE_S: Final = 8.0
"""After which silence a worker's partitions are taken over; longer freezes make zombies."""
TICK_S: Final = 0.0003
"""How long a message is under way when all is well."""


class Blow(Enum):
    """What is done at one step."""

    NOT_SENT = "not sent"
    """No connection: the step fails before it reaches anybody."""
    LOST_REPLY = "lost reply"
    """It is done, and the connection is lost before its answer."""
    LATE_REPLY = "late reply"
    """It is done, and no answer comes before the caller's patience ends."""
    LATE = "late"
    """It is on its way for longer than the caller's patience, and done in the end."""
    DIED_BEFORE = "died before"
    """The process is killed -9 before the step."""
    DIED_AFTER = "died after"
    """The step is done, and the process is killed -9 before it knows."""
    FROZEN = "frozen"
    """The process is stopped right before the step, for longer than its leases last, and goes on then."""
    FROZEN_AFTER = "frozen after"
    """The step is done, and the process is stopped before it knows, for longer than its leases last."""
    OVERTAKEN = "overtaken"
    """A worker is stopped right before the step, until another one takes its lease, and goes on at that very moment."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step: its number in the world, whose it is, what it goes to (`redis`, `segment`, `disk`), and its name."""

    number: int
    process: str
    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Fate:
    """How long it takes there and back (s), and what else happens."""

    there_s: float = TICK_S
    back_s: float = TICK_S
    blow: Blow | None = None
    frozen_s: float = 0.0


class Weather(Protocol):
    """Decide what happens to each step."""

    struck: Counter[str]

    def fate(self, step: Step) -> Fate:
        """What happens to this one."""
        ...

    def hears(self) -> bool:
        """Whether a published message gets through to one who listens."""
        ...


@dataclass
class Calm:
    """Nothing happens; steps are noted if asked for."""

    steps: list[Step] | None = None
    struck: Counter[str] = field(default_factory=Counter)
    """Blows that were dealt, by kind."""

    def fate(self, step: Step) -> Fate:
        if self.steps is not None:
            self.steps.append(step)
        return _CALM

    def hears(self) -> bool:
        return True


_CALM = Fate()


@dataclass
class Once(Calm):
    """One blow at one step."""

    number: int = 0
    blow: Blow = Blow.NOT_SENT

    def fate(self, step: Step) -> Fate:
        if step.number != self.number:
            return _CALM
        self.struck[self.blow.value] += 1
        return Fate(blow=self.blow, frozen_s=LEASE_S + 4.0)


@dataclass
class Storm(Calm):
    """Blows at random, until it is over."""

    rng: random.Random = field(default_factory=random.Random)
    now: Callable[[], float] = lambda: 0.0
    until_s: float = 0.0
    share: float = 0.02
    """Of steps that get a blow."""
    slow: float = 0.0
    """Mean seconds that messages are under way, beyond the usual."""
    deaf: float = 0.0
    """Share of published messages that are lost."""
    blows: Sequence[Blow] = tuple(Blow)

    @property
    def over(self) -> bool:
        return self.now() >= self.until_s

    def fate(self, step: Step) -> Fate:
        if self.over:
            return _CALM
        rng = self.rng
        delays = (TICK_S + rng.expovariate(1 / self.slow), TICK_S + rng.expovariate(1 / self.slow)) if self.slow else ()
        fate = Fate(*delays)
        if rng.random() >= self.share:
            return fate
        blow = rng.choice(self.blows)
        self.struck[blow.value] += 1
        return replace(fate, blow=blow, frozen_s=rng.choice((0.5, 3.0, LEASE_S - 1, LEASE_S + 2, 20.0)))

    def hears(self) -> bool:
        return self.over or self.rng.random() >= self.deaf
