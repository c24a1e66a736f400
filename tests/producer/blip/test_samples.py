"""Every item that Blip or somebody who receives them has shown, and what it becomes."""

from typing import Any

import pytest

from pombo.producer.adapted import UnknownItem
from pombo.producer.blip import adapt, explain
from producer.blip import items
from producer.blip.items import ALL, OPTIONS, Item, event

HASHES = {"conversation", "message_ref", "input_ref", "in_reply_to_ref", "agent_ref"}
TEXT = {"content_type": "text/plain"}
FROM_CUSTOMER = {"direction": "inbound", "role": "customer"}
FROM_BOT = {"direction": "outbound", "role": "bot"}


def told(item: Item) -> tuple[str, str | None, str | None, dict[str, Any], set[str]]:
    """Event, userId, timestamp, the properties, and which of them are hashes."""
    made = event(item)
    properties = made["properties"]
    plain = {name: value for name, value in properties.items() if name not in HASHES}
    return (made["event"], made.get("userId"), made.get("timestamp"), plain, HASHES & properties.keys())


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (
            items.DOCS_MESSAGE,
            ("Message Received", "551199991111@0mn.io", None,
             FROM_CUSTOMER | TEXT | {"channel": "blip_chat", "bot": "mycontact@msging.net", "body_length": 11},
             {"conversation", "message_ref"}),
        ),
        (
            items.MESSENGER_MESSAGE,
            ("Message Received", "182310923192@messenger.gw.msging.net", None,
             FROM_CUSTOMER | TEXT | {"channel": "messenger", "bot": "mychatbot@msging.net", "body_length": 12},
             {"conversation", "message_ref"}),
        ),
        (
            items.DOCS_WITH_INSTANCE,
            ("Message Received", "551100001111@0mn.io", None,
             FROM_CUSTOMER | TEXT
             | {"channel": "blip_chat", "bot": "blipmessaginghubapp@msging.net", "body_length": 4},
             {"conversation", "message_ref"}),
        ),
        (
            items.CHAT_MESSAGE,
            ("Message Received", "315644c5-3eba-4b5e-9516-6de9d4e333a6.myrouter@0mn.io", "2021-07-06T08:20:17.000000Z",
             FROM_CUSTOMER | TEXT | {"channel": "blip_chat", "bot": "myrouter@msging.net", "body_length": 6},
             {"conversation", "message_ref"}),
        ),
        (
            items.DOCS_MENU,
            ("Message Sent", "1042221589186385@messenger.gw.msging.net", None,
             FROM_BOT | {"channel": "messenger", "content_type": "application/vnd.lime.select+json",
                         "option_count": 3, "body_length": 16 + 12 + 13 + 12 + 6},
             {"conversation", "message_ref"}),
        ),
        (
            items.DOCS_MENU_ANSWER,
            ("Message Received", "1042221589186385@messenger.gw.msging.net", None,
             FROM_CUSTOMER | {"channel": "messenger", "bot": "blipcontact@msging.net",
                              "content_type": "application/json", "body_length": 6},
             {"conversation", "message_ref"}),
        ),
        (
            items.DOCS_MEDIA,
            ("Message Sent", "553199991111@0mn.io", None,
             FROM_BOT | {"channel": "blip_chat", "content_type": "application/vnd.lime.media-link+json",
                         "media_type": "image/jpeg", "media_bytes": 227791, "body_length": 3 + 28},
             {"conversation", "message_ref"}),
        ),
        (
            items.DOCS_SENSITIVE,
            ("Message Sent", "1334448251684655@messenger.gw.msging.net", None,
             FROM_BOT | {"channel": "messenger", "content_type": "application/vnd.lime.sensitive+json",
                         "sensitive": True},
             {"conversation", "message_ref"}),
        ),
        (
            items.DOCS_BROADCAST_COPY,
            ("Message Sent", "2624285677641447@messenger.gw.msging.net", "2019-11-26T18:21:27.000000Z",
             FROM_BOT | TEXT | {"channel": "messenger", "bot": "demobot@msging.net", "body_length": 7,
                                "message_kind": "Active", "message_purpose": "CONFIRMED_EVENT_REMINDER"},
             {"conversation", "message_ref"}),
        ),
        (
            items.DOCS_TRACK,
            ("Event Tracked", None, "2016-01-01T12:30:00.000000Z",
             {"category": "payments", "action": "success-order", "channel": "unknown",
              "extras": {"expiration": "2015-12-30", "customerId": "199213"}},
             set()),
        ),
        (
            items.DOCS_TO_SUBBOT,
            ("Message Received", "ecb99cf5-fb5c-4376-8acd-4b478091de15@tunnel.msging.net", None,
             FROM_CUSTOMER | TEXT
             | {"channel": "tunnel", "tunnel": True, "bot": "operator@msging.net", "body_length": 44},
             {"conversation", "message_ref"}),
        ),
        (
            items.THREAD_MESSAGE,
            ("Message Received", None, "2023-02-27T11:59:42.324000Z",
             FROM_CUSTOMER | TEXT | {"channel": "whatsapp", "body_length": 12}, {"conversation", "message_ref"}),
        ),
        (
            items.MADE_TRACK,
            ("Event Tracked", "5511987654321@wa.gw.msging.net", "2025-02-18T13:15:00.123000Z",
             {"category": "flow", "action": "2.0 - Boas Vindas", "channel": "whatsapp", "bot": "mybot@msging.net",
              "state_name": "2.0 - Boas Vindas", "state_id": "64a46c6a-0000-4000-8000-000000000001",
              "previous_state_name": "Início", "previous_state_id": "onboarding", "extras": {"stateId": "onboarding"}},
             {"conversation", "message_ref", "input_ref"}),
        ),
        (
            items.MADE_BY_AGENT,
            ("Message Sent", "5511987654321@wa.gw.msging.net", "2025-02-18T13:16:02.000000Z",
             TEXT | {"direction": "outbound", "role": "human_agent", "channel": "whatsapp", "bot": "mybot@msging.net",
                     "message_kind": "Response", "body_length": 29},
             {"conversation", "message_ref", "agent_ref"}),
        ),
        (
            items.MADE_WHATSAPP,
            ("Message Received", "5511987654321@wa.gw.msging.net", "2025-02-18T13:15:00.000000Z",
             FROM_CUSTOMER | {"channel": "whatsapp", "bot": "mybot@msging.net", "body_length": 10,
                              "content_type": "application/vnd.lime.reply+json"},
             {"conversation", "message_ref", "input_ref", "in_reply_to_ref"}),
        ),
    ],
)  # fmt: skip
def test_track_calls(item: Item, expected: tuple[Any, ...]) -> None:
    """A message or an event of Blip becomes this event, of this user, at this time, with these properties."""
    assert expected == told(item)


def test_contact() -> None:
    """A contact becomes an identify call with Segment's names for what Segment knows; a CPF stays behind."""
    made = event(items.MADE_CONTACT)
    assert ("identify", "5511987654321@wa.gw.msging.net", "2025-02-18T13:15:00.000000Z") == (
        made["type"], made["userId"], made["timestamp"],
    )  # fmt: skip
    assert {
        "name": "Maria Exemplo", "email": "maria@example.com", "phone": "+5511987654321", "gender": "female",
        "address": {"city": "São Paulo"}, "culture": "pt-br", "group": "clientes", "source": "WhatsApp",
        "last_message_at": "2025-02-18T13:15:00.000Z", "channel": "whatsapp", "extras": {"plan": "Gold"},
    } == made["traits"]  # fmt: skip


def test_ticket() -> None:
    """A ticket becomes `Ticket Updated` where the source wants it."""
    made = event(items.DOCS_TICKET, ALL)
    assert ("Ticket Updated", "{CUSTOMER_ID}@{customer_domain}", "2019-11-08T20:15:59.415000Z") == (
        made["event"], made["userId"], made["timestamp"],
    )  # fmt: skip
    del made["properties"]["conversation"]
    assert {
        "ticket_id": "{TICKET_ID}", "sequential_id": "{TICKET_SEQUENTIAL_ID}", "status": "Waiting",
        "provider": "Webhook", "rating": 0, "unread_messages": 0, "closed": False, "bot": "{BOT_ID}",
        "created_at": "2019-11-08T20:15:59.415000Z", "channel": "{customer_domain}", "customer_input": "Hello world!",
    } == made["properties"]  # fmt: skip


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (items.DOCS_CHAT_STATE, "a chat state"),
        (items.DOCS_RECEIVED, "a notification"),
        (items.DOCS_FAILED, "a notification"),
        (items.DOCS_DISPATCHED, "a notification"),
        (items.DOCS_BROADCAST, "Blip's own message"),
        (items.DOCS_BACK_TO_ROUTER, "Blip's own message"),
        (items.DOCS_TICKET, "a ticket, and the source leaves them out"),
    ],
)
def test_silent_items(item: Item, reason: str) -> None:
    """What nobody says makes no event, and the reason can be told."""
    assert [] == adapt(item, OPTIONS)
    assert str(explain(item, OPTIONS).reason).startswith(reason)


@pytest.mark.parametrize(
    ("item", "field", "words"),
    [
        (items.DOCS_TRACK_COMMAND, "method", "a LIME command"),
        (items.DOCS_CONTACT_COMMAND, "method", "a LIME command"),
        (items.DOCS_ACCOUNT, "", "use the URL of its kind"),
    ],
)
def test_items_of_other_places(item: Item, field: str, words: str) -> None:
    """What only Blip's API knows is no item of the webhook, and unknown."""
    with pytest.raises(UnknownItem, match=words) as caught:
        adapt(item, OPTIONS)
    assert field == caught.value.field


@pytest.mark.parametrize("item", items.ALL_ITEMS)
def test_every_event_names_its_integration(item: Item) -> None:
    """Segment asks partners to name themselves in `context.integration`."""
    for made in adapt(item, ALL):
        assert {"integration": {"name": "blip", "version": items.VERSION}} == made.event["context"]


@pytest.mark.parametrize("item", [item for item in items.ALL_ITEMS if "content" in item and "event" not in item])
def test_every_message_says_the_same_five_things(item: Item) -> None:
    """Whatever its type, a message says direction, role, channel, content type and conversation."""
    for made in adapt(item, OPTIONS):
        names = ("direction", "role", "channel", "content_type", "conversation")
        assert all(isinstance(made.event["properties"][name], str) for name in names)
        assert made.ordering_key == made.event["properties"]["conversation"]
