"""What holds for every item, generated from sound to hostile."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from pombo.ops.simulator.switches import Switches
from pombo.ops.simulator.validation import drop_code
from pombo.producer.adapted import Adapted, UnknownItem
from pombo.producer.blip import BlipOptions, Kind, adapt
from pombo.shared.prepared import prepare
from producer.blip.envelopes import (
    addresses,
    contacts,
    hostile,
    hostile_items,
    messages,
    phones,
    sound_items,
    spoiled_items,
    tracks,
)
from producer.blip.items import ALL, OPTIONS

NOW = datetime(2026, 1, 1, tzinfo=UTC)
profile = settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
choices = st.builds(
    BlipOptions,
    st.binary(min_size=1, max_size=40),
    bodies=st.sampled_from(["full", "length", "drop"]),
    identity=st.sampled_from(["raw", "hmac"]),
    perspective=st.sampled_from(["bot", "customer"]),
    tickets=st.booleans(),
    bots=st.just(()) | st.just(frozenset({"mybot@msging.net"})),
)


def tried(item: Any, options: BlipOptions = OPTIONS, kind: Kind | None = None) -> list[Adapted] | None:
    """What becomes of an item; None for an unknown one, and any other exception is a failure."""
    try:
        return adapt(item, options, kind=kind)
    except UnknownItem as unknown:
        return None if unknown.message else []


def shuffled(value: Any, draw: st.DataObject) -> Any:
    """The same value with the keys of its objects in another order."""
    if isinstance(value, dict):
        keys = draw.draw(st.permutations([*value]))
        return {key: shuffled(value[key], draw) for key in keys}
    return [shuffled(part, draw) for part in value] if isinstance(value, list) else value


@profile
@given(hostile | hostile_items | spoiled_items() | sound_items, choices, st.none() | st.sampled_from(Kind))
def test_nothing_is_raised_but_unknown_item_and_segment_would_drop_nothing(
    item: Any, options: BlipOptions, kind: Kind | None
) -> None:
    """Whatever comes, it is unknown or makes events that Segment keeps, and is not changed."""
    before = repr(item)
    for made in tried(item, options, kind) or ():
        prepared = prepare(made.event, now=NOW, ordering_key=made.ordering_key)
        assert made.event["messageId"] == prepared.message_id
        assert drop_code(orjson.loads(prepared.body), Switches()) is None
        assert made.ordering_key == prepared.ordering_key
    assert before == repr(item)


@profile
@given(tracks | contacts)
def test_sound_events_and_contacts_are_known(item: Any) -> None:
    """What Blip documents is never unknown."""
    assert 1 == len(adapt(item, OPTIONS))


@profile
@given(messages(), addresses(("wa.gw.msging.net", "0mn.io")))
def test_messages_between_a_customer_and_a_bot_are_known(message: Any, customer: str) -> None:
    """A message with a customer at one end and a bot at the other makes at most one event, and is never unknown."""
    assume(not customer.startswith("postmaster@"))
    assume(message["type"] != "application/vnd.iris.ticket+json")
    message.pop("direction", None)
    there, back = (adapt({**message, "from": a, "to": b}, OPTIONS) for a, b in _ways(customer))
    assert len(there) == len(back) <= 1
    names = [made.event["event"] for made in [*there, *back]]
    assert names in (["Message Received", "Message Sent"], [])


def _ways(customer: str) -> list[tuple[str, str]]:
    return [(customer, "mybot@msging.net"), ("mybot@msging.net", customer)]


@profile
@given(sound_items, st.data(), choices)
def test_ids_repeat(item: Any, data: st.DataObject, options: BlipOptions) -> None:
    """The same item in another order of keys makes the same event, ids included."""
    assert tried(item, options) == tried(shuffled(orjson.loads(orjson.dumps(item)), data), options)


@profile
@given(sound_items, sound_items)
def test_distinct_items_have_distinct_ids(one: Any, other: Any) -> None:
    """Two items that differ in what makes them what they are have different messageIds."""
    assume(_essence(one) != _essence(other))
    ids = [made.event["messageId"] for item in (one, other) for made in tried(item, ALL) or ()]
    assert len(ids) == len(set(ids))


@profile
@given(sound_items, st.data())
def test_a_change_of_what_matters_is_another_message(item: Any, data: st.DataObject) -> None:
    """Another id, end, type, content, category, extra or trait makes another messageId."""
    known = [name for name in item if name not in {"metadata", "pp", "content", "contact"}]
    name = data.draw(st.sampled_from(known))
    other = {**item, name: data.draw(st.text(min_size=1, max_size=10))}
    assume(_essence(item) != _essence(other))
    first, second = tried(item, ALL), tried(other, ALL)
    ids = [made.event["messageId"] for made in [*(first or ()), *(second or ())]]
    assert len(ids) == len(set(ids))


def _essence(item: Any) -> Any:
    """What tells an item from others, as the documentation has it, written down independently."""
    if "type" in item:
        ends = [str(item.get(end)).partition("/")[0].lower() for end in ("from", "to")]
        content = None if "sensitive" in item["type"] else item["content"]
        return orjson.dumps([item["id"], *ends, item["type"].lower(), content], option=orjson.OPT_SORT_KEYS)
    if "category" not in item:
        return orjson.dumps(item, option=orjson.OPT_SORT_KEYS)
    contact = item.get("contact", {})
    who = contact.get("Identity") or contact.get("identity") or item.get("identity") or ""
    told = {**item, "contact": None, "identity": str(who).partition("/")[0].lower()}
    told["ownerIdentity"] = str(item.get("ownerIdentity")).partition("/")[0].lower()
    return orjson.dumps({name: told[name] for name in told if told[name]}, option=orjson.OPT_SORT_KEYS)


@profile
@given(sound_items, st.binary(min_size=1, max_size=32), st.binary(min_size=1, max_size=32))
def test_sources_share_no_message_ids(item: Any, mine: bytes, yours: bytes) -> None:
    """Segment looks for repeated ids across sources, so each source's key makes its own."""
    assume(mine.rstrip(b"\0") != yours.rstrip(b"\0"))  # HMAC fills keys up with zeros.
    first, second = (tried(item, replace(ALL, key=key)) or [] for key in (mine, yours))
    assert not {made.event["messageId"] for made in first} & {made.event["messageId"] for made in second}


@profile
@given(
    phones,
    st.sampled_from(["wa.gw.msging.net", "0mn.io", "tangram.com.br"]),
    messages() | tracks | contacts,
    st.sampled_from(["full", "length", "drop"]),
)
def test_hashed_identities_give_no_number_away(phone: str, domain: str, item: Any, bodies: Any) -> None:
    """With `hmac`, a customer's number is nowhere in the event: not as userId, not in ids, extras, traits or bodies."""
    customer = f"{phone}@{domain}"
    wamid = "wamid." + _base64(b"\x1c\x18\x0d" + phone.encode() + b"\x15\x02\x00\x12\x18\x14ABC")
    spoken = f"meu número é {phone}, ou {phone[2:]}"
    if "category" in item:
        item |= {"contact": {"Identity": customer}, "messageId": wamid, "extras": {"fone": phone, "#messageId": wamid}}
        item["ownerIdentity"] = "mybot@msging.net"
    elif "type" in item:
        item |= {"id": wamid, "from": customer, "to": "mybot@msging.net", "type": "text/plain", "content": spoken}
        item["metadata"] = {
            "#wa.context.id": wamid,
            "#messageId": wamid,
            "#wa.context.from": phone,
            "#stateName": phone,
        }
    else:
        item |= {
            "identity": customer,
            "phoneNumber": f"+{phone}",
            "name": phone,
            "extras": {"whats": phone, "w": wamid},
        }
    (made,) = adapt(item, replace(OPTIONS, identity="hmac", bodies=bodies))
    told = orjson.dumps(made.event).decode() + str(made.ordering_key)
    assert phone not in told
    assert phone[2:] not in told
    assert "wamid." not in told


def _base64(data: bytes) -> str:
    import base64

    return base64.b64encode(data).decode()


@profile
@given(sound_items, st.sampled_from(["length", "drop"]))
def test_bodies_that_are_not_told_are_nowhere(item: Any, bodies: Any) -> None:
    """Under `length` and `drop` no text of a body reaches the event, however it is nested."""
    secret = "segredo do cliente"
    for content in (secret, {"text": secret}, [{"type": "text/plain", "value": secret}], {"a": {"b": [secret]}}):
        message = {**item, "type": "application/json", "content": content, "from": "1@0mn.io", "to": "b@msging.net"}
        for made in tried(message, replace(OPTIONS, bodies=bodies)) or ():
            assert secret not in repr(made)


@profile
@given(st.text(min_size=8, max_size=20), st.integers(0, 4), st.sampled_from(["full", "length", "drop"]))
def test_sensitive_content_is_nowhere(secret: str, depth: int, bodies: Any) -> None:
    """What Blip calls sensitive reaches no event, as a message's whole content or as a part of it at any depth."""
    secret = f"«{secret}»"
    content: Any = {"type": "text/plain", "value": secret}
    kind = "application/vnd.lime.sensitive+json"
    for _ in range(depth):
        content = {"items": [{"type": kind, "value": content}]}
        kind = "application/vnd.lime.collection+json"
    message = {"id": "1", "from": "1@0mn.io", "to": "b@msging.net", "type": kind, "content": content}
    (made,) = adapt(message, replace(OPTIONS, bodies=bodies))
    assert secret not in repr(made)


@pytest.mark.parametrize("levels", [90, 97, 200, 5_000])
def test_depth_ends_as_an_event_or_as_an_unknown_item(levels: int) -> None:
    """Nesting beyond what an event can carry is an unknown item with the reason, never a crash."""
    content: Any = "x"
    for _ in range(levels):
        content = {"a": [content]}
    message = {"id": "1", "from": "1@0mn.io", "to": "b@msging.net", "type": "application/json", "content": content}
    assert tried(message, replace(ALL, bodies="full")) is None


@pytest.mark.parametrize("levels", range(40, 55))
def test_depth_at_the_edge(levels: int) -> None:
    """At the edge, what is known makes an event that goes through."""
    for content in ({"a": "x"}, {"a": ["x"]}):
        deep: Any = content
        for _ in range(levels):
            deep = {"a": [deep]}
        for item in (
            {"id": "1", "from": "1@0mn.io", "to": "b@msging.net", "type": "application/json", "content": deep},
            {"category": "c", "action": "a", "extras": deep},
            {"identity": "1@0mn.io", "lastMessageDate": None, "extras": deep},
            {"customerIdentity": "1@0mn.io", "id": "t", "tags": [deep], "customerInput": {"value": deep}},
        ):
            for made in tried(item, ALL) or ():
                assert prepare(made.event, now=NOW)


@pytest.mark.parametrize("levels", [1, 20, 46])
def test_depth_that_an_event_carries(levels: int) -> None:
    """Nesting up to 96 levels goes through."""
    content: Any = "x"
    for _ in range(levels):
        content = {"a": [content]}
    message = {"id": "1", "from": "1@0mn.io", "to": "b@msging.net", "type": "application/json", "content": content}
    (made,) = adapt(message, replace(ALL, bodies="full"))
    assert content == orjson.loads(prepare(made.event, now=NOW).body)["properties"]["content"]
