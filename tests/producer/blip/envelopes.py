"""Generated items: LIME envelopes, event tracks and contacts, from sound to hostile."""

from typing import Any

from hypothesis import strategies as st

CUSTOMER_DOMAINS = (
    "0mn.io", "tangram.com.br", "messenger.gw.msging.net", "wa.gw.msging.net", "telegram.gw.msging.net",
    "mailgun.gw.msging.net", "new.gw.msging.net", "channel.example",
)  # fmt: skip
OTHER_DOMAINS = (
    "msging.net", "tunnel.msging.net", "desk.msging.net", "broadcast.msging.net", "blip.ai", "analytics.msging.net",
)  # fmt: skip
CONTENT_TYPES = (
    "text/plain", "application/json", "application/vnd.lime.select+json", "application/vnd.lime.media-link+json",
    "application/vnd.lime.collection+json", "application/vnd.lime.container+json", "application/vnd.lime.reply+json",
    "application/vnd.lime.reaction+json", "application/vnd.lime.redirect+json", "application/vnd.lime.sensitive+json",
    "application/vnd.lime.chatstate+json", "application/vnd.iris.ticket+json", "application/vnd.iris.tunnel+json",
)  # fmt: skip
METADATA_KEYS = (
    "#envelope.storageDate", "date_created", "#date_processed", "#envelope.timestamp", "#wa.timestamp", "#uniqueId",
    "#messageKind", "#messageEmitter", "#message.agentIdentity", "#message.ticketId", "#stateName", "#stateId",
    "#messageId", "#tunnel.originator", "#wa.context.id", "#inReplyToId", "traceparent",
)  # fmt: skip
KNOWN_KEYS = (
    "id", "from", "to", "type", "content", "metadata", "direction", "date", "event", "category", "action", "label",
    "value", "count", "storageDate", "extras", "contact", "ownerIdentity", "messageId", "identity", "lastMessageDate",
    "name", "email", "phoneNumber", "customerIdentity", "customerDomain", "status", "method", "uri", "resource",
)  # fmt: skip

hostile_text = st.text(st.characters(exclude_categories=[]), max_size=20) | st.sampled_from(
    [
        "",
        "@",
        "/",
        "a@",
        "@b",
        "9" * 5000,
        "1e400",
        "0001-01-01T00:00:00",
        "2019-11-08T20:15:59.4153827Z",
        "wamid.",
        "%",
    ]
)
scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | hostile_text
)  # NaN, infinities and huge integers come from Python callers, and a refusal is due then.
hostile = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(hostile_text, inner, max_size=4), max_leaves=12
)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip

phones = st.from_regex(r"\A55(11|31|71|92)9[6-9][0-9]{7}\Z")
names = phones | st.uuids().map(str) | st.from_regex(r"\A[a-z][a-z0-9.%]{2,12}\Z") | st.just("postmaster")
instances = st.just("") | st.just("/instance") | st.just("/1654804277843415%40messenger.gw.msging.net")


def addresses(domains: tuple[str, ...]) -> st.SearchStrategy[str]:
    """Addresses of these domains."""
    return st.builds(lambda name, domain, more: f"{name}@{domain}{more}", names, st.sampled_from(domains), instances)


any_address = addresses(CUSTOMER_DOMAINS + OTHER_DOMAINS)
metadata = st.dictionaries(st.sampled_from(METADATA_KEYS), st.none() | st.text(max_size=30) | any_address, max_size=6)


def contents(kind: str) -> st.SearchStrategy[Any]:
    """Content as that type has it, or anything."""
    container = st.fixed_dictionaries({"type": st.sampled_from(CONTENT_TYPES), "value": st.text(max_size=20)})
    shapes: dict[str, st.SearchStrategy[Any]] = {
        "text/plain": st.text(max_size=200),
        "application/vnd.lime.collection+json": st.fixed_dictionaries(
            {
                "itemType": st.sampled_from(CONTENT_TYPES),
                "items": st.lists(st.text(max_size=20) | container, max_size=3),
            }
        ),
        "application/vnd.lime.reply+json": st.fixed_dictionaries({"replied": container, "inReplyTo": container}),
        "application/vnd.iris.ticket+json": st.fixed_dictionaries(
            {"id": st.uuids().map(str), "customerIdentity": any_address, "status": st.just("Open")},
            optional={"customerInput": container, "tags": st.lists(st.text(max_size=5), max_size=3)},
        ),
    }
    return shapes.get(kind, plain) | container


@st.composite
def messages(draw: st.DrawFn) -> dict[str, Any]:
    """A message as LIME has it, between any two addresses."""
    kind = draw(st.sampled_from(CONTENT_TYPES))
    fixed: dict[str, st.SearchStrategy[Any]] = {
        "id": st.uuids().map(str) | st.uuids().map("fwd:{}".format) | st.text(min_size=1, max_size=20),
        "type": st.just(kind),
        "content": contents(kind),
    }
    optional = {"from": any_address, "to": any_address, "metadata": metadata, "pp": any_address}
    return draw(st.fixed_dictionaries(fixed, optional=optional))


tracks = st.fixed_dictionaries(
    {"category": st.text(min_size=1, max_size=20), "action": st.text(min_size=1, max_size=20)},
    optional={
        "ownerIdentity": addresses(("msging.net",)), "identity": any_address, "messageId": st.text(max_size=80),
        "contact": st.fixed_dictionaries({}, optional={"Identity": any_address, "identity": any_address}),
        "storageDate": st.datetimes().map(lambda moment: moment.isoformat() + "Z"), "label": st.text(max_size=10),
        "value": st.floats(allow_nan=False, allow_infinity=False), "count": st.integers(0, 1000),
        "extras": st.dictionaries(st.text(max_size=12) | st.sampled_from(METADATA_KEYS), st.text(max_size=20)),
    },
)  # fmt: skip
contacts = st.fixed_dictionaries(
    {"identity": any_address, "lastMessageDate": st.none() | st.datetimes().map(lambda moment: moment.isoformat())},
    optional={
        "name": st.text(max_size=20), "email": st.text(max_size=20), "phoneNumber": st.text(max_size=20),
        "address": st.text(max_size=20), "city": st.text(max_size=20), "timezone": st.integers(-12, 14),
        "taxDocument": st.text(max_size=20), "extras": st.dictionaries(st.text(max_size=12), st.text(max_size=20)),
    },
)  # fmt: skip
sound_items = messages() | tracks | contacts
hostile_items = st.dictionaries(st.sampled_from(KNOWN_KEYS) | hostile_text, hostile | any_address, max_size=12)


@st.composite
def spoiled_items(draw: st.DrawFn) -> dict[str, Any]:
    """A sound item of which a few fields hold anything."""
    item = dict(draw(sound_items))
    return item | draw(st.dictionaries(st.sampled_from([*item]), hostile, max_size=3))
