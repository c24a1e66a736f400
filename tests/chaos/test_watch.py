"""The oracle of a simulated world: what it excuses, and no more."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.explore import run
from chaos.scenarios import SCENARIOS, lines
from chaos.segment import Sending
from chaos.stage import Stage
from chaos.virtualserver import VirtualServer, virtual_server
from chaos.watch import late_of_lost
from chaos.weather import Calm
from chaos.world import World, made_world

LOST_AT = 5.0


@pytest.fixture(scope="module")
def server() -> Iterator[VirtualServer]:
    """A server on virtual time."""
    with virtual_server() as made:
        yield made


@pytest.fixture
def world(server: VirtualServer) -> Iterator[World]:
    """A world in calm weather."""
    with made_world(server, Calm(), "watch") as made:
        yield made


def sending(world: World, ids: str, begun_at: float, arrived_at: float | None) -> Sending:
    """A request of these ids, from when it began until it arrived."""
    made = Sending(0, world.process("worker"), ids.split(), set(), b"", begun_at)
    made.arrived_at = arrived_at
    return made


@pytest.mark.parametrize(
    ("late", "others", "excused"),
    [
        ((1.0, 13.0), [], {"a"}),
        ((1.0, 13.0), [(2.0, 12.0)], {"a"}),
        ((5.5, 13.0), [], set()),
        ((1.0, 4.0), [], set()),
        ((1.0, 13.0), [(5.5, 6.0)], set()),
        ((1.0, 13.0), [(13.1, 13.2)], set()),
        ((1.0, 13.0), [(13.1, None)], set()),
        ((1.0, 13.0), [(0.5, 0.9)], set()),
    ],
    ids=[
        "the one late request", "two were on their way", "begun when it was lost", "arrived before it was lost",
        "Redis holds it again", "sent once more by who was stopped", "the same, and it never arrived",
        "a second copy of what had arrived",
    ],
)  # fmt: skip
def test_what_is_excused_from_order(
    world: World, late: tuple[float, float], others: list[tuple[float, float | None]], excused: set[str]
) -> None:
    """Only what Redis lost while every request with it was under way, begun before and arrived after."""
    sendings = [sending(world, "a b", *late), *(sending(world, "a", *other) for other in others)]
    assert excused == late_of_lost(sendings, {"a": LOST_AT})


def test_what_redis_still_holds_is_never_excused(world: World) -> None:
    """A late request of events that Redis kept is no excuse, whatever else was lost."""
    sendings = [sending(world, "a b", 1.0, 13.0)]
    assert {"a"} == late_of_lost(sendings, {"a": LOST_AT, "c": LOST_AT})
    assert set() == late_of_lost(sendings, {})


@pytest.mark.parametrize(
    ("late", "problems"),
    [(("a1", 1.1), []), (("a1", 1.3), ["out of order: a1"]), (("a0", 0.2), ["out of order: a0"])],
    ids=["begun before the loss", "begun after it", "Redis still held it"],
)
def test_a_late_first_arrival_is_judged_by_what_redis_lost(
    server: VirtualServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    late: tuple[str, float],
    problems: list[str],
) -> None:
    """In a world whose Redis lost a1 and a2, an arrival behind a3 is excused of the former, if its request is older."""
    message_id, begun_at = late

    async def overdue(stage: Stage) -> None:
        await stage.open(partitions=1)
        bot = stage.bot("bot", lines("a", 1, 4, every_s=0.5))
        await stage.clock(0.3)
        await stage.fail_over(behind_s=0.9)
        await stage.played()
        worker = stage.staff(1)[0].process
        await stage.settled()
        segment = stage.segment
        body = next(one.body for one in bot.offered if one.message_id == message_id)
        forged = Sending(len(segment.sendings), worker, [message_id], {"au0"}, body, begun_at)
        forged.arrived_at = stage.world.now
        segment.arrivals = [(one, by) for one, by in segment.arrivals if one != message_id] + [(message_id, forged)]
        segment.sendings.append(forged)
        assert {"a1": 1.2, "a2": 1.2} == {one: round(at, 3) for one, at in stage.watch.forgotten.items()}

    monkeypatch.setitem(SCENARIOS, "overdue", overdue)
    assert problems == run(server, "overdue:calm", tmp_path / "run").problems
