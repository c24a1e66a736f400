"""Hostile requests: each gets an answer that the documentation knows, nothing breaks, and what is stored is sound."""

import json
import os
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from gateway.rig import KEYS, Keyed, Running, letters, problems, stored, stored_ids
from pombo.shared.registry import Registry
from pombo.shared.secrets import Secrets
from support.hostile import Hostility, Keys
from support.hostilefire import fire

TOLD = {0, 200, 400, 401, 403, 404, 405, 413, 415, 429, 431}
"""What `docs/gateway.md` has for requests that come in time; 0: the request itself had no end."""
BUGS = ("request.failed", "item.unreadable", "letters.failed", "Traceback")


@pytest.fixture
async def blip(bot: Keyed, redis: Redis, secrets: Secrets) -> Keyed:
    """Source `bot`, which takes Blip's items."""
    await Registry(redis, KEYS, secrets).set("bot", blip=True)
    return bot


async def test_hostile_requests(gateway: Running, blip: Keyed, redis: Redis, caplog: pytest.LogCaptureFixture) -> None:
    """Three thousand bent requests get documented answers and meet no bug; what was taken is sound and counted."""
    seed = int(os.environ.get("POMBO_HOSTILE_SEED", random.randrange(1 << 32)))
    print(f"POMBO_HOSTILE_SEED={seed}")
    keys = Keys(blip.name, blip.intake_key, blip.write_key)
    seen = await fire(gateway.port, Hostility(keys, seed), 3_000)
    assert [] == seen.wrong
    assert set() == set(seen.statuses) - TOLD, seen.statuses
    assert [] == [bug for bug in BUGS if bug in caplog.text]
    assert () == await problems(redis)
    events = await stored(redis)
    assert seen.statuses[200] > 1_000
    assert len(events) > 1_000
    for event in events:
        assert event.get("userId") or event.get("anonymousId"), event
        assert event["type"] != "track" or event["event"], event


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
NAMES = (
    *("type", "userId", "anonymousId", "event", "messageId", "timestamp", "sentAt", "properties", "traits", "context"),
    *("integrations", "groupId", "previousId", "name", "category", "writeKey"),
)
SOUND = {"type": "track", "userId": "u1", "event": "E", "groupId": "g", "previousId": "p"}
ITEMS = st.fixed_dictionaries({}, optional=dict.fromkeys(NAMES, JSON)).map(lambda own: {**SOUND, **own}) | JSON


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(items=st.lists(ITEMS, max_size=6), common=st.fixed_dictionaries({}, optional={"context": JSON, "sentAt": JSON}))
async def test_every_item_is_somewhere(
    gateway: Running, bot: Keyed, redis: Redis, items: list[Any], common: dict[str, Any]
) -> None:
    """Of any batch each item is stored, or a dead letter that the answer names; there is no third."""
    before = len(await stored_ids(redis)), len(await letters(redis))
    answer = await gateway.post("/v1/batch", json.dumps({"batch": items, **common}).encode(), bot.intake_key)
    after = len(await stored_ids(redis)), len(await letters(redis))
    assert 200 == answer.status_code, answer.text
    rejected = answer.json().get("rejected", [])
    assert (len(items) - len(rejected), len(rejected)) == (after[0] - before[0], after[1] - before[1])
    assert len({one["index"] for one in rejected}) == len(rejected)
