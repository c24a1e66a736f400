from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from ops.cli.commands import WRITE_KEY, Answer, Cli, events
from ops.cli.test_trouble import configured
from pombo.shared.keys import Keys
from support.spooling import spool_events


def sound(redis: Redis) -> AbstractContextManager[None]:
    """Have the server keep what it acknowledges."""
    return configured(redis, appendonly="yes", appendfsync="always", maxmemory=1 << 30)


def wrong(answer: Answer) -> dict[str, dict[str, Any]]:
    """The findings, by name; the document must have the contract's form."""
    document = answer.json
    assert all({"name", "ok", "detail", "remedy"} == set(check) for check in document["checks"])
    found = {check["name"]: check for check in document["checks"] if not check["ok"]}
    assert all(check["remedy"] for check in found.values())
    assert (not found, bool(found)) == (document["ok"], bool(answer.code))
    return found


def test_nothing_is_wrong(pombo: Cli, simulator: str, sync_redis: Redis) -> None:
    """A sound installation is well: exit code 0, in JSON and for people."""
    pombo("sources", "add", "bot", "--write-key", WRITE_KEY, "--endpoint", simulator)
    with sound(sync_redis):
        assert {} == wrong(pombo("doctor", "--json"))
        answer = pombo("doctor")
    assert (0, "") == (answer.code, answer.err)
    assert answer.out.endswith("nothing is wrong\n")
    assert WRITE_KEY not in answer.out


def test_what_loses_data_is_found(pombo: Cli, bot: str, simulator: str, sync_redis: Redis) -> None:
    """Eviction, missing persistence, an odd write key and an endpoint that is not there are found at once."""
    pombo("sources", "add", "odd", "--write-key", "key")
    pombo("sources", "add", "away", "--write-key", "k", "--endpoint", "http://127.0.0.1:1")
    with configured(sync_redis, **{"maxmemory-policy": "allkeys-lru"}):
        found = wrong(pombo("doctor", "--json"))
    assert {"eviction", "persistence", "write key of odd", "endpoint http://127.0.0.1:1"} <= set(found)


def test_events_and_nobody_who_delivers_them(pombo: Cli, simulator: str, sync_redis: Redis) -> None:
    """Waiting events without a worker, and a source that is paused, are named with what to type."""
    pombo("sources", "add", "bot", "--write-key", WRITE_KEY, "--endpoint", simulator)
    pombo("send", "--source", "bot", stdin=events("m1"))
    pombo("sources", "pause", "bot")
    with sound(sync_redis):
        found = wrong(pombo("doctor", "--json"))
        text = pombo("doctor").out
    assert {"workers", "source bot"} == set(found)
    assert found["source bot"]["remedy"] == "`pombo sources resume bot`"
    assert "wrong" in text
    assert "-> start one: `pombo worker`" in text
    assert "2 things wrong" in text


def test_redis_is_away(pombo: Cli, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Redis what is on this machine is looked at all the same: spool, secret, switches."""
    spool_events(place / "spool", "ghost", "m1")
    monkeypatch.setenv("POMBO_REDIS_URL", "redis://127.0.0.1:1")
    monkeypatch.setenv("POMBO_SPOOL_DIR", str(place / "spool"))
    monkeypatch.setenv("POMBO_SECRET_KEY", "short")
    monkeypatch.setenv("POMBO_DISABLED", "1")
    answer = pombo("doctor", "--json")
    assert {"redis", "secret key", "producers"} == set(wrong(answer))
    assert "1 event" in next(check["detail"] for check in answer.json["checks"] if check["name"] == "spool of ghost")


def test_spooled_events_of_a_source_that_does_not_exist(
    pombo: Cli, place: Path, sync_redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was spooled for a source that does not exist is named."""
    spool_events(place / "spool", "ghost", "m1")
    monkeypatch.setenv("POMBO_SPOOL_DIR", str(place / "spool"))
    with sound(sync_redis):
        assert {"spool of ghost"} == set(wrong(pombo("doctor", "--json")))


@pytest.mark.parametrize(
    ("name", "value"),
    [("POMBO_REDIS_URL", "http://x"), ("POMBO_METRICS_PORT", "many"), ("POMBO_JOBS_REDIS_URL", "redis://127.0.0.1:1")],
)
def test_settings_that_cannot_be_used(pombo: Cli, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """A setting that cannot be used is a finding that names it, not the end of the visit."""
    monkeypatch.setenv(name, value)
    assert any(name in f"{check['detail']} {check['remedy']}" for check in wrong(pombo("doctor", "--json")).values())


def test_a_full_redis_can_be_examined(pombo: Cli, bot: str, sync_redis: Redis) -> None:
    """At maxmemory the doctor reads everything, and says that it is full."""
    with configured(sync_redis, **{"maxmemory-policy": "noeviction", "maxmemory": 1}):
        found = wrong(pombo("doctor", "--json"))
    assert "memory" in found
    assert not {"redis", "data"} & set(found)


def test_a_server_that_forbids_config(
    pombo: Cli, bot: str, sync_redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where CONFIG is forbidden, as managed servers do, what cannot be seen is told and is no finding."""
    commands = ["+@all", "-config"]
    sync_redis.acl_setuser(
        "managed", enabled=True, passwords=["+hidden"], keys=["*"], commands=commands, channels=["*"]
    )
    monkeypatch.setenv("POMBO_REDIS_URL", redis_url.replace("unix://", "unix://managed:hidden@"))
    try:
        answer = pombo("doctor", "--json")
    finally:
        sync_redis.acl_deluser("managed")
    (check,) = [check for check in answer.json["checks"] if check["name"] == "persistence"]
    assert check["ok"]
    assert "cannot be seen" in check["detail"]
    assert "hidden" not in answer.out


def test_another_secret_names_the_sources_it_does_not_open(
    pombo: Cli, bot: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Write keys that this secret does not open are counted and named."""
    monkeypatch.setenv("POMBO_SECRET_KEY", "pbs_another-secret-that-knows-nothing-of-the-first")
    assert "1 of 1 cannot be read, and nothing is sent: bot" in wrong(pombo("doctor", "--json"))["write keys"]["detail"]


def test_partitions_whose_worker_is_gone(pombo: Cli, bot: str, sync_redis: Redis) -> None:
    """Old events in a partition that only a vanished worker holds are a finding while others live; new ones are not."""
    of = Keys().of(bot)
    sync_redis.xadd(of.stream(3), {"n": 1, "r": 1, "b": b"x"}, id="1000-0")
    sync_redis.hset(of.ledger, mapping={"accepted": 1, "queued": 1})
    sync_redis.set(of.lease(3), "gone:token")
    sync_redis.hset(Keys().workers, "w1", b'{"v":1,"beat":3,"host":"h"}')
    assert "bot (1)" in wrong(pombo("doctor", "--json"))["partitions"]["detail"]
    sync_redis.xadd(of.stream(4), {"n": 1, "r": 1, "b": b"x"})
    sync_redis.set(of.lease(3), "w1:token")
    assert "partitions" not in wrong(pombo("doctor", "--json"))


def test_what_redis_lost(pombo: Cli, bot: str, sync_redis: Redis) -> None:
    """A loss that nobody has acknowledged is a finding that leads to the audit."""
    assert "losses" not in wrong(pombo("doctor", "--json"))
    sync_redis.hset(Keys().of(bot).ledger, "forgotten", 3)
    sync_redis.xadd(Keys().losses, {"kind": "emptied", "worker": "w"})
    found = wrong(pombo("doctor", "--json"))["losses"]
    assert "Redis was emptied at" in found["detail"]
    assert found["detail"].endswith(f"it forgot accepted events of {bot}")
    assert "pombo audit --acknowledge" in found["remedy"]


def test_no_colours_where_none_are_wanted(program: Cli) -> None:
    """A pipe gets no escape sequences."""
    assert "\x1b" not in program("doctor", NO_COLOR="1", FORCE_COLOR="").out
