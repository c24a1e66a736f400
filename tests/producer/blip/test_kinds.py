from typing import Any

import pytest

from pombo.producer.adapted import UnknownItem
from pombo.producer.blip import BlipOptions, Kind, adapt, explain
from pombo.shared.sources import Source
from producer.blip.items import ALL, DOCS_RECEIVED, OPTIONS

MESSAGE = {"id": "1", "from": "1@0mn.io", "to": "b@msging.net", "type": "text/plain", "content": "oi"}


@pytest.mark.parametrize(
    ("item", "kind"),
    [
        (MESSAGE, Kind.MESSAGES),
        ({**MESSAGE, "content": {"category": "x", "lastMessageDate": "y"}}, Kind.MESSAGES),
        ({**MESSAGE, "category": "x"}, Kind.MESSAGES),
        ({"category": "c", "action": "a", "lastMessageDate": "x"}, Kind.EVENTS),
        ({"category": "c", "action": "a", "type": None}, Kind.EVENTS),
        ({"identity": "1@0mn.io", "lastMessageDate": "x"}, Kind.CONTACTS),
        ({"identity": "1@0mn.io", "lastMessageDate": None, "category": None}, Kind.CONTACTS),
        ({"id": "t", "customerIdentity": "1@0mn.io"}, Kind.TICKETS),
        (DOCS_RECEIVED, None),
    ],
)
def test_an_item_gives_its_kind_away(item: dict[str, Any], kind: Kind | None) -> None:
    """Top-level keys tell, in Blip's own order; what is inside the content tells nothing."""
    assert kind == explain(item, ALL).kind


@pytest.mark.parametrize("item", [{}, {"hello": 1}, {"identity": "1@0mn.io"}, {"type": None}, [], None, "x", 5])
def test_what_nothing_gives_away(item: Any) -> None:
    """Everything else is unknown, with what to do about it."""
    with pytest.raises(UnknownItem, match=r"point Blip's webhook here|send one item a request"):
        adapt(item, OPTIONS)


@pytest.mark.parametrize("kind", [None, *Kind])
def test_notifications_make_no_event_at_any_url(kind: Kind | None) -> None:
    """What became of a message is no message, wherever Blip sends it."""
    assert [] == adapt(DOCS_RECEIVED, OPTIONS, kind=kind)


def test_kinds_are_the_words_of_the_urls() -> None:
    """A kind is a text, and can be made of the URL's word."""
    assert Kind.MESSAGES is Kind("messages")
    assert ["messages", "events", "contacts", "tickets"] == [*Kind]


def test_options_come_from_the_source() -> None:
    """Every choice of a source is one of its adapter's."""
    source = Source(
        name="bot", incarnation="i", message_bodies="drop", identity="hmac", perspective="customer", tickets=True,
        bots=("b@msging.net",),
    )  # fmt: skip
    expected = BlipOptions(b"k", "drop", "hmac", "customer", True, frozenset({"b@msging.net"}))
    assert expected == BlipOptions.of(source, b"k")


def test_options_do_not_show_their_key() -> None:
    """The key that hides people's ids is in no log."""
    assert "top" not in repr(BlipOptions(b"top secret"))
