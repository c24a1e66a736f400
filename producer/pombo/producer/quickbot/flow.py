"""Flows: the Segment blocks, conditions and variables of an exported bot."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pombo.producer.quickbot.variables import Variables
from pombo.shared.errors import InvalidEvent

_WRAPPERS = ("bot", "typebot", "publicTypebot", "publicBot")
"""Keys under which the platforms' APIs put a flow."""


class Place(NamedTuple):
    """A block as it is in the flow, and the title of the group that holds it."""

    group: str
    block: Mapping[str, Any]

    @property
    def id(self) -> str:
        """The block's id; empty if it has none."""
        found = self.block.get("id")
        return found if isinstance(found, str) else ""

    @property
    def kind(self) -> str:
        """The block's type, in small letters."""
        found = self.block.get("type")
        return found.casefold() if isinstance(found, str) else ""


class Flow:
    """An exported bot: a file of the editor's, an answer of the API, or a block or list of blocks alone.

    Raises:
        InvalidEvent: it is none of these.
    """

    def __init__(self, document: object) -> None:
        flow = _unwrapped(document)
        self.places = tuple(_places(flow))
        self.variables = Variables.read(flow.get("variables") or ())

    def segment_blocks(self) -> list[Place]:
        """Every Segment block, in the flow's order."""
        return [place for place in self.places if place.kind == "segment"]

    def conditions(self) -> list[tuple[Place, Mapping[str, Any]]]:
        """Every item of every Condition block."""
        blocks = [place for place in self.places if place.kind == "condition"]
        return [(place, item) for place in blocks for item in _mappings(place.block.get("items"))]


def _unwrapped(document: object) -> Mapping[str, Any]:
    if isinstance(document, list):
        return {"groups": [{"blocks": document}]}
    if isinstance(document, Mapping):
        document = next((document[one] for one in _WRAPPERS if isinstance(document.get(one), Mapping)), document)
        if isinstance(document.get("groups"), list):
            return document
        if isinstance(document.get("type"), str) and "options" in document:
            return {"groups": [{"blocks": [document]}]}
    remedy = "export it in the editor, or take the answer of the API"
    raise InvalidEvent("groups", "no_flow", f"this is no exported flow, it has no groups of blocks; {remedy}")


def _places(flow: Mapping[str, Any]) -> Iterator[Place]:
    for group in _mappings(flow.get("groups")):
        title = group.get("title")
        for block in _mappings(group.get("blocks")):
            yield Place(title if isinstance(title, str) else "", block)


def _mappings(given: object) -> list[Mapping[str, Any]]:
    return [one for one in given if isinstance(one, Mapping)] if isinstance(given, list) else []
