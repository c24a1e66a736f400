"""Blip's and QuickBot's routes: who may send, and what becomes of what they send."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from gateway.rig import KEYS, Keyed, Running, basic, letters, problems, stored, stored_ids
from pombo.gateway.blip import sort_body
from pombo.gateway.items import Frame
from pombo.gateway.segment import SLICE
from pombo.producer.blip import BlipOptions
from pombo.shared.registry import Registry
from pombo.shared.secrets import Secrets

MESSAGE: dict[str, Any] = {
    "id": "65603604-fe19-479c-c885-3195b196fe8e",
    "from": "5511987654321@wa.gw.msging.net",
    "to": "mybot@msging.net",
    "type": "text/plain",
    "content": "oi, tudo bem?",
    "metadata": {"#envelope.storageDate": "2025-02-18T13:16:02Z"},
}
TRACK = {
    "ownerIdentity": "mybot@msging.net",
    "contact": {"Identity": "5511987654321@wa.gw.msging.net"},
    "storageDate": "2025-02-18T13:15:00.123Z",
    "category": "flow",
    "action": "Boas Vindas",
}
CONTACT = {
    "identity": "5511987654321@wa.gw.msging.net",
    "name": "Maria Exemplo",
    "lastMessageDate": "2025-02-18T13:15:00.000Z",
}
BLOCK = {
    "id": "blk_track",
    "type": "segment",
    "options": {"action": "Track", "eventName": "Plan Chosen", "userId": "{{User ID}}"},
}
ROUTES = ["/blip/bot", "/blip/bot/messages", "/blip/bot/events", "/blip/bot/contacts", "/quickbot/bot"]


@pytest.fixture
async def blip(bot: Keyed, redis: Redis, secrets: Secrets) -> Keyed:
    """Source `bot`, which takes Blip's items."""
    await Registry(redis, KEYS, secrets).set("bot", blip=True)
    return bot


def quickbot_body(**own: Any) -> dict[str, Any]:
    return {"block": BLOCK, "variables": {"User ID": "u1"}, "resultId": "r1", **own}


def body_of(path: str) -> dict[str, Any]:
    """A sound body for a route."""
    kinds: dict[str, dict[str, Any]] = {"messages": MESSAGE, "events": TRACK, "contacts": CONTACT}
    return quickbot_body() if path.startswith("/quickbot") else kinds.get(path.rpartition("/")[2], MESSAGE)


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("path", ROUTES)
async def test_matrix(gateway: Running, blip: Keyed, other: Keyed, redis: Redis, *, path: str, slash: str) -> None:
    """The source's intake key is taken in every form; another key, and another source's, are not."""
    path += slash
    right = [
        {"Authorization": blip.intake_key},
        {"Authorization": f"Key {blip.intake_key}"},
        {"Authorization": f"Bearer {blip.intake_key}"},
        basic(blip.intake_key),
        basic(blip.intake_key, ""),
    ]
    wrong = [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "wrong"},
        {"Authorization": blip.write_key},
        {"Authorization": other.intake_key},
        {"X-Key": blip.intake_key},
    ]
    body = orjson.dumps(body_of(path.rstrip("/")))
    assert [200] * 5 == [(await gateway.send("POST", path, body, one)).status_code for one in right]
    found = await stored(redis)
    assert [401] * 7 == [(await gateway.send("POST", path, body, one)).status_code for one in wrong]
    assert found == await stored(redis)
    assert 5 == len(found)
    assert 1 == len({event["messageId"] for event in found})
    assert [] == await stored(redis, "other")


@pytest.mark.parametrize("path", ["/blip/nobody", "/quickbot/nobody"])
async def test_no_such_source(gateway: Running, blip: Keyed, path: str) -> None:
    """Whoever has no key of a source does not learn whether there is one of that name."""
    unknown = await gateway.send("POST", path, b"{}", {"Authorization": blip.intake_key})
    known = await gateway.send("POST", path.replace("nobody", "bot"), b"{}", {"Authorization": "wrong"})
    assert 401 == unknown.status_code
    assert (unknown.status_code, unknown.content) == (known.status_code, known.content)


async def test_strangers_keep_nobody_from_redis(gateway: Running, blip: Keyed) -> None:
    """However many ask for sources that are none at once, each is told so, and who has a key is served meanwhile."""
    head = b"host: x\r\nconnection: close\r\nauthorization: %s\r\ncontent-length: 2\r\n\r\n{}"
    strangers = [b"POST /blip/nobody-%d HTTP/1.1\r\n" % number + head % b"wrong" for number in range(300)]
    known = [b"POST /blip/bot HTTP/1.1\r\n" + head % blip.intake_key.encode()] * 150
    answers = await asyncio.gather(*(gateway.talk(one) for one in (*strangers, *known)))
    assert [401] * 300 + [200] * 150 == [int(answer.split()[1]) for answer in answers]


async def test_a_header_of_the_source_s_choosing(gateway: Running, blip: Keyed, redis: Redis, secrets: Secrets) -> None:
    """The key may come in another header, which is then the only one."""
    await Registry(redis, KEYS, secrets).set("bot", intake_header="X-Pombo-Key")
    body = orjson.dumps(MESSAGE)
    chosen = await gateway.send("POST", "/blip/bot", body, {"x-pombo-key": blip.intake_key})
    usual = await gateway.send("POST", "/blip/bot", body, {"Authorization": blip.intake_key})
    assert [200, 401] == [chosen.status_code, usual.status_code]


async def test_a_source_that_does_not_take_blip(gateway: Running, bot: Keyed) -> None:
    """Blip's items carry phone numbers: a source takes them when somebody said how."""
    answer = await gateway.send("POST", "/blip/bot", orjson.dumps(MESSAGE), {"Authorization": bot.intake_key})
    assert (403, "not_for_blip") == (answer.status_code, answer.json()["code"])


async def post_blip(gateway: Running, blip: Keyed, body: Any, path: str = "/blip/bot") -> Any:
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    answer = await gateway.send("POST", path, content, {"Authorization": blip.intake_key})
    assert 200 == answer.status_code, answer.text
    return answer.json()


async def test_items_of_every_kind(gateway: Running, blip: Keyed, redis: Redis) -> None:
    """What an item is, is found out; one item or an array of them; chat states make no event."""
    state = {**MESSAGE, "type": "application/vnd.lime.chatstate+json", "content": {"state": "composing"}}
    assert {"success": True} == await post_blip(gateway, blip, MESSAGE)
    assert {"success": True} == await post_blip(gateway, blip, [TRACK, state, CONTACT])
    found = {event.get("event", event["type"]): event for event in await stored(redis)}
    assert {"Message Received", "Event Tracked", "identify"} == set(found)
    assert 13 == found["Message Received"]["properties"]["body_length"]
    assert "oi, tudo" not in str(found)
    assert () == await problems(redis)


async def test_repeated_items_have_one_id(gateway: Running, blip: Keyed, redis: Redis) -> None:
    """An item that comes again has the same messageId, also to another process."""
    for _ in range(2):
        await post_blip(gateway, blip, MESSAGE)
    assert 1 == len(set(await stored_ids(redis)))


@pytest.mark.parametrize(
    ("body", "payload"),
    [
        ({"hello": "world"}, b'{"hello":"world"}'),
        (b"[]", b"[]"),
        (b"7", b"7"),
        (b"", b""),
        (b"no JSON \xff", b"no JSON \xff"),
    ],
)
async def test_unknown_items_are_kept(gateway: Running, blip: Keyed, redis: Redis, body: Any, payload: bytes) -> None:
    """What pombo does not know is 200 and a dead letter, whatever it is: Blip must not stop sending."""
    answer = await post_blip(gateway, blip, body)
    assert [(0, "unknown_item")] == [(one["index"], one["code"]) for one in answer["rejected"]]
    (letter,) = await letters(redis)
    assert ("unknown_item", payload) == (letter.header.reason, letter.payload)
    assert not letter.redrivable
    assert () == await problems(redis)


@pytest.mark.parametrize("depth", [300, 600, 1000, 5000])
async def test_an_item_nested_too_deep_to_be_written(gateway: Running, blip: Keyed, redis: Redis, depth: int) -> None:
    """However deep an item is nested, it is 200 and kept, with those that came beside it."""
    deep = b'{"a":' * depth + b"1" + b"}" * depth
    body = b"[" + orjson.dumps(MESSAGE) + b"," + deep + b"]"
    await post_blip(gateway, blip, body)
    kept = b"".join(letter.payload for letter in await letters(redis))
    assert deep in kept
    assert await stored_ids(redis) or body == kept
    assert () == await problems(redis)


@pytest.mark.parametrize("name", ["userId", "event", "type"])
async def test_what_letters_are_found_by_may_be_nested_too_deep(
    gateway: Running, blip: Keyed, redis: Redis, name: str
) -> None:
    """An item whose user is no text but a heap of brackets is kept like any other."""
    deep = b'{"%s":%s}' % (name.encode(), b"[" * 300 + b"]" * 300)
    await post_blip(gateway, blip, b"[" + orjson.dumps(MESSAGE) + b"," + deep + b"]")
    assert deep in b"".join(letter.payload for letter in await letters(redis))
    assert 1 == len(await stored_ids(redis))
    assert () == await problems(redis)


async def test_many_items_let_others_be_served() -> None:
    """Whoever else is to be served is, again and again, while the items of one body are sorted."""
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    body = orjson.dumps([{**MESSAGE, "id": str(number)} for number in range(10 * SLICE)])
    served = asyncio.create_task(other())
    sorted_ = await sort_body(body, Frame(datetime(2025, 2, 18, tzinfo=UTC)), BlipOptions(b"k" * 32), None)
    served.cancel()
    assert 10 * SLICE == len(sorted_.good)
    assert turns >= 8


async def test_unknown_kind(gateway: Running, blip: Keyed) -> None:
    """A route of another kind is none."""
    answer = await gateway.send("POST", "/blip/bot/tickets-or-so", b"{}", {"Authorization": blip.intake_key})
    assert 404 == answer.status_code


async def post_quickbot(gateway: Running, bot: Keyed, body: Any, **headers: str) -> Any:
    headers = {"Authorization": bot.intake_key, **headers}
    answer = await gateway.send("POST", "/quickbot/bot", orjson.dumps(body), headers)
    return answer.status_code, answer.json()


async def test_a_block_becomes_its_event(gateway: Running, bot: Keyed, redis: Redis) -> None:
    """Variables are put in; the same result and block make the same messageId, another key another one."""
    assert (200, {"success": True}) == await post_quickbot(gateway, bot, quickbot_body())
    await post_quickbot(gateway, bot, quickbot_body())
    await post_quickbot(gateway, bot, quickbot_body(), **{"Idempotency-Key": "k1"})
    first, again, other = await stored(redis)
    assert ("track", "Plan Chosen", "u1") == (first["type"], first["event"], first["userId"])
    assert first["messageId"] == again["messageId"] != other["messageId"]


async def test_a_condition_that_does_not_hold(gateway: Running, bot: Keyed, redis: Redis) -> None:
    """Nothing is sent, and the flow is told so."""
    condition = {"comparisons": [{"variableId": "User ID", "comparisonOperator": "Equal to", "value": "u2"}]}
    status, answer = await post_quickbot(gateway, bot, quickbot_body(condition=condition))
    assert (200, {"success": True, "sent": False}) == (status, answer), answer
    assert [] == await stored(redis)


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({}, "block_missing", "block"),
        (quickbot_body(variables={}), None, None),
        ({**quickbot_body(), "block": {**BLOCK, "options": {"action": "Track", "userId": "u1"}}}, None, None),
    ],
)
async def test_a_block_that_cannot_be_sent(
    gateway: Running, bot: Keyed, redis: Redis, *, body: Any, code: str | None, field: str | None
) -> None:
    """A missing field is 400 with its name, rather than a silent nothing."""
    status, answer = await post_quickbot(gateway, bot, body)
    assert (400, False) == (status, answer["success"])
    assert answer["field"]
    assert answer["message"]
    assert (code, field) in {(None, None), (answer["code"], answer["field"])}
    assert [] == await stored(redis)
    assert [] == await letters(redis)
