from typing import Any

import pytest

from pombo.producer.adapted import UnknownItem
from pombo.producer.blip import Kind, adapt
from producer.blip.items import DOCS_ACCOUNT, HASHED, MADE_CONTACT, OPTIONS, event, one

CONTACT = {"identity": "1@telegram.gw.msging.net", "lastMessageDate": None}


def traits(**fields: Any) -> dict[str, Any]:
    """The traits that these fields make, beside the channel."""
    found: dict[str, Any] = event({**CONTACT, **fields})["traits"]
    assert "telegram" == found.pop("channel")
    return found


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {}),
        ({"address": "Rua A, 1", "city": "Recife"}, {"address": {"street": "Rua A, 1", "city": "Recife"}}),
        ({"phoneNumber": "1", "cellPhoneNumber": "2"}, {"phone": "1"}),
        ({"phoneNumber": "", "cellPhoneNumber": "2"}, {"phone": "2"}),
        ({"PhoneNumber": "1", "NAME": "Ana"}, {"phone": "1", "name": "Ana"}),
        ({"photoUri": "http://p", "birthDate": "1990-01-01"}, {"avatar": "http://p", "birthday": "1990-01-01"}),
        ({"creationDate": "2020-01-01T00:00:00Z"}, {"createdAt": "2020-01-01T00:00:00Z"}),
        ({"timezone": -3, "culture": "pt-br"}, {"timezone": -3, "culture": "pt-br"}),
        ({"group": "testers", "source": "Telegram"}, {"group": "testers", "source": "Telegram"}),
        ({"taxDocument": "52998224725", "whatsAppWaId": "5511987654321", "isPending": True}, {}),
        ({"extras": {"plan": "Gold", "cpf": "52998224725", "#x": "y", "none": None}}, {"extras": {"plan": "Gold"}}),
        ({"name": {"odd": 1}, "email": ["x"]}, {}),
    ],
)
def test_traits(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    """Blip's fields become traits under Segment's names; documents, WhatsApp's ids and switches stay behind."""
    assert expected == traits(**fields)


def test_both_spellings_in_any_order() -> None:
    """Where a field comes in two spellings, the documented one counts, whatever their order."""
    both = {"Name": "Ana", "name": "Bia"}
    assert {"name": "Bia"} == traits(**both) == traits(**dict(reversed(both.items())))


def test_the_moment_is_the_last_message() -> None:
    """Contacts come out of order: the moment is the contact's own."""
    made = event({**CONTACT, "lastMessageDate": "2025-02-18T13:15:00Z"})
    assert "2025-02-18T13:15:00.000000Z" == made["timestamp"]
    assert "timestamp" not in event(CONTACT)


def test_any_change_is_another_event() -> None:
    """A contact is sent whole on each change, and each change counts; the same again does not."""
    ids = [event({**CONTACT, "name": name})["messageId"] for name in ("Ana", "Ana Maria", "Ana")]
    assert (ids[0], 2) == (ids[2], len(set(ids)))


def test_a_contact_without_identity_has_a_stable_anonymous_id() -> None:
    """E-mail address and phone number make it, so that it stays when something else of the contact changes."""
    nobody = {"lastMessageDate": None, "email": "ana@example.com"}
    first, second, other = (
        one(item) for item in (nobody, {**nobody, "name": "Ana"}, {**nobody, "email": "bia@example.com"})
    )
    assert first.event["anonymousId"] == second.event["anonymousId"] == second.ordering_key
    assert first.event["anonymousId"] != other.event["anonymousId"]
    assert "ana" not in first.event["anonymousId"]


def test_a_hashed_identity_stands_beside_no_number() -> None:
    """With `hmac`, phone numbers are left out of the traits, and an e-mail address that is the identity too."""
    made = event(MADE_CONTACT, HASHED)
    by_mail = event({**CONTACT, "identity": "ana%40x.com@mailgun.gw.msging.net", "email": "ana@x.com"}, HASHED)
    assert made["userId"].startswith("blip_")
    assert ("maria@example.com", False) == (made["traits"]["email"], "phone" in made["traits"])
    assert {"channel": "email"} == by_mail["traits"]


def test_an_account_at_the_url_for_contacts() -> None:
    """WhatsApp's account document is a contact where the URL says so."""
    made = event(DOCS_ACCOUNT, kind=Kind.CONTACTS)
    assert ("5531988889999@wa.gw.msging.net", "John Doe") == (made["userId"], made["traits"]["name"])


@pytest.mark.parametrize(
    ("item", "field"),
    [
        ({"lastMessageDate": None}, "identity"),
        ({**CONTACT, "identity": 5}, "identity"),
        ({**CONTACT, "extras": []}, "extras"),
        ({**CONTACT, "extras": {"x": "y" * 33_000}}, "extras"),
    ],
)
def test_malformed_contacts(item: dict[str, Any], field: str) -> None:
    """What says nothing of anybody, or in another form, is unknown, and the field is named."""
    with pytest.raises(UnknownItem) as caught:
        adapt(item, OPTIONS)
    assert field == caught.value.field
