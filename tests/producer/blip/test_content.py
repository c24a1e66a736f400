from dataclasses import replace
from typing import Any

import orjson
import pytest

from pombo.producer.adapted import UnknownItem
from pombo.producer.blip import adapt
from pombo.producer.blip.content import length
from pombo.shared.prepared import MAX_BYTES
from producer.blip.items import ALL, DOCS_MEDIA, MADE_WHATSAPP, OPTIONS, properties

LIME = "application/vnd.lime."
DROP = replace(OPTIONS, bodies="drop")
SENSITIVE_PART = {"type": f"{LIME}sensitive+json", "value": {"type": "text/plain", "value": "s3cret"}}


def message(kind: str, content: Any, **fields: Any) -> dict[str, Any]:
    """A customer's message."""
    return {"id": "1", "from": "1@0mn.io", "to": "b@msging.net", "type": kind, "content": content, **fields}


@pytest.mark.parametrize(
    ("content", "characters"),
    [
        ("olá", 3),
        ("", 0),
        (None, 0),
        (5, 0),
        ({"text": "ab", "options": [{"text": "cde", "order": 1}, {"text": "f"}]}, 6),
        ({"title": "ab", "uri": "http://x/long", "type": "image/png", "text": "c"}, 3),
        ({"itemType": "text/plain", "items": ["ab", "cd"]}, 4),
        ({"items": [{"type": "text/plain", "value": "ab"}, SENSITIVE_PART]}, 2),
        ({"replied": {"type": "text/plain", "value": "abc"}, "inReplyTo": {"id": "x", "value": "earlier"}}, 3),
    ],
)
def test_length_counts_what_is_said(content: Any, characters: int) -> None:
    """Addresses, types, quotes and sensitive parts are no text of the body."""
    assert characters == length(content)


def test_full_tells_the_text_as_it_is() -> None:
    """A text is `message_body`, the name in Segment's specification for chats."""
    told = properties(message("text/plain", "olá"), ALL)
    assert ("olá", False) == (told["message_body"], "body_length" in told)


def test_full_tells_structures_as_they_are() -> None:
    """What is no text is `content`, whole."""
    assert DOCS_MEDIA["content"] == properties(DOCS_MEDIA, ALL)["content"]


def test_full_tells_no_wamid_and_nothing_sensitive() -> None:
    """Ids that hold a phone number are replaced within a body too, and a sensitive part is cut out."""
    quoted = properties(MADE_WHATSAPP, ALL)["content"]["inReplyTo"]
    parts = properties(message(f"{LIME}collection+json", {"items": [SENSITIVE_PART, "b"]}), ALL)["content"]
    assert (True, "Quer o plano Gold?") == (quoted["id"].startswith("ref-"), quoted["value"])
    assert {"items": [{"type": f"{LIME}sensitive+json"}, "b"]} == parts


def test_drop_tells_nothing_of_the_body() -> None:
    """Neither text nor length; what kind of thing it was stays."""
    told = properties(DOCS_MEDIA, DROP)
    assert not {"message_body", "content", "body_length"} & told.keys()
    assert ("image/jpeg", 227791) == (told["media_type"], told["media_bytes"])


@pytest.mark.parametrize("bodies", ["full", "length", "drop"])
@pytest.mark.parametrize("kind", [f"{LIME}sensitive+json", f"{LIME}SENSITIVE+json; charset=utf-8"])
def test_a_sensitive_message_is_only_said_to_be_one(kind: str, bodies: Any) -> None:
    """Of a sensitive message not even the length is told, under no choice."""
    told = properties(message(kind, {"type": "text/plain", "value": "s3cret"}), replace(OPTIONS, bodies=bodies))
    assert told["sensitive"] is True
    assert not {"message_body", "content", "body_length"} & told.keys()


def test_a_body_too_large_for_segment_is_counted() -> None:
    """Under `full`, a body that Segment would refuse gives way to its length, so that the message still counts."""
    told = properties(message("text/plain", "x" * MAX_BYTES), ALL)
    assert (MAX_BYTES, "too_large", False) == (told["body_length"], told["body_omitted"], "message_body" in told)


def test_other_fields_too_large_are_unknown() -> None:
    """Where not the body is too large, nothing can give way: a dead letter keeps the item."""
    metadata = {"#stateName": "x" * MAX_BYTES}
    with pytest.raises(UnknownItem, match="bytes that Segment takes; shorten metadata") as caught:
        adapt(message("text/plain", "oi", metadata=metadata), ALL)
    assert "metadata" == caught.value.field


@pytest.mark.parametrize(
    ("item", "field"),
    [
        (message("text", "oi"), "type"),
        (message("", "oi"), "type"),
        ({**message("text/plain", "oi"), "metadata": []}, "metadata"),
        ({**message("text/plain", "oi"), "id": 5}, "id"),
        ({name: value for name, value in message("text/plain", "oi").items() if name != "content"}, "content"),
        ({**message("text/plain", "oi"), "type": 5}, "type"),
    ],
)
def test_malformed_messages(item: dict[str, Any], field: str) -> None:
    """What is no LIME message is unknown, and the field is named."""
    with pytest.raises(UnknownItem) as caught:
        adapt(item, OPTIONS)
    assert field == caught.value.field


@pytest.mark.parametrize(
    ("value", "field"),
    [(float("nan"), "content.a"), (2**70, "content.a"), (b"x", "content.a"), ({1: 2}, "content.a")],
)
def test_what_json_cannot_carry_is_unknown(value: Any, field: str) -> None:
    """A Python caller's odd values are named by their path, before anything is made of them."""
    with pytest.raises(UnknownItem) as caught:
        adapt(message("application/json", {"a": value}), OPTIONS)
    assert field == caught.value.field


def test_json_that_is_parsed_is_never_odd() -> None:
    """What a JSON parser gives is taken: huge numbers, half emojis, empty keys."""
    content = orjson.loads('{"": 1e300, "big": 18446744073709551615, "text": "\\ud83d\\ude00"}')
    assert content == properties(message("application/json", content), ALL)["content"]
    assert "\ufffd" == properties(message("text/plain", "\ud83d"), ALL)["message_body"]
