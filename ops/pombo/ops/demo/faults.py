"""What goes wrong in the demo, and when: a script that repeats."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

CYCLE_S = 60.0
SUPPORT_KEY = "demoSupportBotWriteKey0123456789"
ORDERS_KEY = "demoOrdersBotWriteKey01234567890"
BAD_EVENT = "Broken Event"
"""Events of this name are what the simulated Segment refuses."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that happens `at` so many seconds into each cycle.

    `rule` is for the simulator's plan; a fault without one is done to pombo itself: `kill` a worker.
    """

    at: float
    text: str
    rule: dict[str, Any] | None = None
    action: str = ""


SCRIPT: Sequence[Fault] = (
    Fault(
        2.0,
        "Segment answers 429, Retry-After 2, to support_bot",
        {
            "when": {"key": SUPPORT_KEY},
            "answer": {"status": 429, "headers": {"Retry-After": "2"}},
            "times": 1,
        },
    ),
    Fault(3.0, "kill -9 of a worker, mid-work", action="kill"),
    Fault(
        5.0,
        "Segment answers 500, five times",
        {"when": {}, "answer": {"status": 500}, "times": 5},
    ),
    Fault(
        7.0,
        "Segment accepts, then cuts the connection before it answers",
        {"when": {}, "answer": {"action": "reset_after"}, "times": 2},
    ),
)


def due(before: float, now: float) -> list[Fault]:
    """The faults whose time came after `before` and until `now`, in seconds since the start."""
    found = []
    for cycle in range(int(before // CYCLE_S), int(now // CYCLE_S) + 1):
        found += [fault for fault in SCRIPT if before < cycle * CYCLE_S + fault.at <= now]
    return found


def refusal(message_ids: list[str]) -> dict[str, Any]:
    """The rule by which Segment refuses any request that holds one of these events."""
    body = '{"success": false, "message": "this event cannot be read", "code": "invalid_request"}'
    return {"when": {"message_id": message_ids}, "answer": {"status": 400, "body": body}}
