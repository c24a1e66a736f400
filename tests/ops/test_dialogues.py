"""How dialogues become events."""

from collections import Counter
from itertools import islice
from typing import Any

import orjson
import pytest

from pombo.ops.dialogues import Dialogue, DialogueError, events, generate, parse
from pombo.shared.events import parse as check
from support.traffic import made_up, shares

DIALOGUE: Dialogue = {
    "conversation_id": "dlg-1",
    "vertical": "Coffee",
    "scenario": "one mocha",
    "turns": [
        {
            "speaker": "user",
            "text": "a mocha",
            "api": [
                {"call": "get_menu_items", "args": {"query": "mocha"}},
                {"call": "finish_order", "args": "{"},
            ],
        },
        {"speaker": "assistant", "text": "here it is"},
    ],
}


def test_events_of_a_dialogue() -> None:
    """A conversation is a user; its turns and tool calls are tracked in the order in which they happened."""

    def track(number: int, event: str, **properties: Any) -> dict[str, Any]:
        body = {"type": "track", "event": event, "properties": properties}
        return {**body, "userId": "dlg-1", "messageId": f"dlg-1.{number}"}

    traits = {"vertical": "Coffee", "scenario": "one mocha"}
    expected = [
        {"type": "identify", "traits": traits, "userId": "dlg-1", "messageId": "dlg-1.0"},
        track(1, "Message Received", turn=0, text="a mocha"),
        track(2, "Event Tracked", turn=0, call="get_menu_items", args={"query": "mocha"}),
        track(3, "Event Tracked", turn=0, call="finish_order", args="{"),
        track(4, "Message Sent", turn=1, text="here it is"),
    ]
    assert expected == events(DIALOGUE)


def test_parse() -> None:
    """Dialogues are read one a line."""
    assert [DIALOGUE, DIALOGUE] == list(parse([orjson.dumps(DIALOGUE)] * 2))


@pytest.mark.parametrize("line", [b"{", b"[]", b"{}", b'{"conversation_id": "x"}', b"null"])
def test_parse_names_the_line(line: bytes) -> None:
    """A line that is no dialogue is refused by its number."""
    with pytest.raises(DialogueError, match="line 2 is no dialogue"):
        list(parse([orjson.dumps(DIALOGUE), line]))


def test_made_up_dialogues_repeat() -> None:
    """A seed always makes the same dialogues, another one others."""
    assert list(islice(generate(1), 20)) == list(islice(generate(1), 20))
    assert list(islice(generate(1), 20)) != list(islice(generate(2), 20))


def test_made_up_dialogues_are_like_real_ones() -> None:
    """They have about as many turns and calls, and their events are valid and have ids of their own."""
    dialogues = made_up(1_000)
    made = [event for dialogue in dialogues for event in events(dialogue)]
    count = Counter(event.get("event", "identify") for event in made)
    assert 3.0 < (count["Message Received"] + count["Message Sent"]) / len(dialogues) < 5.0
    assert 3.0 < count["Event Tracked"] / len(dialogues) < 5.0
    assert len(made) == len({event["messageId"] for event in made})
    for event in made:
        check(event)


def test_shares() -> None:
    """A conversation belongs to one bot, which keeps its order while several run at once."""
    dialogues = made_up(100)
    streams = shares(dialogues, 4)
    users = [{event["userId"] for event in stream} for stream in streams]
    assert 100 == sum(map(len, users)) == len(set().union(*users))
    for stream in streams:
        assert stream[0]["userId"] != stream[1]["userId"]
        for user in {event["userId"] for event in stream}:
            numbers = [int(event["messageId"].rpartition(".")[2]) for event in stream if event["userId"] == user]
            assert list(range(len(numbers))) == numbers
