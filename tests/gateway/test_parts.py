"""The gateway's parts that decide, each by itself."""

import asyncio
import json
import random
from contextlib import AsyncExitStack
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.exceptions import ConnectionError

from gateway.rig import basic
from pombo.gateway.answers import LONGEST_WAIT_S, Refusal, wait_s
from pombo.gateway.bodies import ClientGoneError, read
from pombo.gateway.bugs import told
from pombo.gateway.credentials import basic_key, body_key, header_key
from pombo.gateway.dispatch import refusal
from pombo.gateway.documents import parse, written
from pombo.gateway.keyring import ENTRIES, FRESH_S, UNKNOWN_S, Keyring
from pombo.gateway.producers import Outcome
from pombo.gateway.room import PATIENCE_S, Room
from pombo.gateway.traffic import shown
from pombo.producer import Receipt, Rejected
from pombo.producer.receipts import Accepted, Reason
from pombo.shared.errors import ConfigurationError
from pombo.shared.registry import KeyOwner
from producer.rig import FakeClock


@given(st.floats(0, 1e9), st.integers())
def test_wait(lasting_s: float, seed: int) -> None:
    """Whole seconds, at least one and at most the longest, whatever the trouble."""
    assert 1 <= wait_s(lasting_s, random.Random(seed)) <= LONGEST_WAIT_S


def test_wait_grows() -> None:
    """Later answers of one trouble ask for longer waits, and those of one moment differ."""
    rng = random.Random(1)
    mean = [sum(wait_s(lasting, rng) for _ in range(100)) / 100 for lasting in (0, 10, 30, 60, 600)]
    assert sorted(mean) == mean
    assert mean[-1] > 20 * mean[0]
    assert 5 < len({wait_s(60, rng) for _ in range(100)})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (b"", None),
        (b"Basic", None),
        (b"Basic !!!", None),
        (b"Basic Og==", None),
        (b"Bearer a2V5Og==", None),
        (b"Basic a2V5Og==", "key"),
        (b"basic a2V5Og", "key"),
        (b"BASIC  a2V5", "key"),
        (b"Basic a2V5OnB3", "key"),
        (b"Basic /////w==", "\ufffd" * 4),
    ],
)
def test_basic_key(value: bytes | None, expected: str | None) -> None:
    """The name of Basic, with or without colon and padding; what is none counts as absent."""
    assert expected == basic_key(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (b"  ", None),
        (b"key", "key"),
        (b"Key key", "key"),
        (b"Bearer  key ", "key"),
        (b"token key", "key"),
        (basic("key")["Authorization"].encode(), "key"),
        (b"\xff", "\ufffd"),
    ],
)
def test_header_key(value: bytes | None, expected: str | None) -> None:
    """A webhook's header may hold the key alone, or after the usual words."""
    assert expected == header_key(value)


@given(st.binary())
def test_any_header_is_read(value: bytes) -> None:
    """No header raises."""
    assert {type(basic_key(value)), type(header_key(value))} <= {str, type(None)}


@pytest.mark.parametrize(
    ("document", "items", "expected"),
    [
        ({}, [], None),
        ({"writeKey": " k "}, [{"writeKey": "other"}], "k"),
        ({"writeKey": None}, [{"writeKey": "k"}, 7, {"writeKey": ""}, {"writeKey": ["k"]}], "k"),
        ({"writeKey": 7}, [{}], None),
    ],
)
def test_body_key(document: dict[str, Any], items: list[Any], expected: str | None) -> None:
    """The body's own key, else its items'."""
    assert expected == body_key(document, items)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters()), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(st.characters()), JSON, max_size=4))
def test_what_pythons_sdk_writes_is_read_and_kept(document: dict[str, Any]) -> None:
    """NaN, infinity and lone surrogates are read as Python reads them, and written for a letter as they came."""
    body = json.dumps(document).encode()
    found = parse(body)
    assert json.loads(body) == found or "NaN" in body.decode()
    assert json.dumps(json.loads(body)) == json.dumps(json.loads(written(found)))
    assert b"\n" not in written(found)


def parsed(body: bytes) -> dict[str, Any] | Refusal:
    try:
        return parse(body)
    except Refusal as error:
        return error


def rewritten(document: Any) -> bytes | str:
    try:
        return written(document)
    except Refusal as error:
        return error.code


@given(st.binary())
def test_any_body_is_read_or_refused(body: bytes) -> None:
    """Nothing but a refusal is raised."""
    found = parsed(body)
    assert isinstance(found, dict) or (400, True) == (found.status, bool(found.message))


@pytest.mark.parametrize("depth", [200, 400, 900, 1020, 5000, 200_000])
@pytest.mark.parametrize("pair", [("[", "]"), ('{"a":', "}")])
def test_depth(depth: int, pair: tuple[str, str]) -> None:
    """However deep a body is nested, it is read and can be kept, or refused."""
    opening, closing = pair
    body = ('{"x":' + opening * depth + "1" + closing * depth + "}").encode()
    found = parsed(body)
    kept = found.code if isinstance(found, Refusal) else rewritten(found)
    assert kept in {body, "nested_too_deep"}
    assert depth > 300 or kept == body


def test_bugs_are_told_without_words() -> None:
    """A traceback's places are told, its exception's text is not: it may quote the client."""
    try:
        raise ValueError("529.982.247-25")
    except ValueError as error:
        shown = told(error)
    assert "ValueError" == shown["error"]
    assert "test_parts.py" in shown["way"]
    assert "529" not in str(shown)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"/v1/batch", "/v1/batch"),
        (b"/blip/support_bot/messages", "/blip/support_bot/messages"),
        (b"/blip/pik_BO7c7QbnrJHx-kTvjqE2c3ztMpWUlSvSOcejUQ5uiaQ/messages", "/blip/***/messages"),
        (b"/v1/projects/" + b"k" * 32 + b"/settings", "/v1/projects/***/settings"),
        (b"/" + b"x" * 200, "/" + "x" * 99),
    ],
)
def test_paths_in_the_log(path: bytes, expected: str) -> None:
    """A key that somebody put into the path is not logged."""
    assert expected == shown(path)


class Sending:
    """ASGI's `receive` of a client that sends its body piece by piece, and then waits or goes away."""

    def __init__(self, *pieces: bytes, then: str = "wait") -> None:
        self._pieces = [*pieces]
        self._then = then

    async def __call__(self) -> dict[str, Any]:
        if self._pieces:
            return {"type": "http.request", "body": self._pieces.pop(0), "more_body": True}
        if self._then == "wait":
            await asyncio.sleep(60)
        return {"type": "http.disconnect"}


async def test_a_body_that_does_not_come_to_its_end() -> None:
    """It is 408 when its time is over, and what it took of the room is free again."""
    room = Room(1 << 20, lambda: 1, FakeClock().monotonic)
    with room.share() as share, pytest.raises(Refusal, match="3 bytes did") as found:
        await read(Sending(b"abc"), {}, share, 1000, grace_s=0.01)
    assert (408, "too_slow", 0, 0) == (found.value.status, found.value.code, room.used, room.reading)


async def test_a_body_gets_time_for_its_size() -> None:
    """A longer body may take longer: 64 KB are good for a second more."""
    room = Room(1 << 20, lambda: 1, FakeClock().monotonic)
    begun = asyncio.get_running_loop().time()
    with room.share() as share, pytest.raises(Refusal):
        await read(Sending(bytes(32_768)), {}, share, 1 << 20, grace_s=0.01)
    assert asyncio.get_running_loop().time() - begun >= 0.5


async def test_a_client_that_goes_away() -> None:
    """Nobody is answered, and nothing is held."""
    room = Room(1 << 20, lambda: 1, FakeClock().monotonic)
    with room.share() as share, pytest.raises(ClientGoneError):
        await read(Sending(b"abc", then="go"), {}, share, 1000)
    assert (0, 0) == (room.used, room.reading)


def receipt(reason: Reason | None) -> Receipt:
    return Receipt("m1", Accepted if reason is None else Rejected(reason, "secret details"))


@pytest.mark.parametrize(
    ("reasons", "letters", "expected"),
    [
        ([None, "backlog_full"], "kept", (429, "backlog_full")),
        (["backlog_full", "unavailable"], "kept", (503, "unavailable")),
        (["unconfirmed"], "full", (503, "unconfirmed")),
        (["closed"], "kept", (503, "closed")),
        ([None], "full", (429, "dead_letters_full")),
        ([None], "unavailable", (503, "unavailable")),
    ],
)
def test_refusal(reasons: list[Reason | None], letters: Any, expected: tuple[int, str]) -> None:
    """What has to be waited for longest decides; where our Redis is stays with us."""
    made = refusal(Outcome(list(map(receipt, reasons)), letters), 7)
    assert (*expected, 7) == (made.status, made.code, made.retry_after_s)
    assert "secret" not in made.message
    assert (b"retry-after", b"7") in made.answer().headers


async def test_room_cuts_the_oldest() -> None:
    """Who has been sending for longest makes room, one after the other, and only when it had its time."""
    clock = FakeClock()
    room = Room(100, lambda: 1, clock.monotonic)
    slow, slower = room.share(), room.share()
    stack = AsyncExitStack()
    for share in (slower, slow):
        share.begin(await stack.enter_async_context(asyncio.timeout(None)))
        share.take(40)
    clock.at += PATIENCE_S / 2
    young = room.share()
    with pytest.raises(Refusal, match="80 bytes"):
        young.take(30)
    clock.at += PATIENCE_S
    young.take(30)
    assert (70, 1) == (room.used, room.reading)
    with pytest.raises(TimeoutError):
        slower.take(1)
    slow.take(1)
    with pytest.raises(TimeoutError):
        async with stack:
            await asyncio.sleep(60)
    with young, slow, slower:
        pass
    assert (0, 0) == (room.used, room.reading)


async def test_who_needs_too_much_cuts_nobody_for_nothing() -> None:
    """A request never cuts itself off, and what it cannot get it is refused."""
    clock = FakeClock()
    room = Room(100, lambda: 1, clock.monotonic)
    with room.share() as share:
        share.begin(asyncio.timeout(None))
        clock.at += PATIENCE_S
        with pytest.raises(Refusal):
            share.take(101)
    assert 0 == room.used


class FakeRegistry:
    """A registry that a test tells what it holds."""

    def __init__(self) -> None:
        self.keys: dict[str, str] = {"k": "bot"}
        self.asked = 0
        self.version_ = 1
        self.error: Exception | None = None
        self.wrong_secret = False

    async def owner_of(self, key: str) -> KeyOwner | None:
        self.asked += 1
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        name = self.keys.get(key)
        return None if name is None else KeyOwner(name, "intake")

    async def version(self) -> int:
        return self.version_

    async def check_secrets(self) -> None:
        if self.wrong_secret:
            raise ConfigurationError("wrong secret")


class Lookup:
    """A keyring over a registry of fakes."""

    def __init__(self) -> None:
        self.registry, self.clock = FakeRegistry(), FakeClock()
        registry: Any = self.registry
        self.keyring = Keyring(registry, self.clock, lambda: 3)

    async def ask(self, key: str) -> str | int:
        """The source, or the status of the refusal."""
        try:
            return (await self.keyring.owner(key)).source
        except Refusal as error:
            return error.status


async def test_keys_are_looked_up_once_for_all_who_ask() -> None:
    """Many requests with one key ask the registry once, and again when the answer is old."""
    lookup = Lookup()
    assert ["bot"] * 50 == await asyncio.gather(*(lookup.ask("k") for _ in range(50)))
    assert 1 == lookup.registry.asked
    lookup.clock.at += FRESH_S
    assert "bot" == await lookup.ask("k")
    assert 2 == lookup.registry.asked


async def test_a_key_that_is_gone() -> None:
    """A key that was replaced is refused when the answer is old; a new one is known soon."""
    lookup = Lookup()
    assert ("bot", 401) == (await lookup.ask("k"), await lookup.ask("new"))
    lookup.registry.keys = {"new": "bot"}
    assert ("bot", 401) == (await lookup.ask("k"), await lookup.ask("new"))
    lookup.clock.at += UNKNOWN_S
    assert "bot" == await lookup.ask("new")
    lookup.clock.at += FRESH_S
    assert 401 == await lookup.ask("k")


async def test_while_the_registry_cannot_be_read() -> None:
    """Known keys stay known, however long; of others nothing can be said."""
    lookup = Lookup()
    assert "bot" == await lookup.ask("k")
    lookup.registry.error = ConnectionError("away")
    lookup.clock.at += 86_400
    assert ("bot", 503) == (await lookup.ask("k"), await lookup.ask("other"))
    lookup.registry.error = None
    assert ("bot", 401) == (await lookup.ask("k"), await lookup.ask("other"))


@pytest.mark.parametrize("trouble", ["emptied", "another secret"])
async def test_another_registry(trouble: str) -> None:
    """A registry that never held a source, or whose keys we cannot open, is not believed."""
    lookup = Lookup()
    lookup.registry.version_ = 0 if trouble == "emptied" else 1
    lookup.registry.wrong_secret = trouble != "emptied"
    assert 503 == await lookup.ask("other")


async def test_strangers_fill_no_memory() -> None:
    """However many unknown keys come, a bounded number is remembered."""
    lookup = Lookup()
    for number in range(ENTRIES + 500):
        assert 401 == await lookup.ask(f"x{number}")
    assert ENTRIES >= len(lookup.keyring._entries)


def test_an_answer_is_json() -> None:
    """A refusal's body names success, code and message, and its field where there is one."""
    made = Refusal(400, "c", "m", field="f").answer()
    assert {"success": False, "code": "c", "message": "m", "field": "f"} == orjson.loads(made.body)
