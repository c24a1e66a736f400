from typing import Any

import pytest

from pombo.producer.quickbot import Flow
from producer.quickbot.samples import ALIAS, TRACK, refused

CONDITION = {"id": "cond", "type": "Condition", "items": [{"id": "i1", "content": {"comparisons": []}}, "junk"]}
FLOW: dict[str, Any] = {
    "version": "6.1",
    "events": [{"id": "e", "type": "start"}],
    "groups": [
        {"id": "g1", "title": "Welcome", "blocks": [{"id": "t", "type": "text"}, TRACK, CONDITION, None]},
        {"id": "g2", "blocks": [{**ALIAS, "type": "Segment"}]},
        {"id": "g3"},
    ],
    "variables": [{"id": "v1", "name": "Plan", "value": "Free"}],
}


@pytest.mark.parametrize("document", [FLOW, {"bot": FLOW}, {"typebot": FLOW, "currentUserMode": "write"}])
def test_an_exported_flow(document: dict[str, Any]) -> None:
    """Blocks are found in their groups, in a file of the editor and in an answer of the API."""
    flow = Flow(document)
    assert [("Welcome", "blk_track"), ("", "blk_alias")] == [(one.group, one.id) for one in flow.segment_blocks()]
    assert [("cond", "i1")] == [(place.id, item["id"]) for place, item in flow.conditions()]
    assert "Free" == flow.variables.value("Plan")


@pytest.mark.parametrize("document", [TRACK, [TRACK], [None, TRACK]])
def test_blocks_alone(document: Any) -> None:
    """A block, or a list of them, needs no flow around it."""
    assert ["blk_track"] == [one.id for one in Flow(document).segment_blocks()]


@pytest.mark.parametrize("document", [None, 5, "x", {}, {"groups": 5}, {"type": "segment"}, {"bot": []}])
def test_what_is_no_flow(document: Any) -> None:
    """Anything else is refused with what to do."""
    assert ("groups", "no_flow") == refused(lambda: Flow(document))


def test_odd_ids() -> None:
    """A block whose id or type is no text is passed over or shown without it, not tripped over."""
    flow = Flow({"groups": [{"title": 5, "blocks": [{"id": 5, "type": "segment"}, {"type": []}]}]})
    assert [("", "")] == [(one.group, one.id) for one in flow.segment_blocks()]
