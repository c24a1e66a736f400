from typing import Any

import pytest

from pombo.producer.adapted import UnknownItem
from pombo.producer.blip import Kind, adapt
from pombo.producer.blip.identities import reference
from producer.blip.items import HASHED, MADE_TRACK, OPTIONS, event, one, properties

TRACK = {"category": "payments", "action": "done"}


@pytest.mark.parametrize(
    ("fields", "user_id"),
    [
        ({"contact": {"Identity": "1@0mn.io/x"}}, "1@0mn.io"),
        ({"contact": {"identity": "1@0mn.io"}}, "1@0mn.io"),
        ({"identity": "1@0mn.io"}, "1@0mn.io"),
        ({"contact": {"Identity": "1@0mn.io"}, "identity": "2@0mn.io"}, "1@0mn.io"),
        ({"contact": {"Identity": ""}, "identity": "2@0mn.io"}, "2@0mn.io"),
        ({"contact": None}, None),
        ({}, None),
    ],
)
def test_whose_event_it_is(fields: dict[str, Any], user_id: str | None) -> None:
    """The contact's identity, in either spelling, then the older field; or nobody's."""
    made = event({**TRACK, **fields})
    assert user_id == made.get("userId")
    assert (user_id is None) == ("anonymousId" in made)


def test_both_spellings_in_any_order() -> None:
    """Where a contact has both spellings, the webhook's counts, whatever their order."""
    both = {"Identity": "1@0mn.io", "identity": "2@0mn.io"}
    for contact in (both, dict(reversed(both.items()))):
        assert "1@0mn.io" == event({**TRACK, "contact": contact})["userId"]


def test_an_event_without_identity_has_a_stable_anonymous_id() -> None:
    """It is that of the message that caused it, the item's own otherwise, and it keeps the order."""
    first, second = (one({**TRACK, "messageId": "m1", "action": action}) for action in ("a", "b"))
    third, fourth = (one({**TRACK, "extras": {"#messageId": "m2"}, "action": action}) for action in ("a", "b"))
    alone, other = one(TRACK), one({**TRACK, "label": "x"})
    ids = [made.event["anonymousId"] for made in (first, second, third, fourth, alone, other)]
    assert (ids[0], ids[2]) == (ids[1], ids[3])
    assert 4 == len(set(ids))
    assert ids == [made.ordering_key for made in (first, second, third, fourth, alone, other)]
    assert alone == one(dict(TRACK))


def test_an_event_is_in_its_customers_conversation() -> None:
    """Events keep their order with the messages of the same customer."""
    message = {"id": "1", "from": "1@0mn.io", "to": "b@msging.net", "type": "text/plain", "content": "oi"}
    assert one(message).ordering_key == one({**TRACK, "identity": "1@0mn.io"}).ordering_key


def test_one_message_may_cause_several_events() -> None:
    """Events of one message are told apart by what they say."""
    actions = {event({**MADE_TRACK, "action": f"block {n}"})["messageId"] for n in range(5)}
    assert 5 == len(actions)


def test_notes_become_properties_and_ids_references() -> None:
    """Blip's notes among the extras have properties of their own, which refer to the message."""
    told = properties(MADE_TRACK)
    assert reference(OPTIONS, MADE_TRACK["messageId"]) == told["message_ref"] == told["input_ref"]
    assert {"stateId": "onboarding"} == told["extras"]


@pytest.mark.parametrize(
    "name",
    [
        "cpf", "CPF", "C.P.F.", "taxDocument", "Tax_Document", "senha", "Access Token", "CNPJ", "documento", "Cartão",
        "cpfCliente", "clienteCPF", "CPF do cliente", "cliente.cpf", "cpf_cnpj", "numero_cartao", "RGNumero", "cpf 2",
        "refreshToken",
    ],
)  # fmt: skip
def test_documents_and_secrets_stay_behind(name: str) -> None:
    """An extra that its name calls a document or a secret is not told, however the name is written and nested."""
    extras = {name: "529.982.247-25", "plan": "gold", "data": {name: "529.982.247-25", "list": [{name: "1", "x": 1}]}}
    told = {"plan": "gold", "data": {"list": [{"x": 1}]}}
    assert told == properties({**TRACK, "extras": extras})["extras"]


@pytest.mark.parametrize("name", ["cupom", "argentina", "card_type", "cargo", "energy", "organization", "RgbColor"])
def test_other_names_are_told(name: str) -> None:
    """A name that only holds the letters of such a word is told."""
    assert {name: "x"} == properties({**TRACK, "extras": {name: "x"}})["extras"]


def test_values_stay_what_they_are() -> None:
    """Numbers stay numbers."""
    told = properties({**TRACK, "value": 12.5, "count": 3, "label": "x"})
    assert (12.5, 3, "x") == (told["value"], told["count"], told["label"])


def test_a_hashed_identity_is_not_repeated() -> None:
    """With `hmac`, a number that the bot repeats in an extra gives way to the userId."""
    made = event({**MADE_TRACK, "extras": {"phone": "+5511987654321"}}, HASHED)
    assert {"phone": f"+{made['userId']}"} == made["properties"]["extras"]


@pytest.mark.parametrize(
    ("item", "field"),
    [
        ({"category": "c"}, "action"),
        ({"category": 5, "action": "a"}, "category"),
        ({**TRACK, "extras": "x"}, "extras"),
        ({**TRACK, "contact": "x"}, "contact"),
        ({**TRACK, "contact": {"Identity": 5}}, "contact.Identity"),
        ({**TRACK, "identity": 5}, "identity"),
        ({**TRACK, "messageId": 5}, "messageId"),
        ({**TRACK, "extras": {"x": "y" * 33_000}}, "extras"),
    ],
)
def test_malformed_events(item: dict[str, Any], field: str) -> None:
    """What Blip does not send is unknown, and the field is named."""
    with pytest.raises(UnknownItem) as caught:
        adapt(item, OPTIONS)
    assert field == caught.value.field


def test_the_kind_of_the_url_counts() -> None:
    """At the URL for events, what has no category is no event."""
    with pytest.raises(UnknownItem) as caught:
        adapt({"identity": "1@0mn.io", "lastMessageDate": None}, OPTIONS, kind=Kind.EVENTS)
    assert "category" == caught.value.field
