from typing import Any

import pytest

from pombo.producer.blip import explain
from pombo.producer.blip.identities import reference
from producer.blip.items import DOCS_BROADCAST_COPY, MADE_WHATSAPP, OPTIONS, event, properties

MESSAGE = {
    "id": "1", "from": "1@0mn.io/phone", "to": "b@msging.net/x", "type": "text/plain", "content": "oi",
    "metadata": {"#envelope.storageDate": "2025-02-18T13:16:02Z"},
}  # fmt: skip
SENSITIVE = {**MESSAGE, "type": "application/vnd.lime.sensitive+json", "content": {"value": "s3cret"}}


def message_id(**fields: Any) -> str:
    """The messageId of the message with these fields in the place of its own."""
    found: str = event({**MESSAGE, **fields})["messageId"]
    return found


@pytest.mark.parametrize(
    "fields",
    [
        {"id": "2"},
        {"id": "fwd:1"},
        {"from": "2@0mn.io"},
        {"to": "c@msging.net"},
        {"from": "b@msging.net", "to": "1@0mn.io"},
        {"type": "application/json"},
        {"content": "olá"},
        {"content": {"text": "oi"}},
    ],
)
def test_another_message(fields: dict[str, Any]) -> None:
    """Another id, end, type or content is another message."""
    assert message_id() != message_id(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"from": "1@0MN.io", "to": "B@msging.net"},
        {"metadata": {"#envelope.storageDate": "2025-02-18T13:16:03Z", "traceparent": "00-1"}},
        {"pp": "postmaster@msging.net"},
    ],
)
def test_the_same_message_again(fields: dict[str, Any]) -> None:
    """Instances, case, metadata and what else may differ when Blip sends a message again change nothing."""
    assert message_id() == message_id(**fields)


def test_copies_of_a_broadcast_are_told_apart() -> None:
    """Every customer of a broadcast gets a message of the same id, and each counts."""
    other = {**DOCS_BROADCAST_COPY, "to": "999@messenger.gw.msging.net"}
    assert event(DOCS_BROADCAST_COPY)["messageId"] != event(other)["messageId"]


def test_messages_without_id_are_told_apart_by_what_blip_notes() -> None:
    """Without an id, Blip's unique id tells messages apart, or else the metadata as a whole."""
    bare = {"id": None}
    unique = [message_id(**bare, metadata={"#uniqueId": name}) for name in ("a", "b", "a")]
    dated = [message_id(**bare, metadata={"date_created": name}) for name in ("1", "2", "1")]
    assert [(2, True), (2, True)] == [(len(set(ids)), ids[0] == ids[2]) for ids in (unique, dated)]


def test_sensitive_content_is_in_no_hash() -> None:
    """What is to be kept nowhere cannot be guessed from the messageId either."""
    other = {**SENSITIVE, "content": {"value": "another"}}
    assert event(SENSITIVE)["messageId"] == event(other)["messageId"]
    parts = [{"items": [{"type": SENSITIVE["type"], "value": word}, "x"]} for word in ("s3cret", "another")]
    assert message_id(content=parts[0]) == message_id(content=parts[1])


def test_a_reply_refers_to_what_it_answers() -> None:
    """Blip's own note of the answered message goes before WhatsApp's."""
    notes = {"#inReplyToId": "mine", "#wa.context.id": "theirs"}
    assert reference(OPTIONS, "mine") == properties({**MESSAGE, "metadata": notes})["in_reply_to_ref"]
    wamid = MADE_WHATSAPP["metadata"]["#wa.context.id"]
    assert reference(OPTIONS, wamid) == properties(MADE_WHATSAPP)["in_reply_to_ref"]


def test_a_bot_that_is_said_to_be_the_customer() -> None:
    """A stated direction that makes a bot the customer tells of bots among themselves."""
    among = {**MESSAGE, "direction": "received", "from": "a@msging.net"}
    assert str(explain(among, OPTIONS).reason).startswith("between bots")
