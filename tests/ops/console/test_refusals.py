"""Refusals: strangers leave a trace of their addresses, and cannot fill the trail."""

from collections.abc import Mapping
from typing import Any

import pytest

from ops.console.rig import Ahead
from pombo.ops.console.refusals import ELSEWHERE, HOUR_S, LINES, MINUTE_S, Refusals


class Notes:
    """What was noted: the addresses with how often."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, int]] = []

    async def __call__(self, detail: Mapping[str, Any]) -> None:
        self.lines.append((detail["address"], detail["times"]))


@pytest.fixture
def clock() -> Ahead:
    return Ahead()


async def test_an_address_has_a_line_and_one_for_the_minute_after(clock: Ahead) -> None:
    """The first failure is seen at once, the others are counted until the minute is over or somebody looks."""
    notes = Notes()
    refusals = Refusals(notes, clock)
    for address in ("a", "a", "b", "a"):
        await refusals.add(address)
    assert [("a", 1), ("b", 1)] == notes.lines
    clock.by += MINUTE_S
    await refusals.add("a")
    assert [("a", 2), ("a", 1)] == notes.lines[2:]
    await refusals.add("a")
    await refusals.flush()
    assert [("a", 1)] == notes.lines[4:]
    await refusals.flush()
    assert 5 == len(notes.lines)


async def test_strangers_have_so_many_lines_an_hour(clock: Ahead) -> None:
    """However many addresses fail however often, none of them uncounted; the next hour they have lines again."""
    notes = Notes()
    refusals = Refusals(notes, clock)
    for number in range(500):
        await refusals.add(f"a{number % 100}")
        clock.by += 1
    assert LINES == len(notes.lines)
    clock.by += HOUR_S
    await refusals.add("z")
    assert [ELSEWHERE, "z"] == [address for address, _ in notes.lines[LINES:]]
    assert 501 == sum(times for _, times in notes.lines)
