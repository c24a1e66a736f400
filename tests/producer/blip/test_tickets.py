from dataclasses import replace
from typing import Any

import pytest

from pombo.producer.adapted import UnknownItem
from pombo.producer.blip import Kind, adapt
from pombo.shared.prepared import MAX_BYTES
from producer.blip.items import ALL, OPTIONS, event, one

TICKET = {
    "id": "8d6f5f9e-0000-4000-8000-000000000001", "sequentialId": 42, "ownerIdentity": "mybot@msging.net",
    "customerIdentity": "5511987654321@wa.gw.msging.net", "customerDomain": "wa.gw.msging.net",
    "agentIdentity": "ana%40example.com@blip.ai", "status": "Open", "team": "Vendas", "tags": ["vip"],
    "storageDate": "2025-02-18T13:00:00Z", "openDate": "2025-02-18T13:05:00.5Z", "closed": False,
    "customerInput": {"type": "text/plain", "value": "quero falar com alguém"},
}  # fmt: skip


def message(ticket: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """The message in which a ticket comes."""
    about = {"id": f"Ticket:{ticket.get('id')}:Open", "from": "t@desk.msging.net/Webhook"}
    return {"type": "application/vnd.iris.ticket+json", "content": ticket, **about, **fields}


def test_tickets_are_left_out_unless_they_are_wanted() -> None:
    """A ticket is no message of anybody, so by default it makes no event."""
    assert [] == adapt(message(TICKET), OPTIONS)
    assert [] == adapt(TICKET, OPTIONS)


def test_a_ticket_is_an_event_of_its_customer() -> None:
    """It has the customer's userId and conversation, dates in one form, and agents as references."""
    made = one(message(TICKET), ALL)
    told = dict(made.event["properties"])
    told.pop("agent_ref")
    assert ("Ticket Updated", "5511987654321@wa.gw.msging.net", "2025-02-18T13:05:00.500000Z") == (
        made.event["event"], made.event["userId"], made.event["timestamp"],
    )  # fmt: skip
    assert {
        "ticket_id": TICKET["id"], "sequential_id": 42, "status": "Open", "team": "Vendas", "tags": ["vip"],
        "closed": False, "created_at": "2025-02-18T13:00:00.000000Z", "opened_at": "2025-02-18T13:05:00.500000Z",
        "bot": "mybot@msging.net", "channel": "whatsapp", "conversation": made.ordering_key,
        "customer_input": "quero falar com alguém",
    } == told  # fmt: skip
    assert "ana" not in repr(made)


def test_a_ticket_as_an_item_of_its_own() -> None:
    """A ticket that comes outside a message is recognised by its customer."""
    assert "Ticket Updated" == event(TICKET, ALL)["event"] == event(TICKET, ALL, Kind.TICKETS)["event"]


def test_each_state_is_an_event_and_a_copy_is_none() -> None:
    """Another status is another messageId, the same ticket again is the same one."""
    ids = [event(message({**TICKET, "status": status}), ALL)["messageId"] for status in ("Open", "Closed", "Open")]
    assert (ids[0], 2) == (ids[2], len(set(ids)))
    again = event(message(TICKET, **{"from": "T@desk.msging.net/another"}), ALL)
    assert ids[0] == again["messageId"] != event(message(TICKET, **{"from": "u@desk.msging.net"}), ALL)["messageId"]


def test_sensitive_input_is_in_no_hash() -> None:
    """What the customer said in confidence makes no difference to the messageId."""
    kind = "application/vnd.lime.sensitive+json"
    ids = {
        event(message({**TICKET, "customerInput": {"type": kind, "value": word}}), ALL)["messageId"]
        for word in ("s3cret", "another")
    }
    assert 1 == len(ids)


def test_what_the_customer_said_is_told_as_bodies_are() -> None:
    """The source's choice for bodies covers a ticket's text too, and its size never costs the event."""
    counted = event(message(TICKET), replace(ALL, bodies="length"))["properties"]
    dropped = event(message(TICKET), replace(ALL, bodies="drop"))["properties"]
    long = {**TICKET, "customerInput": {"type": "text/plain", "value": "x" * MAX_BYTES}}
    cut = event(message(long), ALL)["properties"]
    secret = {"type": "application/vnd.lime.sensitive+json", "value": "s3cret"}
    assert (22, False) == (counted["customer_input_length"], "customer_input" in counted)
    assert not {"customer_input", "customer_input_length"} & dropped.keys()
    assert (MAX_BYTES, "too_large") == (cut["customer_input_length"], cut["body_omitted"])
    assert "s3cret" not in repr(event(message({**TICKET, "customerInput": secret}), ALL))


def test_the_customers_domain_may_stand_apart() -> None:
    """An identity without domain gets that of `customerDomain`."""
    assert "1@wa.gw.msging.net" == event(message({**TICKET, "customerIdentity": "1"}), ALL)["userId"]


def test_a_ticket_without_customer_has_the_anonymous_id_of_its_ticket() -> None:
    """All states of a ticket whose customer nobody names belong together."""
    ticket = {name: value for name, value in TICKET.items() if not name.startswith("customer")}
    first, second = (event(message({**ticket, "status": status}), ALL) for status in ("Open", "Closed"))
    assert first["anonymousId"] == second["anonymousId"]


@pytest.mark.parametrize(
    ("ticket", "field"),
    [
        ({}, "content"),
        ("x", "content"),
        ({"status": "Open"}, "id"),
        ({**TICKET, "customerIdentity": 5}, "customerIdentity"),
    ],
)
def test_malformed_tickets(ticket: Any, field: str) -> None:
    """What is no ticket is unknown, also where tickets are left out."""
    item = {"type": "application/vnd.iris.ticket+json", "id": "1", "content": ticket}
    for options in (ALL, OPTIONS):
        with pytest.raises(UnknownItem) as caught:
            adapt(item, options)
        assert field == caught.value.field
