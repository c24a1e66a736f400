"""Segment refuses: one event of a full request, or every event because the key is no longer good."""

import math
from collections.abc import Callable
from typing import Any

import pytest

from support.installation import Installation, until
from support.results import record
from support.traffic import write

Say = Callable[[str], None]

KEY, NEW_KEY = "r" * 32, "n" * 32
FULL = 1_000
"""Events that one partition's request takes at most."""
REFUSED = {"status": 400, "body": {"success": False, "message": "malformed event", "code": "invalid_request"}}
REVOKED = {
    "401": {"status": 401},
    "400 naming the key": {
        "status": 400,
        "body": {"success": False, "message": "An invalid write key was provided", "code": "invalid_request"},
    },
}


def _tracks(count: int, users: int = 10) -> list[dict[str, Any]]:
    return [
        {"type": "track", "event": "Message Sent", "userId": f"u{n % users}", "messageId": f"m{n:04}", "properties": {}}
        for n in range(count)
    ]


@pytest.mark.e2e
def test_one_event_refused_in_a_full_request(installation: Installation, say: Say) -> None:
    """The refused event dies alone, with Segment's answer; bisection finds it in 2·⌈log₂ n⌉ further requests."""
    culprit = "m0618"
    installation.add("bot", KEY, partitions=1)
    installation.segment.set_plan([{"when": {"message_id": culprit}, "answer": REFUSED}])
    log = installation.bot("bot", "play", write(installation.folder / "events", _tracks(FULL)), budget_s=10).finish()
    installation.workers(1)
    installation.drained("bot")

    findings = installation.judge("bot", [log])
    requests = installation.segment.requests()
    (letter,) = installation.dead("bot")
    allowed = 2 * math.ceil(math.log2(requests[0]["events"]))
    say(
        f"one event refused among {requests[0]['events']:,}: found in {len(requests) - 1} further requests "
        f"({allowed} allowed); {findings}"
    )
    record(
        "Segment", "one event of a full request refused",
        f"it alone died, found in {len(requests) - 1} further requests of {allowed} allowed", findings=findings,
    )  # fmt: skip
    findings.assert_sound()
    installation.audit()
    assert FULL == requests[0]["events"]
    assert allowed >= len(requests) - 1
    shown = {name: letter[name] for name in ("message_id", "reason", "status")}
    assert {"message_id": culprit, "reason": "rejected_by_segment", "status": 400} == shown
    assert "malformed event" in letter["answer"]


@pytest.mark.e2e
@pytest.mark.parametrize("answer", REVOKED.values(), ids=REVOKED.keys())
def test_revoked_key(installation: Installation, say: Say, answer: dict[str, Any]) -> None:
    """A source whose key was revoked parks and nothing dies; with a new key all of it arrives."""
    installation.add("bot", KEY)
    installation.segment.set_plan([{"when": {"key": KEY}, "answer": answer}])
    installation.workers(2)
    log = installation.bot("bot", "play", write(installation.folder / "events", _tracks(500)), budget_s=10).finish()
    flow = installation.keys.of("bot").flow
    until(lambda: installation.redis.hexists(flow, "parked"), "park")
    parked = installation.audit()["sources"]["bot"]
    assert "parked" == installation.state("bot")
    assert {"accepted": 500, "delivered": 0, "dead": 0} == {
        name: parked[name] for name in ("accepted", "delivered", "dead")
    }

    installation.cli("sources", "rotate-key", "bot", "--write-key", "-", given=f"{NEW_KEY}\n")
    installation.drained("bot")

    findings = installation.judge("bot", [log])
    refused = sum(row["key"] == KEY for row in installation.segment.requests())
    say(f"key revoked ({answer['status']}): parked after {refused} requests, then rotated; {findings}")
    record(
        "Segment", f"write key revoked, answer {'naming it' if 'body' in answer else answer['status']}",
        f"parked after {refused} requests, nothing died; with a new key all arrived", findings=findings,
    )  # fmt: skip
    findings.assert_sound()
    installation.audit()
    assert 0 == findings.dead
    assert {NEW_KEY} == {row["key"] for row in installation.segment.events()}
