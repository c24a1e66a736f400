"""Dialogues between people and a bot, and the events that such a bot sends: real ones, and made-up ones like them.

A conversation is a user. It begins with an *identify*; what the user says is a *Message Received*, what the bot
says a *Message Sent*, and a tool that the bot calls an *Event Tracked*, right after the turn that led to it. Pure
functions: the same dialogue makes the same events, the same seed the same dialogues.
"""

from collections.abc import Iterable, Iterator
from random import Random
from typing import Any, Final, Literal, NotRequired, TypedDict
from uuid import UUID

import orjson

from pombo.shared.errors import PomboError

Event = dict[str, Any]
"""An event as `Producer.enqueue` takes it, in Segment's names."""


class Call(TypedDict):
    """A tool that the bot called; `args` is text where the bot wrote no sound JSON."""

    call: str
    args: dict[str, Any] | str


class Turn(TypedDict):
    """What one side said, and the tools that it led to."""

    speaker: Literal["user", "assistant"]
    text: str
    api: NotRequired[list[Call]]


class Dialogue(TypedDict):
    """One conversation."""

    conversation_id: str
    vertical: str
    scenario: str
    turns: list[Turn]


class DialogueError(PomboError):
    """A line is no dialogue."""


_SPOKEN: Final = {"user": "Message Received", "assistant": "Message Sent"}
CALLED: Final = "Event Tracked"


def events(dialogue: Dialogue) -> list[Event]:
    """The events of one dialogue, in order; their messageIds are `<conversation>.<number>`, counted from 0."""
    user = dialogue["conversation_id"]
    return [{**body, "userId": user, "messageId": f"{user}.{number}"} for number, body in enumerate(_bodies(dialogue))]


def _bodies(dialogue: Dialogue) -> Iterator[Event]:
    traits = {"vertical": dialogue["vertical"], "scenario": dialogue["scenario"]}
    yield {"type": "identify", "traits": traits}
    for number, turn in enumerate(dialogue["turns"]):
        yield _track(_SPOKEN[turn["speaker"]], turn=number, text=turn["text"])
        for call in turn.get("api", ()):
            yield _track(CALLED, turn=number, call=call["call"], args=call["args"])


def _track(event: str, **properties: object) -> Event:
    return {"type": "track", "event": event, "properties": properties}


def parse(lines: Iterable[bytes]) -> Iterator[Dialogue]:
    """Read dialogues, one JSON object a line.

    Raises:
        DialogueError: a line is none; the message has its number.
    """
    for number, line in enumerate(lines, start=1):
        try:
            dialogue: Dialogue = orjson.loads(line)
            events(dialogue)
        except (ValueError, TypeError, KeyError) as error:
            raise DialogueError(f"line {number} is no dialogue ({type(error).__name__}: {error}); remove it") from None
        yield dialogue


# -- made-up dialogues ------------------------------------------------------------------------------------------------

_DRINKS = ("espresso", "cortado", "chai latte", "mocha", "café com leite", "pão de queijo", "matcha", "açaí")
_ADDONS = ("oat milk", "an extra shot", "no sugar", "decaf", "whipped cream", "canela")
_NAMES = ("Ana", "João", "Mia", "Zoë", "Łukasz", "Noor", "陈")
_WISHES = (
    "can I get {a} {drink} with {addon}?",
    "um {drink} por favor, {addon} 🙂",
    "{drink} for {name}, please",
    "actually, make that {addon}",
    "yes, that's right",
    "what can you recommend with {addon}?",
)
_REPLIES = (
    "Sure, {name}: {a} {drink} with {addon}. Is that correct?",
    "We have {drink}; would you like {addon} with it?",
    "Pronto! Your {drink} will be ready in {minutes} minutes ☕",
    "Sorry, we are out of {addon}. Anything else?",
)
_CALLS = ("get_menu_items", "add_order_item", "get_order_details", "get_addons", "finish_order", "update_order")


def generate(seed: int) -> Iterator[Dialogue]:
    """Make up dialogues without end: of the real ones' length, with as many calls, each with an id of its own."""
    rng = Random(seed)
    while True:
        exchanges = rng.choices((1, 2, 3, 4), (15, 60, 20, 5))[0]
        turns = [turn for _ in range(exchanges) for turn in _exchange(rng)]
        yield {
            "conversation_id": f"made-{UUID(int=rng.getrandbits(128), version=4)}",
            "vertical": "Coffee",
            "scenario": f"Made-up {rng.choice(_DRINKS)} {rng.randint(1, 99)}",
            "turns": turns,
        }


def _exchange(rng: Random) -> Iterator[Turn]:
    wish: Turn = {"speaker": "user", "text": _say(rng, _WISHES)}
    calls = rng.choices((0, 1, 2, 3, 4), (10, 35, 25, 20, 10))[0]
    if calls:
        wish["api"] = [_call(rng) for _ in range(calls)]
    yield wish
    yield {"speaker": "assistant", "text": _say(rng, _REPLIES)}


def _say(rng: Random, phrases: tuple[str, ...]) -> str:
    words = {"drink": rng.choice(_DRINKS), "addon": rng.choice(_ADDONS), "name": rng.choice(_NAMES)}
    return rng.choice(phrases).format(a="one", minutes=rng.randint(2, 15), **words)


def _call(rng: Random) -> Call:
    item = {
        "menu_item_id": f"{rng.choice(_DRINKS).split()[0]}-{rng.randint(1000, 9999)}",
        "quantity": str(rng.randint(1, 4)),
    }
    return {"call": rng.choice(_CALLS), "args": item}
