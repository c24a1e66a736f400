"""Kinds of death: what letters that died alike have in common, and the fingerprint that names it."""

import re
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2s
from typing import Any, Self

import orjson

LONGEST_EVENT = 200
"""Characters of an event's name that are kept; its group is that of the whole name."""
LONGEST_ANSWER = 200
"""Characters of a normalised answer."""

DEEPEST = 50
"""Levels of an answer's JSON whose texts are told; an answer is somebody else's, and may be nested a thousand deep."""

_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'|`[^`]*`|“[^”]*”")
_WORD = re.compile(r"\S+")
_VALUE = re.compile(r"[\w.:+-]+")
_DIGIT = re.compile(r"\d")
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Kind:
    """What letters of one group have in common; stored as JSON."""

    fingerprint: str
    reason: str
    status: int | None = None
    type: str | None = None
    event: str | None = None
    """The start of the event's name."""
    answer: str | None = None
    """Of Segment's answer what is not about one event alone: without numbers, ids and quoted values."""
    stuck: bool = False
    """Whether they hold no event that could be sent again as it is."""
    other: bool = False
    """Whether it holds what died of its reason when there were too many groups: of any event and answer."""

    def dump(self) -> bytes:
        """The JSON that `parse` reads."""
        return orjson.dumps(self)

    @classmethod
    def parse(cls, stored: bytes) -> Self:
        """Read what `dump` wrote, or `lettertable.lua` for what is other."""
        told = orjson.loads(stored)
        return cls(**{name: told[name] for name in cls.__slots__ if name in told})

    def may_be(self, event: str) -> bool | None:
        """Whether its letters are of events of that name; None: some, perhaps."""
        if self.other:
            return None
        if self.event is not None and len(self.event) == LONGEST_EVENT and event.startswith(self.event):
            return None
        return event == self.event


UNREADABLE = Kind("unreadable", "unreadable", stuck=True)
"""Of letters that another version of pombo wrote."""


@lru_cache(512)
def kind_of(
    reason: str, status: int | None, *, type_: str | None, event: str | None, answer: str | None, stuck: bool
) -> Kind:
    """The kind of a letter by what it says of itself; its fingerprint has 12 hexadecimal digits."""
    normal = None if answer is None else normalised(answer)
    known = orjson.dumps([reason, status, _sound(type_), _sound(event), normal, stuck])
    return Kind(
        blake2s(known, digest_size=6).hexdigest(), reason, status, _cut(type_), _cut(event), normal, stuck,
    )  # fmt: skip


@lru_cache(256)
def normalised(answer: str) -> str:
    """An answer without what differs from event to event; of JSON, its members' texts without the punctuation."""
    try:
        text = " ".join(_texts(orjson.loads(answer)))
    except orjson.JSONDecodeError:
        text = answer
    # Word by word, so that a long one without a digit is looked at once, and not from each of its characters on.
    text = _WORD.sub(lambda word: "#" if "@" in word[0] else word[0], _QUOTED.sub("…", text))
    text = _VALUE.sub(lambda value: "#" if _DIGIT.search(value[0]) else value[0], text)
    return (_sound(_SPACE.sub(" ", text)) or "")[:LONGEST_ANSWER].strip()


def _texts(value: Any, left: int = DEEPEST) -> list[str]:
    if isinstance(value, dict | list) and not left:
        return ["…"]
    if isinstance(value, dict):
        found = [(f"{key}:", *_texts(member, left - 1)) for key, member in value.items()]
        return [text for texts in found for text in texts]
    if isinstance(value, list):
        return [text for member in value for text in _texts(member, left - 1)]
    return [value if isinstance(value, str) else orjson.dumps(value).decode()]


def _cut(text: str | None) -> str | None:
    return None if text is None else (_sound(text) or "")[:LONGEST_EVENT]


def _sound(text: str | None) -> str | None:
    """Text that JSON can carry."""
    return None if text is None else text.encode("utf-8", "replace").decode()
