"""Blocks as exported flows hold them, and what refuses."""

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import pytest

from pombo.shared.errors import InvalidEvent

TRACK: dict[str, Any] = {
    "id": "blk_track",
    "type": "segment",
    "outgoingEdgeId": "edge1",
    "options": {
        "credentialsId": "cred_1",
        "action": "Track",
        "eventName": "Plan Chosen",
        "userId": "{{User ID}}",
        "properties": [
            {"id": "p1", "key": "plan", "value": "{{Plan}}"},
            {"id": "p2", "key": "empty", "value": "{{Not Set}}"},
        ],
    },
}
IDENTIFY: dict[str, Any] = {
    "id": "blk_identify",
    "type": "segment",
    "options": {
        "credentialsId": "cred_1",
        "action": "Identify User",
        "userId": "{{User ID}}",
        "email": "{{Email}}",
        "traits": [{"id": "t1", "key": "name", "value": "{{Name}}"}],
    },
}
ALIAS: dict[str, Any] = {
    "id": "blk_alias",
    "type": "segment",
    "options": {
        "credentialsId": "cred_1",
        "action": "Alias",
        "userId": "{{User ID}}",
        "previousId": "{{Anonymous ID}}",
    },
}
PAGE: dict[str, Any] = {
    "id": "blk_page",
    "type": "segment",
    "options": {
        "credentialsId": "cred_1",
        "action": "Page",
        "userId": "{{User ID}}",
        "name": "Checkout",
        "category": "Bot",
        "properties": [],
    },
}
KNOWN = {"User ID": "u1", "Plan": "Gold", "Email": "maria@example.com", "Name": "Maria", "Anonymous ID": "a1"}
CONTEXT = {"integration": {"name": "quickbot", "version": version("pombo")}}


def with_options(block: dict[str, Any], **options: Any) -> dict[str, Any]:
    """The block with other options; None takes one out."""
    merged = {**block["options"], **options}
    return {**block, "options": {name: value for name, value in merged.items() if value is not None}}


def refused(act: Callable[[], object]) -> tuple[str, str]:
    """Field and code with which something is refused, in a message of one line."""
    with pytest.raises(InvalidEvent) as caught:
        act()
    assert len(caught.value.message) > 10
    assert "\n" not in caught.value.message
    return caught.value.field, caught.value.code
