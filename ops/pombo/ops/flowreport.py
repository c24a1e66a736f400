"""What the Segment blocks of a flow would send, and why not."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pombo.producer.quickbot import Flow, SegmentBlock, Variables
from pombo.producer.quickbot.casting import Cast
from pombo.producer.quickbot.conditions import read_condition
from pombo.producer.quickbot.flow import Place
from pombo.producer.quickbot.template import names_in
from pombo.shared.errors import InvalidEvent


@dataclass(frozen=True, slots=True)
class BlockReport:
    """One Segment block: its event, or what is wrong."""

    place: Place
    action: str
    """As the block names it; empty if it names none."""
    event: dict[str, Any] | None = None
    problem: InvalidEvent | None = None
    notes: tuple[str, ...] = ()
    """What is left out or looks like a slip, though the event can be sent."""

    def describe(self) -> dict[str, Any]:
        """The JSON of `quickbot check`."""
        problem = self.problem
        return {
            "block": self.place.id,
            "group": self.place.group,
            "action": self.action,
            "event": self.event,
            "field": problem and problem.field,
            "code": problem and problem.code,
            "message": problem and problem.message,
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True)
class ConditionReport:
    """One item of a Condition block: whether it holds, or what is wrong."""

    place: Place
    item: str
    holds: bool | None
    problem: InvalidEvent | None = None

    def describe(self) -> dict[str, Any]:
        """The JSON of `quickbot check`."""
        problem = self.problem
        return {
            "block": self.place.id,
            "group": self.place.group,
            "item": self.item,
            "holds": self.holds,
            "field": problem and problem.field,
            "message": problem and problem.message,
        }


def report_blocks(
    flow: Flow, variables: Variables, cast: Cast = "none", context: Mapping[str, Any] | None = None
) -> list[BlockReport]:
    """Every Segment block with these variables on top of the flow's own."""
    known = flow.variables.under(variables)
    return [_block(place, known, cast, context) for place in flow.segment_blocks()]


def report_conditions(flow: Flow, variables: Variables) -> list[ConditionReport]:
    """Every item of the flow's Condition blocks with these variables on top of the flow's own."""
    known = flow.variables.under(variables)
    return [_condition(place, item, known) for place, item in flow.conditions()]


def _block(place: Place, variables: Variables, cast: Cast, context: Mapping[str, Any] | None) -> BlockReport:
    options = place.block.get("options")
    action = options.get("action") if isinstance(options, Mapping) else None
    shown = action if isinstance(action, str) else ""
    slips = tuple(_slips(options, variables))
    try:
        outcome = SegmentBlock.model_validate(place.block).outcome(variables, cast=cast, context=context)
    except InvalidEvent as problem:
        return BlockReport(place, shown, problem=problem, notes=slips)
    left_out = (f"{one.field} is left out: {one.message}" for one in outcome.skipped)
    return BlockReport(place, shown, outcome.event, notes=(*left_out, *slips))


def _slips(options: object, variables: Variables) -> Iterator[str]:
    """Names that no variable has, but that nearly are one's."""
    names = {" ".join(name.split()).casefold(): name for name in sorted(variables.names)}
    for name in dict.fromkeys(_names(options)):
        close = get_close_matches(" ".join(name.split()).casefold(), names, 1, 0.8)
        if name not in variables.names and close:
            yield f"{{{{{name}}}}} is no variable; did you mean {{{{{names[close[0]]}}}}}?"


def _names(value: object) -> Iterator[str]:
    """The names in every text of a block's options, which are read from JSON."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield from names_in(one)
        elif isinstance(one, Mapping | list):
            waiting += reversed([*one.values()] if isinstance(one, Mapping) else one)


def _condition(place: Place, item: Mapping[str, Any], variables: Variables) -> ConditionReport:
    name = item.get("id")
    shown = name if isinstance(name, str) else ""
    try:
        return ConditionReport(place, shown, read_condition(item).holds(variables))
    except InvalidEvent as problem:
        return ConditionReport(place, shown, None, problem)
