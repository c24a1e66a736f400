"""Play scenarios in weathers of all kinds, and tell what came of it."""

import random
import shutil
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaos.scenarios import CALM_ONLY, REPEATING, SCENARIOS, Scenario
from chaos.stage import LIMIT_S, Stage, staged
from chaos.storms import Schedule
from chaos.virtualserver import VirtualServer
from chaos.weather import Blow, Calm, Once, Step, Storm, Weather
from chaos.world import StuckError

STORM = "storm"
FENCED = frozenset({"claim", "attempt", "settle", "bury", "lease"})
"""What a worker does by right of its leases."""


@dataclass
class Outcome:
    """What one run came to."""

    name: str
    """What runs it again."""
    problems: list[str]
    figures: Counter[str] = field(default_factory=Counter)
    """Steps, events, requests and so on."""
    duplicates: Counter[str] = field(default_factory=Counter)
    """What arrived twice, by cause."""
    blows: Counter[str] = field(default_factory=Counter)
    trace: list[list[Any]] = field(default_factory=list)
    """Only of a run that went wrong, or when asked for."""


def run(server: VirtualServer, name: str, folder: Path, *, traced: bool = False) -> Outcome:
    """Play the run of this name: `storm:SEED`, `SCENARIO:calm`, or `SCENARIO:STEP:BLOW`.

    Raises:
        ValueError: no run has this name.
    """
    weather: Weather
    try:
        kind, *words = name.split(":")
        if kind == STORM:
            rng = random.Random(int(words[0]))
            schedule = Schedule.drawn(rng)
            scenario: Scenario = schedule.play
            weather = schedule.weather(rng)
        else:
            scenario = SCENARIOS[kind]
            weather = Calm() if words == ["calm"] else Once(number=int(words[0]), blow=Blow[words[1]])
    except (KeyError, IndexError, ValueError):
        known = ", ".join(SCENARIOS)
        raise ValueError(f"{name!r} is no run; use storm:SEED or SCENARIO:STEP:BLOW, of {known}") from None
    return _played(server, name, scenario, weather, folder, traced=traced)


def points(server: VirtualServer, name: str, folder: Path) -> Iterator[str]:
    """The names of the runs that strike each step of a scenario with each blow; none for those that are calm only."""
    if name in CALM_ONLY:
        return
    weather = Calm(steps=[])
    _played(server, f"{name}:calm", SCENARIOS[name], weather, folder, traced=False)
    for step in weather.steps or ():
        yield from (f"{name}:{step.number}:{blow.name}" for blow in _blows_at(step))


def _blows_at(step: Step) -> Iterator[Blow]:
    """What can be done at a step, besides what another step's blow does as well."""
    # LATE_REPLY is LOST_REPLY, heard of later. For the outside, DIED_BEFORE a step is DIED_AFTER the one before it; a
    # disk is struck by both all the same, as its steps are few.
    if step.kind == "disk":
        yield from (Blow.NOT_SENT, Blow.DIED_BEFORE, Blow.DIED_AFTER, Blow.FROZEN)
    else:
        yield from (Blow.NOT_SENT, Blow.LOST_REPLY, Blow.LATE, Blow.DIED_AFTER, Blow.FROZEN, Blow.FROZEN_AFTER)
        if step.process.startswith("worker") and (step.kind == "segment" or step.name in FENCED):
            yield Blow.OVERTAKEN


def _played(
    server: VirtualServer, name: str, scenario: Scenario, weather: Weather, folder: Path,
    *, traced: bool,
) -> Outcome:  # fmt: skip
    shutil.rmtree(folder, ignore_errors=True)
    # A scenario is the same up to the blow, whatever is struck.
    seed = name if isinstance(weather, Storm) else name.partition(":")[0]
    with staged(server, weather, seed, folder) as stage:
        if isinstance(weather, Storm):
            weather.now = lambda: stage.world.now
        problems = _judged(stage, scenario)
        if name.endswith(":calm") and seed not in REPEATING and stage.watch.duplicates:
            problems.append(f"sent again, though nothing happened: {dict(stage.watch.duplicates)}")
        return Outcome(
            name, problems, _figures(stage), stage.watch.duplicates, weather.struck,
            stage.world.trace if problems or traced else [],
        )  # fmt: skip


def _judged(stage: Stage, scenario: Scenario) -> list[str]:
    async def main() -> None:
        await scenario(stage)

    try:
        stage.world.run(stage.operator.start(main()), LIMIT_S)
    except StuckError as stuck:
        return [f"stuck: {stuck}", *stage.watch.judge(stage.bots, stage.workers)]
    except Exception as error:
        return [f"crashed: {error!r}", *traceback.format_exc().splitlines()[-6:]]
    return stage.watch.judge(stage.bots, stage.workers)


def _figures(stage: Stage) -> Counter[str]:
    world = stage.world
    return Counter(
        runs=1,
        steps=world.steps,
        virtual_s=round(world.now),
        events=sum(len(bot.offered) for bot in stage.bots),
        requests=len(stage.segment.sendings),
        recounts=stage.watch.recounts,
        kills=sum(not process.lives for process in world.processes),
        forgotten=len(stage.watch.forgotten),
    )
