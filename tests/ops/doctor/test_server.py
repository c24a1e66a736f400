from typing import Any

import pytest

from pombo.ops.doctor.check import Check
from pombo.ops.doctor.server import Server, clock, room, server_checks
from pombo.ops.doctor.visit import reached

SOUND = {
    "server_name": "valkey", "valkey_version": "8.1.0", "redis_version": "7.2.4", "role": "master",
    "maxmemory_policy": "noeviction", "maxmemory": 1000, "used_memory": 100, "aof_enabled": 1,
    "connected_clients": 3, "maxclients": 100,
}  # fmt: skip
CONFIG = {"appendfsync": "always", "save": "", "min-replicas-to-write": "0"}


def judged(config: dict[str, str] | None = None, **info: Any) -> dict[str, Check]:
    """The checks of a sound server with some things changed, by name."""
    server = Server({**SOUND, **info}, {**CONFIG, **(config or {})})
    return {check.name: check for check in server_checks([server])}


def wrong(config: dict[str, str] | None = None, **info: Any) -> set[str]:
    """The names of those that are not well."""
    return {name for name, check in judged(config, **info).items() if not check.ok}


def test_a_sound_server_has_no_findings() -> None:
    """A primary with AOF always, noeviction and room is well, and nothing needs a word."""
    assert all(check.ok and check.remedy is None for check in judged().values())


@pytest.mark.parametrize(
    ("info", "ok"),
    [
        ({"valkey_version": "7.2.0"}, True),
        ({"valkey_version": "7.1.9"}, False),
        ({"server_name": "redis", "valkey_version": None, "redis_version": "7.0.0"}, True),
        ({"server_name": None, "valkey_version": None, "redis_version": "6.2.14"}, False),
        ({"server_name": "redis", "valkey_version": None, "redis_version": "10.1.0"}, True),
    ],
)
def test_versions(info: dict[str, Any], ok: bool) -> None:
    """Redis 7.0 and Valkey 7.2 are the oldest that do, compared as numbers."""
    assert judged(**info)["version"].ok is ok


@pytest.mark.parametrize(
    ("config", "info", "ok", "words"),
    [
        ({"appendfsync": "always"}, {}, True, "loses nothing"),
        ({"appendfsync": "everysec"}, {}, True, "up to 2 s"),
        ({"appendfsync": "no"}, {}, False, "up to about 30 s"),
        ({"save": "3600 1 60 100"}, {"aof_enabled": 0}, False, "every 3600 s after 1 changes, every 60 s after 100"),
        ({"save": ""}, {"aof_enabled": 0}, False, "loses every event"),
    ],
)
def test_persistence_in_words(config: dict[str, str], info: dict[str, Any], ok: bool, words: str) -> None:
    """What a crash loses is said for each way of keeping data; more than seconds is a finding with a remedy."""
    check = judged(config, **info)["persistence"]
    assert ok is check.ok
    assert words in check.detail
    assert ok or (check.remedy or "").startswith("CONFIG SET append")


@pytest.mark.parametrize("aof", [0, 1])
def test_a_server_that_hides_its_configuration(aof: int) -> None:
    """Where CONFIG is forbidden nothing is guessed: what to look at by hand is the remedy."""
    server = Server({**SOUND, "aof_enabled": aof, "maxmemory_policy": None}, None)
    checks = {check.name: check for check in server_checks([server])}
    for name in ("persistence", "eviction"):
        assert checks[name].ok
        assert (checks[name].remedy or "").startswith("see ")


@pytest.mark.parametrize(
    ("config", "info", "expected"),
    [
        ({}, {"maxmemory_policy": "allkeys-lru"}, {"eviction"}),
        ({}, {"maxmemory_policy": "volatile-ttl"}, {"eviction"}),
        ({}, {"role": "slave"}, {"role"}),
        ({}, {"aof_last_write_status": "err"}, {"disk"}),
        ({}, {"rdb_last_bgsave_status": "err"}, {"disk"}),
        ({"min-replicas-to-write": "2"}, {"min_slaves_good_slaves": 1, "connected_slaves": 1}, {"replicas"}),
        ({"min-replicas-to-write": "1"}, {"min_slaves_good_slaves": 1, "connected_slaves": 1}, set()),
        ({}, {"used_memory": 900}, {"memory"}),
        ({}, {"used_memory": 899}, set()),
        ({}, {"maxmemory": 0, "used_memory": 800, "total_system_memory": 1000}, {"memory"}),
        ({}, {"maxmemory": 0, "used_memory": 700, "total_system_memory": 1000}, set()),
        ({}, {"connected_clients": 95}, {"clients"}),
    ],
)
def test_findings(config: dict[str, str], info: dict[str, Any], expected: set[str]) -> None:
    """Each thing that would lose data or stop the flow is one finding."""
    assert expected == wrong(config, **info)


def test_the_embedded_server_is_not_configured_by_hand() -> None:
    """Without maxmemory its memory is told with no advice, until the machine is nearly full."""
    for used, expected in ((100, (True, None)), (900, (False, "let workers drain it"))):
        info = {**SOUND, "maxmemory": 0, "used_memory": used, "total_system_memory": 1000}
        (check,) = (one for one in server_checks([Server(info, embedded=True)]) if one.name == "memory")
        assert expected == (check.ok, check.remedy and check.remedy.partition(",")[0])
        (check,) = (one for one in server_checks([Server(info)]) if one.name == "memory")
        assert (check.remedy or "").startswith("CONFIG SET maxmemory")


def test_nodes_are_told_apart() -> None:
    """Of a cluster what is the same on all nodes is one check; what is not names its node."""
    nodes = [Server(SOUND, CONFIG, "h:1"), Server({**SOUND, "aof_enabled": 0}, CONFIG, "h:2")]
    found = {check.name: check.ok for check in server_checks(nodes)}
    assert (True, False, True) == tuple(found[n] for n in ("persistence of h:1", "persistence of h:2", "version"))
    assert len(found) == len(judged()) + 1


def test_a_node_of_a_cluster_is_no_server_of_its_own() -> None:
    """A cluster's node behind a plain URL is a finding with the URL's right form; by a cluster's URL it is well."""
    node, whole = Server({**SOUND, "cluster_enabled": 1}), Server(SOUND)
    found = reached("redis://user:secret@cache:6379", [node])
    assert (False, "write POMBO_REDIS_URL as redis+cluster://HOST:PORT") == (found.ok, found.remedy)
    assert "secret" not in found.detail
    assert reached("rediss+cluster://cache:6379", [node]).ok
    assert reached("redis://cache:6379", [whole]).ok


def test_clocks() -> None:
    """More than two seconds between the clocks is a finding that says which one is ahead."""
    assert [True, True, False, False] == [clock(s).ok for s in (0.1, -1.9, 2.1, -3600)]
    assert "ahead of" in clock(5).detail
    assert "behind" in clock(-5).detail


def test_backlogs_that_may_take_more_than_there_is() -> None:
    """Limits that add up to more than maxmemory are worth a word; without maxmemory there is nothing to compare."""
    assert room([Server(SOUND)], [500, 501]).remedy is not None
    assert room([Server(SOUND)], [500, 500]).remedy is None
    assert room([Server({**SOUND, "maxmemory": 0})], [1001]).remedy is None
    assert "1 without limit; Redis has" in room([Server(SOUND)], [0, 1]).detail
