"""Real input: every dialogue, by four bots at once, a tenth of it twice, to a Segment with faults."""

import time
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from typing import Any

import pytest

from pombo.ops.dialogues import Dialogue, Event
from support.installation import Bot, Installation
from support.results import record
from support.traffic import all_dialogues, made_up, shares, write

Say = Callable[[str], None]
Rule = dict[str, Any]

KEY = "d" * 32
BOTS = 4
REPEATED = 10
"""One event of so many is issued again, by another process."""
FAULTS: Sequence[dict[str, Any]] = (
    {"status": 500},
    {"action": "reset_after"},
    {"status": 503},
    {"action": "reset_before"},
    {"status": 500, "delay_s": 0.3},
    {"action": "reset_after", "delay_s": 0.1},
)
LIMITED = {"status": 429, "headers": {"Retry-After": 1}}
REFUSED = {"status": 400, "body": {"success": False, "message": "malformed event", "code": "invalid_request"}}


def plan(refused: Sequence[str], faults: int) -> list[Rule]:
    """Refuse some events, ask twice for patience, and let every third request fail, so many in all."""
    failing = [
        {"when": {"requests": [3 * number, None]}, "answer": answer, "times": 1}
        for number, answer in enumerate(islice(cycle(FAULTS), faults), start=1)
    ]
    limited = [{"when": {"requests": [n, None]}, "answer": LIMITED, "times": 1} for n in (5, 3 * faults)]
    return [{"when": {"message_id": list(refused)}, "answer": REFUSED}, *limited, *failing]


def play(installation: Installation, streams: Sequence[Sequence[Event]]) -> tuple[list[Bot], Bot, int]:
    """Start the bots, and the one that repeats what they said; and how much that is."""
    bots = []
    for number, stream in enumerate(streams):
        path = write(installation.folder / f"events-{number}", stream)
        bots.append(installation.bot("bot", "play", path, budget_s=10))
    again = [event for stream in streams for event in stream[::REPEATED]]
    path = write(installation.folder / "again", again)
    repeater = installation.bot("bot", "repeat", path, *(str(bot.diary) for bot in bots), budget_s=10)
    return bots, repeater, len(again)


def prove(installation: Installation, dialogues: Sequence[Dialogue], *, faults: int, say: Say) -> None:
    """Deliver dialogues under faults, and hold what arrived against what was accepted."""
    streams = shares(dialogues, BOTS)
    refused = [stream[at]["messageId"] for stream in streams for at in (7, len(stream) // 2 + 3) if at % REPEATED]
    installation.add("bot", KEY)
    installation.segment.set_plan(plan(refused, faults))
    installation.workers(2)

    begun = time.monotonic()
    bots, repeater, copies = play(installation, streams)
    logs = [bot.finish() for bot in bots]
    again = repeater.finish()
    accepted = time.monotonic() - begun
    installation.drained("bot", 180)
    lasted = time.monotonic() - begun

    findings = installation.judge("bot", [*logs, again])
    say(
        f"{len(dialogues):,} dialogues: {findings}; {copies:,} copies by another process; all faults fired: "
        f"{sum(installation.segment.fired())}; accepted in {accepted:.1f} s, delivered in {lasted:.1f} s"
    )
    record(
        "Segment", f"{faults} requests of dialogues fail, by turns in six ways",
        f"{len(dialogues):,} dialogues, {copies:,} events issued twice, by another process",
        runs=faults, findings=findings,
    )  # fmt: skip
    findings.assert_sound()
    events = sum(map(len, streams))
    assert {one.outcome for log in [*logs, again] for one in log} == {"accepted"}
    assert 0 not in installation.segment.fired()
    assert sorted(refused) == sorted(letter["message_id"] for letter in installation.dead("bot"))
    ledger = installation.audit()["sources"]["bot"]
    expected = {
        "accepted": events + copies,
        "delivered": events - len(refused),
        "deduplicated": copies,
        "dead": len(refused),
    }
    assert expected == {name: ledger[name] for name in expected}


def test_some_dialogues_through_real_processes(installation: Installation, say: Say) -> None:
    """Made-up dialogues arrive once and in order, however Segment answers."""
    prove(installation, made_up(150), faults=6, say=say)


@pytest.mark.e2e
@pytest.mark.timeout(300)
def test_every_dialogue(installation: Installation, say: Say) -> None:
    """Each of about 33,000 real events is kept exactly once, or dead when Segment refuses it, in its user's order."""
    prove(installation, all_dialogues(say), faults=24, say=say)
