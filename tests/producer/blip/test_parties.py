from dataclasses import replace
from typing import Any

import pytest

from pombo.producer.adapted import UnknownItem
from pombo.producer.blip import adapt, explain
from producer.blip.items import HASHED, OPTIONS, event, one

CUSTOMER, BOT = "5511987654321@wa.gw.msging.net", "mybot@msging.net"
GUID = "ecb99cf5-fb5c-4376-8acd-4b478091de15@tunnel.msging.net"
AGENT = "ana%40example.com@blip.ai"


def message(sender: str | None, receiver: str | None, **fields: Any) -> dict[str, Any]:
    """A text between two addresses."""
    ends = {"from": sender, "to": receiver}
    return {"id": "1", "type": "text/plain", "content": "oi", **ends, **fields}


@pytest.mark.parametrize(
    ("sender", "receiver", "direction"),
    [
        (CUSTOMER, BOT, "inbound"),
        (BOT, CUSTOMER, "outbound"),
        (CUSTOMER, None, "inbound"),
        (None, CUSTOMER, "outbound"),
        (None, BOT, "inbound"),
        (BOT, None, "outbound"),
        (GUID, BOT, "inbound"),
        (BOT, GUID, "outbound"),
        (AGENT, CUSTOMER, "outbound"),
        (CUSTOMER, AGENT, "inbound"),
        ("1@channel.example", BOT, "inbound"),
        (BOT, "1@channel.example", "outbound"),
        (CUSTOMER, "1@channel.example", "inbound"),
    ],
)
def test_direction(sender: str | None, receiver: str | None, direction: str) -> None:
    """The customer's end tells which way a message went, also on a channel that nobody has documented."""
    assert direction == event(message(sender, receiver))["properties"]["direction"]


@pytest.mark.parametrize(
    ("sender", "receiver"),
    [
        (BOT, "other@msging.net"),
        (BOT, AGENT),
        (AGENT, BOT),
        ("postmaster@msging.net", CUSTOMER),
        (BOT, "list@broadcast.msging.net"),
        ("1@desk.msging.net/Webhook", BOT),
        (BOT, "1@desk.msging.net"),
        ("operator@tunnel.msging.net/1%40wa.gw.msging.net", BOT),
        (BOT, "operator@tunnel.msging.net/1%40wa.gw.msging.net"),
    ],
)
def test_what_the_customer_takes_no_part_in(sender: str, receiver: str) -> None:
    """Messages among bots, agents and Blip's own parts make no event."""
    assert [] == adapt(message(sender, receiver), OPTIONS)


@pytest.mark.parametrize(
    ("sender", "receiver", "field"),
    [
        (None, None, "from"),
        (CUSTOMER, CUSTOMER, "from"),
        ("1@a.example", "2@b.example", "from"),
        ("nobody", BOT, "from"),
        (CUSTOMER, "@msging.net", "to"),
        (5, BOT, "from"),
    ],
)
def test_ends_that_tell_nothing(sender: Any, receiver: Any, field: str) -> None:
    """Where nobody knows the customer, or an address is none, the item is unknown, and the field is named."""
    with pytest.raises(UnknownItem) as caught:
        adapt(message(sender, receiver), OPTIONS)
    assert field == caught.value.field
    assert CUSTOMER not in caught.value.message


@pytest.mark.parametrize(
    ("stated", "expected"),
    [("received", "Message Received"), ("sent", "Message Sent"), ("Received", "Message Received")],
)
def test_a_stated_direction_counts_first(stated: str, expected: str) -> None:
    """Thread items say their direction themselves, and need no addresses."""
    assert expected == event(message(None, None, direction=stated))["event"]
    assert expected == event(message(CUSTOMER, "other@channel.example", direction=stated))["event"]


@pytest.mark.parametrize(
    ("perspective", "names"),
    [("bot", ("Message Received", "Message Sent")), ("customer", ("Message Sent", "Message Received"))],
)
def test_perspective(perspective: Any, names: tuple[str, str]) -> None:
    """Names change with the perspective, direction and role do not."""
    options = replace(OPTIONS, perspective=perspective)
    inbound, outbound = event(message(CUSTOMER, BOT), options), event(message(BOT, CUSTOMER), options)
    assert names == (inbound["event"], outbound["event"])
    assert ("inbound", "customer") == (inbound["properties"]["direction"], inbound["properties"]["role"])
    assert ("outbound", "bot") == (outbound["properties"]["direction"], outbound["properties"]["role"])


@pytest.mark.parametrize(
    ("sender", "metadata", "role"),
    [
        (BOT, {}, "bot"),
        (BOT, {"#messageEmitter": "Bot", "#message.agentIdentity": AGENT}, "bot"),
        (BOT, {"#messageEmitter": "Human"}, "human_agent"),
        (BOT, {"#message.agentIdentity": AGENT}, "human_agent"),
        (BOT, {"#messageEmitter": None}, "bot"),
        (AGENT, {}, "human_agent"),
    ],
)
def test_who_speaks_for_the_company(sender: str, metadata: dict[str, Any], role: str) -> None:
    """An agent is told from the bot by what Blip notes, or by the address."""
    assert role == event(message(sender, CUSTOMER, metadata=metadata))["properties"]["role"]


def test_an_agent_is_a_reference() -> None:
    """An agent's e-mail address is nowhere; the same agent has the same reference, however it is spelled."""
    first, second = (
        event(message(BOT, CUSTOMER, metadata={"#message.agentIdentity": identity}))
        for identity in (AGENT, "ANA%40example.com@blip.ai/desk")
    )
    assert "ana" not in repr(first).lower()
    assert first["properties"]["agent_ref"] == second["properties"]["agent_ref"]


@pytest.mark.parametrize("options", [OPTIONS, HASHED])
def test_a_tunnel_tells_its_customer(options: Any) -> None:
    """A subbot's copy has the customer's own userId and conversation, where Blip tells whose they are."""
    router = one(message(CUSTOMER, "router@msging.net"), options)
    copy = message(GUID, "sub@msging.net", id="fwd:1", metadata={"#tunnel.originator": f"{CUSTOMER}/x"})
    subbot = one(copy, options)
    assert (router.event["userId"], router.ordering_key) == (subbot.event["userId"], subbot.ordering_key)
    assert router.event["messageId"] != subbot.event["messageId"]
    assert router.event["properties"]["message_ref"] == subbot.event["properties"]["message_ref"]
    assert ("whatsapp", True) == (subbot.event["properties"]["channel"], subbot.event["properties"]["tunnel"])
    assert GUID not in repr(subbot) or options is OPTIONS


def test_a_tunnel_that_tells_nothing_masks_its_customer() -> None:
    """Without the originator the tunnel's own identity is the userId."""
    assert GUID == event(message(GUID, BOT))["userId"]


def test_copies_of_other_bots_can_be_left_out() -> None:
    """A source that names its bots takes their messages, events and tickets alone: one copy of each."""
    options = replace(OPTIONS, bots=frozenset({"router@msging.net"}), tickets=True)
    mine = message(CUSTOMER, "Router@msging.net/x")
    theirs = message(GUID, "sub@msging.net")
    track = {"category": "c", "action": "a", "ownerIdentity": "sub@msging.net"}
    ticket = {"id": "t", "customerIdentity": CUSTOMER, "ownerIdentity": "sub@msging.net"}
    assert 1 == len(adapt(mine, options))
    for other in (theirs, track, ticket):
        assert "another bot's" in str(explain(other, options).reason)
        assert 1 == len(adapt({**other, "to": "router@msging.net", "ownerIdentity": "router@msging.net"}, options))
