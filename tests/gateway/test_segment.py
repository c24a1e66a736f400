"""Segment's routes, as SDKs use them."""

import gzip
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from gateway.rig import KEYS, Keyed, Running, basic, letters, problems, stored, stored_ids, track
from pombo.shared.ledger import read_ledger

CALLS: dict[str, dict[str, Any]] = {
    "identify": {"traits": {"plan": "gold"}},
    "track": {"event": "Message Sent", "properties": {"channel": "whatsapp"}},
    "page": {"name": "Home"},
    "screen": {"name": "Main"},
    "group": {"groupId": "g1"},
    "alias": {"previousId": "a1"},
}
SINGLE = [(spelling, kind) for kind in CALLS for spelling in (kind, kind[0])]


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize(("route", "kind"), SINGLE)
async def test_single_call(gateway: Running, bot: Keyed, redis: Redis, *, route: str, kind: str, slash: str) -> None:
    """Each call, long and short, with and without a trailing slash, becomes one event of its type."""
    event = {"userId": "u1", "messageId": "m1", **CALLS[kind]}
    answer = await gateway.post(f"/v1/{route}{slash}", event, bot.intake_key)
    assert (200, b'{"success": true}') == (answer.status_code, answer.content)
    (found,) = await stored(redis)
    assert {"type": kind, **event} == {name: found[name] for name in ("type", *event)}


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("route", ["batch", "import", "b"])
async def test_batch(gateway: Running, bot: Keyed, redis: Redis, route: str, slash: str) -> None:
    """Each spelling of the batch route takes all of its items, in their order."""
    items = [{"type": kind, "userId": "u1", "messageId": kind, **fields} for kind, fields in CALLS.items()]
    answer = await gateway.post(f"/v1/{route}{slash}", {"batch": items}, bot.intake_key)
    assert (200, b'{"success": true}') == (answer.status_code, answer.content)
    assert list(CALLS) == await stored_ids(redis)


async def test_the_route_says_the_type(gateway: Running, bot: Keyed, redis: Redis) -> None:
    """On a route of one call the body's own type does not count."""
    await gateway.post("/v1/track", track("m1", type="identify"), bot.intake_key)
    (found,) = await stored(redis)
    assert "track" == found["type"]


async def test_empty_batch(gateway: Running, bot: Keyed) -> None:
    """A batch without items is taken, as Segment does."""
    answer = await gateway.post("/v1/batch", {"batch": []}, bot.intake_key)
    assert (200, {"success": True}) == (answer.status_code, answer.json())


async def test_browser_metrics_are_taken_and_forgotten(gateway: Running) -> None:
    """What the browser SDK tells of itself is answered 200, without a key."""
    answer = await gateway.post("/v1/m", {"series": []})
    assert (200, {"success": True}) == (answer.status_code, answer.json())


async def test_text_plain_and_gzip(gateway: Running, bot: Keyed, redis: Redis) -> None:
    """No content type is refused, and gzip is inflated, also of several members."""
    body = orjson.dumps({"batch": [track("m1")], "writeKey": bot.write_key})
    halves = gzip.compress(body[:20]) + gzip.compress(body[20:])
    plain = await gateway.post("/v1/b", body, **{"Content-Type": "text/plain"})
    packed = await gateway.post("/v1/b", gzip.compress(body), **{"Content-Encoding": "gzip"})
    cut = await gateway.post("/v1/b", halves, **{"Content-Encoding": "x-gzip", "Content-Type": "text/plain"})
    assert [200, 200, 200] == [plain.status_code, packed.status_code, cut.status_code]
    assert ["m1"] * 3 == await stored_ids(redis)


async def test_chunked(gateway: Running, bot: Keyed, redis: Redis) -> None:
    """A chunked body without a length, gzipped as Kotlin's SDK sends it, is taken."""
    body = gzip.compress(orjson.dumps({"batch": [track("m1")], "writeKey": bot.write_key}))

    async def chunks() -> Any:
        for at in range(0, len(body), 7):
            yield body[at : at + 7]

    answer = await gateway.send("POST", "/v1/b", chunks(), {"Content-Encoding": "gzip"})
    assert 200 == answer.status_code
    assert ["m1"] == await stored_ids(redis)


async def test_what_a_batch_has_in_common(gateway: Running, bot: Keyed, redis: Redis) -> None:
    """Context and integrations of the batch lie beneath those of each item, key by key; nulls count as absent."""
    document = {
        "batch": [
            track("m1", context={"ip": "1.2.3.4", "library": {"name": "own"}}),
            track("m2") | {"context": None, "integrations": None},
        ],
        "context": {"library": {"name": "analytics-go", "version": "3.3.0"}, "locale": "pt-BR"},
        "integrations": {"All": False},
        "messageId": "of-the-batch",
        "sequence": 1,
    }
    await gateway.post("/v1/import/", document, bot.intake_key)
    first, second = await stored(redis)
    assert {"ip": "1.2.3.4", "library": {"name": "own"}, "locale": "pt-BR"} == first["context"]
    assert document["context"] == second["context"]
    assert [{"All": False}] * 2 == [first["integrations"], second["integrations"]]


async def test_unknown_keys_are_handed_on(gateway: Running, bot: Keyed, redis: Redis) -> None:
    """Keys that pombo does not know go to Segment; the write key and sentAt of an item do not."""
    item = track("m1", _metadata={"nodeVersion": "v20"}, futureField=1, writeKey=bot.write_key, sentAt="now")
    await gateway.post("/v1/batch", {"batch": [item]}, bot.intake_key)
    (found,) = await stored(redis)
    assert ({"nodeVersion": "v20"}, 1) == (found["_metadata"], found["futureField"])
    assert set() == {"writeKey", "sentAt"} & set(found)


async def test_an_event_without_an_id_gets_one(gateway: Running, bot: Keyed, redis: Redis) -> None:
    """What an event lacks, its messageId and timestamp, is made."""
    await gateway.post("/v1/batch", {"batch": [track(), track()]}, bot.intake_key)
    first, second = await stored(redis)
    assert first["messageId"] != second["messageId"]
    assert 36 == len(first["messageId"])
    assert first["timestamp"].endswith("Z")


async def test_copies_are_left_to_the_workers(gateway: Running, bot: Keyed, redis: Redis) -> None:
    """The same messageId twice is taken twice: whether it was sent is for the claim to find out."""
    for _ in range(2):
        assert 200 == (await gateway.post("/v1/t", track("m1"), bot.intake_key)).status_code
    assert ["m1", "m1"] == await stored_ids(redis)


async def test_large_bodies(gateway: Running, bot: Keyed, redis: Redis) -> None:
    """A body of 1.2 MB, as Node's SDK sends them by mistake, is taken."""
    items = [track(f"m{number}", properties={"text": "i" * 30_000}) for number in range(40)]
    answer = await gateway.post("/v1/batch", {"batch": items}, bot.intake_key)
    assert (200, {"success": True}) == (answer.status_code, answer.json())
    assert 40 == len(await stored(redis))


async def test_invalid_items_of_a_batch(gateway: Running, bot: Keyed, redis: Redis) -> None:
    """What cannot be sent is told by index, code and message, and kept as dead letters; the rest is taken."""
    items: list[Any] = [
        track("m0"),
        track("m1", userId=7),
        track("m2", properties={"text": "x" * 40_000}),
        "no event",
        track("m4") | {"type": None, "writeKey": bot.write_key},
        track("m5"),
    ]
    answer = await gateway.post("/v1/batch", {"batch": items}, bot.intake_key)
    rejected = answer.json()["rejected"]
    assert (200, True) == (answer.status_code, answer.json()["success"])
    assert [(1, "id_not_string"), (2, "too_large"), (3, "not_an_event"), (4, "missing_type")] == [
        (one["index"], one["code"]) for one in rejected
    ]
    assert ["m0", "m5"] == await stored_ids(redis)
    dead = await letters(redis)
    assert ["invalid", "too_large", "invalid", "invalid"] == [letter.header.reason for letter in dead]
    assert [one["message"] for one in rejected] == [letter.header.answer for letter in dead]
    assert [items[1], items[2], items[3]] == [letter.show()["payload"] for letter in dead[:2]] + [
        orjson.loads(dead[2].payload)
    ]
    assert bot.write_key.encode() not in dead[3].payload
    assert () == await problems(redis)
    ledger = await read_ledger(redis, KEYS.of("bot"))
    assert (6, 2, 4) == (ledger.accepted, ledger.queued, ledger.dead)
    assert {"track": 4, "unknown": 2} == ledger.accepted_by_type


async def test_a_batch_of_invalid_items_alone(gateway: Running, bot: Keyed, redis: Redis) -> None:
    """Even then the batch is taken: nothing in it would become better by a repeat."""
    answer = await gateway.post("/v1/batch", {"batch": [{}, {}]}, bot.intake_key)
    assert (200, 2) == (answer.status_code, len(answer.json()["rejected"]))
    assert () == await problems(redis)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"event": "A"}, "no_user_anon_id"),
        ({"userId": "u1"}, "event_not_defined"),
        ({"userId": "u1", "event": "A", "properties": {"text": "x" * 40_000}}, "too_large"),
        ({"userId": "u1", "event": "A", "timestamp": "yesterday"}, "timestamp_invalid"),
    ],
)
async def test_an_invalid_call(gateway: Running, bot: Keyed, redis: Redis, body: dict[str, Any], code: str) -> None:
    """A single call that cannot be sent is answered 400 with code and message, and is not accepted."""
    answer = await gateway.post("/v1/track", body, bot.intake_key)
    told = answer.json()
    assert (400, False, code) == (answer.status_code, told["success"], told["code"])
    assert told["message"]
    counted = "too_large" if code == "too_large" else "invalid"
    metrics = (await gateway.send("GET", "/metrics")).text
    assert f'pombo_rejected_events_total{{reason="{counted}",source="bot"}} 1.0' in metrics
    assert 0 == (await read_ledger(redis, KEYS.of("bot"))).accepted


async def test_nan_sinks_no_batch(gateway: Running, bot: Keyed, redis: Redis) -> None:
    """NaN, which Python's SDK writes, kills the one event that has it; half an emoji, none."""
    body = (
        b'{"batch":[{"type":"track","userId":"u1","event":"A","messageId":"m1","properties":{"price":NaN}},'
        b'{"type":"track","userId":"u1","event":"B \\ud83d","messageId":"m2"}]}'
    )
    answer = await gateway.post("/v1/batch", body, bot.intake_key)
    assert [(0, "not_finite")] == [(one["index"], one["code"]) for one in answer.json()["rejected"]]
    assert ["m2"] == await stored_ids(redis)
    (letter,) = await letters(redis)
    assert b'{"price":NaN}' in letter.payload
    assert ("m1", {"price": "NaN"}) == (letter.event["messageId"], letter.show()["payload"]["properties"])


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "malformed_json"),
        (b"{", "malformed_json"),
        (b'{"batch": [\xff]}', "malformed_json"),
        (b"[]", "invalid_request"),
        (b"7", "invalid_request"),
        (b"{}", "invalid_request"),
        (b'{"batch": {}}', "invalid_request"),
        (b'{"batch": [' + b"[" * 100_000 + b"]" * 100_000 + b"]}", "nested_too_deep"),
    ],
)
async def test_what_is_no_batch(gateway: Running, bot: Keyed, body: bytes, code: str) -> None:
    """What can never be read is answered 400 with code and message."""
    answer = await gateway.post("/v1/batch", body, bot.intake_key)
    assert (400, False, code) == (answer.status_code, answer.json()["success"], answer.json()["code"])


async def test_too_many_items(gateway: Running, bot: Keyed) -> None:
    """A batch has a most number of events."""
    answer = await gateway.post("/v1/batch", {"batch": [0] * 10_001}, bot.intake_key)
    assert (413, "too_many_events") == (answer.status_code, answer.json()["code"])


async def test_wrong_method_and_route(gateway: Running, bot: Keyed) -> None:
    """Both are told in JSON; no path is redirected."""
    method = await gateway.send("GET", "/v1/batch")
    assert (405, "method_not_allowed", "POST, OPTIONS") == (
        method.status_code,
        method.json()["code"],
        method.headers["allow"],
    )
    for path in ("/", "/v1", "/v1/", "/v1/nothing", "/v1/batch//", "//v1/batch", "/v1/batch/x"):
        answer = await gateway.post(path, {"batch": []}, bot.intake_key)
        assert (404, "not_found") == (answer.status_code, answer.json()["code"]), path


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("/v2/batch", {"/v1/batch", "/blip/SOURCE", "/quickbot/SOURCE"}),
        ("/v1/nothing", {"/v1/batch"}),
        ("/blip/bot/nothing", {"/blip/SOURCE"}),
        ("/quickbot", {"/quickbot/SOURCE"}),
    ],
)
async def test_a_wrong_route_is_told_the_right_ones(gateway: Running, bot: Keyed, path: str, named: set[str]) -> None:
    """The refusal names the routes of the platform that the path begins with, or those of all platforms."""
    message = (await gateway.post(path, {"batch": []}, bot.intake_key)).json()["message"]
    assert named == {route for route in ("/v1/batch", "/blip/SOURCE", "/quickbot/SOURCE") if route in message}


async def test_preflight(gateway: Running, bot: Keyed) -> None:
    """A browser may send from any page, with the headers that its SDK sets."""
    asked = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
    preflight = await gateway.send("OPTIONS", "/v1/t", headers=asked)
    assert (200, "*") == (preflight.status_code, preflight.headers["access-control-allow-origin"])
    allowed = preflight.headers["access-control-allow-headers"].lower().split(", ")
    assert {"authorization", "content-type", "x-retry-count"} <= set(allowed)
    answer = await gateway.post("/v1/t", track(), bot.write_key, Origin="https://shop.example")
    assert "*" == answer.headers["access-control-allow-origin"]


async def test_no_date_and_key_in_the_wrong_place(gateway: Running, bot: Keyed, redis: Redis) -> None:
    """A header that is no Basic, such as an OAuth token, leaves the word to the body's key."""
    body = {"batch": [track("m1")], "writeKey": bot.write_key}
    answer = await gateway.post("/v1/batch", body, Authorization="Bearer token")
    assert 200 == answer.status_code
    assert {} != basic(bot.write_key)
    assert ["m1"] == await stored_ids(redis)
