from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import orjson
import pytest
from redis import Redis

from ops.cli.commands import WRITE_KEY, Cli, said
from pombo.ops.trial import EVENT, INTEGRATIONS, USER
from pombo.shared.keys import Keys
from support.programs import SECRET, program
from support.waiting import until


@pytest.fixture
def worker(place: Path, sync_redis: Redis, redis_url: str) -> Iterator[None]:
    """A real worker, when it beats."""
    env = {"POMBO_REDIS_URL": redis_url, "POMBO_SECRET_KEY": SECRET, "POMBO_METRICS_PORT": "0"}
    with program("worker", "--no-jobs", folder=place / "worker", **env):
        until(lambda: sync_redis.hlen(Keys().workers), "worker in the fleet")
        yield


@pytest.fixture
def source(pombo: Cli, simulator: str) -> str:
    """A source that sends to the simulator."""
    assert pombo("sources", "add", "bot", "--write-key", WRITE_KEY, "--endpoint", simulator).code == 0
    return "bot"


def arrived(simulator: str) -> list[str]:
    """The names of the events that Segment got."""
    with urlopen(f"{simulator}/_sim/events") as answer:
        return [row["event"] for row in orjson.loads(answer.read())]


def test_a_test_event_arrives(pombo: Cli, source: str, simulator: str, worker: None) -> None:
    """The event goes the whole road, its times are told, and so is what a 200 does not prove."""
    answer = pombo("sources", "test", source, "--timeout", "60", "--json")
    text = pombo("sources", "test", source, "--timeout", "60").out
    assert (0, "") == (answer.code, answer.err)
    document = answer.json
    assert ("bot", "delivered", EVENT, []) == tuple(document[n] for n in ("source", "outcome", "event", "obstacles"))
    assert 0 < document["accepted_ms"] / 1000 < document["delivered_s"]
    assert [EVENT, EVENT] == arrived(simulator)
    assert "delivered  after" in text
    assert "debugger in Segment" in text
    assert pombo("trace", document["message_id"]).code == 0


def test_a_refused_test_event_is_dead(pombo: Cli, source: str, simulator: str, worker: None) -> None:
    """What Segment refuses for good is told with its answer, and exit code 1."""
    rule = {"when": {}, "answer": {"status": 400, "body": {"success": False, "message": "Exceed payload limit"}}}
    urlopen(Request(f"{simulator}/_sim/plan", orjson.dumps([rule]), method="PUT")).close()
    answer = pombo("sources", "test", source, "--timeout", "60", "--json")
    assert (1, "dead") == (answer.code, answer.json["outcome"])
    assert "too_large: 400" in answer.json["obstacles"][0]
    assert answer.json["place"]["letter"].startswith("bot/")


def test_what_stands_in_the_way(pombo: Cli, bot: str, sync_redis: Redis) -> None:
    """Without a worker, and paused or parked, the event stays queued, and each obstacle is named."""
    answer = pombo("sources", "test", bot, "--timeout", "1", "--json")
    assert (1, "waiting") == (answer.code, answer.json["outcome"])
    assert ["no worker lives; `pombo worker` starts one"] == answer.json["obstacles"]
    pombo("sources", "pause", bot)
    paused = pombo("sources", "test", bot, "--timeout", "3600", "--json").json["obstacles"]
    assert "the source is paused; `pombo sources resume bot`" in paused
    sync_redis.hset(Keys().of(bot).flow, "parked", "answer 404")
    text = pombo("sources", "test", bot, "--timeout", "3600").out
    assert "the source is parked: answer 404" in text
    assert "It stays queued" in text


def test_a_hold_is_said(pombo: Cli, bot: str, sync_redis: Redis) -> None:
    """A hold is told with what is left of it."""
    seconds, _ = sync_redis.time()
    sync_redis.hset(Keys().of(bot).flow, "hold_until", (seconds + 600) * 1000)
    assert any("it is held for 10 min more" in one for one in _obstacles(pombo, bot))


def _obstacles(pombo: Cli, name: str) -> list[str]:
    found: list[str] = pombo("sources", "test", name, "--timeout", "1", "--json").json["obstacles"]
    return found


def test_the_test_event_is_told_from_others(pombo: Cli, bot: str, sync_redis: Redis) -> None:
    """It carries a name and a user of its own, and goes on to no destination."""
    from pombo.shared import batches

    pombo("sources", "pause", bot)
    pombo("sources", "test", bot, "--timeout", "60")
    redis: Any = sync_redis
    ((_, fields),) = [entry for p in range(8) for entry in redis.xrange(Keys().of(bot).stream(p))]
    (body,) = batches.decode(fields[b"b"], int(fields[b"n"]), int(fields[b"r"]))
    event = orjson.loads(body)
    assert (EVENT, USER, INTEGRATIONS) == (event["event"], event["userId"], event["integrations"])


def test_nothing_is_sent_that_cannot_be(pombo: Cli, bot: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown source, a switched off producer and a timeout that is none are one line each."""
    assert "no source is called 'bto'" in said(pombo("sources", "test", "bto"))
    assert pombo("sources", "test", bot, "--timeout", "0").code == 2
    monkeypatch.setenv("POMBO_DISABLED", "1")
    answer = pombo("sources", "test", bot)
    assert answer.code == 2
    assert "POMBO_DISABLED" in said(answer)
