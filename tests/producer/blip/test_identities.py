import hashlib
import hmac
from dataclasses import replace

import pytest

from pombo.producer.blip.identities import Scrub, brazilian, canonical, conversation, digest, reference, user_id
from pombo.producer.blip.nodes import Node
from producer.blip.items import HASHED, OPTIONS, event

WAMID = "wamid.HBgNNTUxMTk4NzY1NDMyMRUCABIYFDNBMDAwMDAwMDAwMDAwMDBURVNUAA=="


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("559281723241", "5592981723241"),
        ("5592981723241", "5592981723241"),
        ("551199991111", "5511999991111"),
        ("553161234567", "5531961234567"),
        ("551133334444", "551133334444"),
        ("552055554444", "552055554444"),
        ("552099991111", "552099991111"),
        ("16503879439", "16503879439"),
        ("449281723241", "449281723241"),
        ("55928172324", "55928172324"),
        ("abc", "abc"),
        ("", ""),
    ],
)
def test_ninth_digit(number: str, expected: str) -> None:
    """A Brazilian mobile without its ninth digit gets it; landlines, area codes that are none and others stay."""
    assert expected == brazilian(number)


def test_every_area_code_of_brazil_and_no_other() -> None:
    """The 67 area codes of Anatel are known, and no other two digits."""
    known = {n for n in range(10, 100) if brazilian(f"55{n}81723241") != f"55{n}81723241"}
    listed = [*range(11, 20), 21, 22, 24, 27, 28, *range(31, 36), 37, 38, *range(41, 50), 51, 53, 54, 55]
    listed += [*range(61, 70), 71, 73, 74, 75, 77, 79, *range(81, 90), *range(91, 100)]
    assert (67, set(listed)) == (len(known), known)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("559281723241@wa.gw.msging.net", "5592981723241@wa.gw.msging.net"),
        ("+5592981723241@tangram.com.br", "559281723241@tangram.com.br"),
        ("Maria@telegram.gw.msging.net", "maria@TELEGRAM.gw.msging.net/instance"),
    ],
)
def test_spellings_of_one_customer(one: str, other: str) -> None:
    """All spellings of an identity are one hashed userId and one conversation."""
    first, second = Node.parse(one), Node.parse(other)
    assert canonical(first) == canonical(second)
    assert user_id(HASHED, first) == user_id(HASHED, second)
    assert conversation(OPTIONS, first) == conversation(OPTIONS, second)


def test_ids_of_channels_without_phones_stay() -> None:
    """A number that looks Brazilian is one only where names are phone numbers."""
    assert "559281723241@telegram.gw.msging.net" == canonical(Node("559281723241", "telegram.gw.msging.net"))


def test_raw_user_id_is_blips_identity() -> None:
    """With `raw`, the userId is what Blip has, without the instance."""
    assert "559281723241@wa.gw.msging.net" == user_id(OPTIONS, Node.parse("559281723241@wa.gw.msging.net/x"))


def test_hashes_are_keyed() -> None:
    """A hashed userId is HMAC-SHA256 under the source's key, so that nobody finds the number by trying all."""
    node = Node("5592981723241", "wa.gw.msging.net")
    told = b'["user","5592981723241@wa.gw.msging.net"]'
    expected = hmac.new(HASHED.key, told, hashlib.sha256).hexdigest()
    assert f"blip_{expected[:40]}" == user_id(HASHED, node)
    assert user_id(HASHED, node) != user_id(replace(HASHED, key=b"another"), node)


def test_purposes_are_apart() -> None:
    """The same parts hashed for two purposes have nothing in common."""
    assert digest(OPTIONS, "user", "x") != digest(OPTIONS, "conversation", "x")


@pytest.mark.parametrize("prefix", ["fwd:", "fwd:fwd:", "FWD:"])
def test_forwarded_ids_refer_to_the_original(prefix: str) -> None:
    """A router's copy of a message has the same reference."""
    assert reference(OPTIONS, "75d5-1") == reference(OPTIONS, f"{prefix}75d5-1")


def test_only_a_prefix_says_forwarded() -> None:
    """Letters in the midst of an id are its own."""
    assert reference(OPTIONS, "a-fwd:b") != reference(OPTIONS, "a-b")


def test_a_wamid_becomes_its_reference_wherever_it_stands() -> None:
    """In texts, keys, lists and objects a wamid gives way to the reference that stands for it."""
    scrubbed = Scrub(OPTIONS)({"a": [f"re: {WAMID}!"], WAMID: 1, "n": 5})
    assert {"a": [f"re: {reference(OPTIONS, WAMID)}!"], reference(OPTIONS, WAMID): 1, "n": 5} == scrubbed


def test_a_hashed_identity_is_found_in_its_spellings() -> None:
    """With `hmac` the number gives way in every usual form; with `raw` nothing is hidden that the userId tells."""
    node = Node("559281723241", "wa.gw.msging.net")
    text = "559281723241, 5592981723241, 92981723241, 9281723241, +559281723241"
    hidden = user_id(HASHED, node)
    assert f"{hidden}, {hidden}, {hidden}, {hidden}, +{hidden}" == Scrub(HASHED, node).text(text)
    assert text == Scrub(OPTIONS, node).text(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(11) 98765-4321", "(@"),
        ("tel. +55 11 98765.4321, or 1198765-4321!", "tel. +@, or @!"),
        ("5511987654321 " * 3, "@ " * 3),
        ("5511 987654321-11987654321 (77)", "@-@ (77)"),
        ("11 98765 4322", "11 98765 4322"),
        ("11987654 on 4321", "11987654 on 4321"),
    ],
)
def test_a_hashed_number_is_found_among_punctuation(text: str, expected: str) -> None:
    """With `hmac` the number gives way also where people write it in groups; other numbers stay as they are written."""
    node = Node("5511987654321", "wa.gw.msging.net")
    assert expected.replace("@", user_id(HASHED, node)) == Scrub(HASHED, node).text(text)


def test_a_number_repeated_without_end() -> None:
    """However often a text repeats the number, all are hidden, in time linear in the text."""
    node = Node("5511987654321", "wa.gw.msging.net")
    assert user_id(HASHED, node) * 50_000 == Scrub(HASHED, node).text("5511987654321" * 50_000)


def test_short_names_are_left_alone() -> None:
    """A name of a few letters is no trace of anybody, and stands in other words."""
    assert "banana" == Scrub(HASHED, Node("ana", "0mn.io")).text("banana")


def test_ids_stay_within_segments_limit() -> None:
    """A messageId has at most 100 characters, however long Blip's is."""
    made = event({"id": "x" * 5000, "from": "1@0mn.io", "to": "b@msging.net", "type": "text/plain", "content": ""})
    assert 45 == len(made["messageId"])
