import pytest

from pombo.producer.blip.nodes import Node, Side, originator

GUID = "ecb99cf5-fb5c-4376-8acd-4b478091de15"


@pytest.mark.parametrize(
    ("text", "node", "identity"),
    [
        ("bot@msging.net", Node("bot", "msging.net"), "bot@msging.net"),
        ("Maria@WA.gw.msging.net/phone", Node("Maria", "wa.gw.msging.net", "phone"), "Maria@wa.gw.msging.net"),
        (" a@b/c@d/e ", Node("a", "b", "c@d/e"), "a@b"),
        ("ana%40x.com@blip.ai", Node("ana%40x.com", "blip.ai"), "ana%40x.com@blip.ai"),
        ("nobody", Node("nobody", ""), "nobody"),
        ("", Node("", ""), ""),
    ],
)
def test_an_address_is_read(text: str, node: Node, identity: str) -> None:
    """Name, domain in lower case, and instance; the identity is the address without the instance."""
    assert (node, identity) == (Node.parse(text), Node.parse(text).identity)


@pytest.mark.parametrize(
    ("text", "side"),
    [
        ("1@0mn.io", Side.CUSTOMER),
        ("1@wa.gw.msging.net", Side.CUSTOMER),
        ("1@brandnew.gw.msging.net", Side.CUSTOMER),
        ("bot@msging.net", Side.BOT),
        ("ana%40example.com@blip.ai", Side.AGENT),
        ("postmaster@msging.net", Side.SYSTEM),
        ("Postmaster@wa.gw.msging.net", Side.SYSTEM),
        ("postmaster@tunnel.msging.net", Side.SYSTEM),
        ("1@desk.msging.net", Side.SYSTEM),
        ("list@broadcast.msging.net", Side.SYSTEM),
        (f"{GUID}@tunnel.msging.net", Side.CUSTOMER),
        (f"{GUID}@tunnel.msging.net/instance", Side.CUSTOMER),
        ("d8ae95f8-3dfb9b@tunnel.msging.net", Side.CUSTOMER),
        ("operator@tunnel.msging.net/1654%40messenger.gw.msging.net", Side.SYSTEM),
        ("1@channel.example", Side.UNKNOWN),
    ],
)
def test_whose_address_it_is(text: str, side: Side) -> None:
    """Domains tell customers, bots and agents; a tunnel tells its two ends by name and instance."""
    assert side is Node.parse(text).side()


def test_a_named_bot_is_one_whatever_its_domain() -> None:
    """A bot that the source names is a bot on any domain, whatever the case of its address."""
    assert Side.BOT is Node.parse("MyBot@channel.example/x").side({"mybot@channel.example"})


@pytest.mark.parametrize(
    ("domain", "channel"),
    [
        ("0mn.io", "blip_chat"),
        ("wa.gw.msging.net", "whatsapp"),
        ("new.gw.msging.net", "new"),
        ("a.example", "a.example"),
    ],
)
def test_channels_have_names(domain: str, channel: str) -> None:
    """A documented channel has its name, another one its domain's."""
    assert channel == Node("1", domain).channel


@pytest.mark.parametrize(
    ("text", "identity"),
    [
        ("5511987654321@wa.gw.msging.net/x", "5511987654321@wa.gw.msging.net"),
        ("1654%40messenger.gw.msging.net", "1654@messenger.gw.msging.net"),
        ("1@channel.example", "1@channel.example"),
        ("bot@msging.net", None),
        (f"{GUID}@tunnel.msging.net", None),
        ("postmaster@wa.gw.msging.net", None),
        ("nobody", None),
        ("", None),
        (None, None),
        (5, None),
    ],
)
def test_the_customer_behind_a_tunnel(text: object, identity: str | None) -> None:
    """`#tunnel.originator` counts when it names a customer, plain or percent-encoded."""
    found = originator(text)
    assert identity == (found and found.identity)
