"""Who may send: every route, with each kind of key in each place."""

from typing import Any

import pytest
from redis.asyncio import Redis

from gateway.conftest import Start
from gateway.rig import KEYS, Keyed, Running, basic, stored_ids, track
from pombo.shared.registry import Registry
from pombo.shared.secrets import Secrets, new_secret

ROUTES = ["identify", "track", "page", "screen", "group", "alias", "i", "t", "p", "s", "g", "a", "batch", "import", "b"]
WHOLE: dict[str, Any] = {"userId": "u1", "event": "A", "groupId": "g1", "previousId": "a1", "messageId": "m1"}


def document(route: str, **own: Any) -> dict[str, Any]:
    """A sound body for a route."""
    return {"batch": [{"type": "track", **WHOLE}], **own} if route in {"batch", "import", "b"} else {**WHOLE, **own}


@pytest.mark.parametrize("route", ROUTES)
async def test_matrix(gateway: Running, bot: Keyed, other: Keyed, redis: Redis, route: str) -> None:
    """Right keys, in Basic or in the body, reach their source; wrong and missing ones are 401 and leave nothing."""
    path = f"/v1/{route}"
    keys = {bot.intake_key: 200, bot.write_key: 200, other.intake_key: 200, "wrong": 401, "": 401, " ": 401}
    by_header = {key: await gateway.post(path, document(route), key) for key in keys}
    by_body = {key: await gateway.post(path, document(route, writeKey=key)) for key in keys}
    missing = await gateway.post(path, document(route))
    assert keys == {key: answer.status_code for key, answer in by_header.items()}
    assert keys == {key: answer.status_code for key, answer in by_body.items()}
    assert (401, "no_write_key") == (missing.status_code, missing.json()["code"])
    assert ["m1"] * 4 == await stored_ids(redis, "bot")
    assert ["m1"] * 2 == await stored_ids(redis, "other")


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Basic"}, {"Authorization": "Basic Og=="}])
async def test_the_key_of_an_item(gateway: Running, bot: Keyed, redis: Redis, headers: dict[str, str]) -> None:
    """Browsers in batching mode give each item its key; an empty Basic is none."""
    body = {"batch": [track("m1", writeKey=bot.write_key), track("m2"), 7]}
    assert 200 == (await gateway.post("/v1/b", body, **headers)).status_code
    assert ["m1", "m2"] == await stored_ids(redis)


async def test_items_with_different_keys(gateway: Running, bot: Keyed, other: Keyed, redis: Redis) -> None:
    """Nobody's events get into another's source: items with different keys are refused, unless the request has one."""
    items = [track("m1", writeKey=bot.write_key), track("m2", writeKey=other.write_key)]
    mixed = await gateway.post("/v1/b", {"batch": items})
    assert (400, "mixed_write_keys") == (mixed.status_code, mixed.json()["code"])
    assert 200 == (await gateway.post("/v1/b", {"batch": items}, bot.intake_key)).status_code
    assert ["m1", "m2"] == await stored_ids(redis, "bot")
    assert [] == await stored_ids(redis, "other")


@pytest.mark.parametrize("colon", [":", "", ":password"])
async def test_basic_with_and_without_colon(gateway: Running, bot: Keyed, colon: str) -> None:
    """The key is the name of Basic; a colon and what follows it do not matter."""
    answer = await gateway.send("POST", "/v1/batch", b'{"batch":[]}', basic(bot.intake_key, colon))
    assert 200 == answer.status_code


async def test_the_header_comes_first(gateway: Running, bot: Keyed) -> None:
    """A wrong key in the header is not made good by the body's."""
    body = {"batch": [], "writeKey": bot.write_key}
    assert 401 == (await gateway.post("/v1/batch", body, "wrong")).status_code


async def test_a_new_source_and_a_new_key(gateway: Running, bot: Keyed, redis: Redis, secrets: Secrets) -> None:
    """A source that is added is known at once, and so is a key that is made anew."""
    registry = Registry(redis, KEYS, secrets)
    added = await registry.add("later", "l" * 32)
    fresh = await registry.rotate_intake_key("bot")
    statuses = [
        (await gateway.post("/v1/t", track(), key)).status_code for key in (added.intake_key, fresh, bot.intake_key)
    ]
    assert [200, 200, 401] == statuses


async def test_no_source_at_all(start: Start) -> None:
    """A registry without any source is not believed: Redis may have lost it, and a 401 makes SDKs drop events."""
    gateway = await start()
    answer = await gateway.post("/v1/t", track(), "some key")
    assert (503, "registry_unreadable") == (answer.status_code, answer.json()["code"])
    assert int(answer.headers["retry-after"]) >= 1


async def test_another_secret(start: Start, bot: Keyed) -> None:
    """With a secret that opens no key nothing can be known of any key: that is no 401."""
    gateway = await start(secret_key=new_secret())
    answer = await gateway.post("/v1/t", track(), bot.intake_key)
    assert (503, "registry_unreadable") == (answer.status_code, answer.json()["code"])


async def test_no_key_leaves_the_gateway(
    gateway: Running, bot: Keyed, caplog: pytest.LogCaptureFixture, redis: Redis
) -> None:
    """Neither keys nor payloads are in any answer or log line."""
    caplog.set_level("DEBUG")
    body = {"batch": [track("m1", properties={"cpf": "529.982.247-25"}), {"writeKey": bot.write_key}, 7]}
    for key in (bot.intake_key, bot.write_key, "pik_stranger-with-a-key"):
        answers = [
            await gateway.post("/v1/batch", body, key),
            await gateway.post("/v1/batch", {**body, "writeKey": key}),
            await gateway.post("/v1/track", {"writeKey": key}),
            await gateway.post("/v1/track", b'{"writeKey": "%s", ' % key.encode()),
        ]
        told = "".join(answer.text + str(answer.headers) for answer in answers)
        for secret in (key, "529.982", basic(key)["Authorization"].partition(" ")[2]):
            assert secret not in told
            assert secret not in caplog.text
    assert "request" in caplog.text
