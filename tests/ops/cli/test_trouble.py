import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import (
    AuthenticationError,
    ConnectionError,
    MovedError,
    RedisError,
    ResponseError,
    TimeoutError,
)

from ops.cli.commands import WRITE_KEY, Cli, events, said
from pombo.ops.cli.trouble import trouble

URL = "redis://user:secret@cache:6379/0"
UNTRUSTED = (
    "Error 1 connecting to cache:6379. [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: "
    "self-signed certificate (_ssl.c:1006)."
)


@contextmanager
def configured(redis: Redis, **settings: object) -> Iterator[None]:
    """Change the server's configuration for a while."""
    before: dict[str, Any] = {name: redis.config_get(name)[name] for name in settings}
    try:
        for name, value in settings.items():
            redis.config_set(name, str(value))
        yield
    finally:
        for name, value in before.items():
            redis.config_set(name, value)


@pytest.fixture
def replica(sync_redis: Redis) -> Iterator[None]:
    """The server as a replica of one that is not there."""
    sync_redis.replicaof("127.0.0.1", 1)
    try:
        yield
    finally:
        sync_redis.replicaof("NO", "ONE")


def add(pombo: Cli) -> str:
    """Try to add a source, and return the line that says why it cannot be."""
    answer = pombo("sources", "add", "bot", "--write-key", WRITE_KEY)
    assert answer.code in {1, 2}
    return said(answer)


def test_a_replica_refuses_writes(pombo: Cli, replica: None) -> None:
    """A replica is told from a primary, with the setting to change."""
    assert "is a replica and refuses writes; point POMBO_REDIS_URL to the primary" in add(pombo)


def test_a_replica_can_be_looked_at(pombo: Cli, bot: str, sync_redis: Redis) -> None:
    """Commands that only read work on a replica."""
    sync_redis.replicaof("127.0.0.1", 1)
    try:
        codes = [pombo(*words).code for words in (["status"], ["sources", "list"], ["dead", "list"])]
    finally:
        sync_redis.replicaof("NO", "ONE")
    assert [0, 0, 0] == codes


def test_a_full_redis_refuses_writes(pombo: Cli, sync_redis: Redis) -> None:
    """A Redis at maxmemory is said to be full, with what frees memory."""
    with configured(sync_redis, **{"maxmemory-policy": "noeviction", "maxmemory": 1}):
        line = add(pombo)
    assert "is full (maxmemory) and refuses writes" in line
    assert "`pombo dead discard`" in line


def test_a_full_redis_can_still_be_paused_and_resumed(pombo: Cli, bot: str, sync_redis: Redis) -> None:
    """What an operator needs in an incident works at maxmemory."""
    with configured(sync_redis, **{"maxmemory-policy": "noeviction", "maxmemory": 1}):
        codes = [pombo("sources", verb, bot).code for verb in ("pause", "resume")]
    assert [0, 0] == codes


def test_a_full_redis_rejects_what_is_sent(pombo: Cli, bot: str, sync_redis: Redis) -> None:
    """Events that a full Redis refuses are in the rejects file, not in a traceback."""
    with configured(sync_redis, **{"maxmemory-policy": "noeviction", "maxmemory": 1}):
        answer = pombo("send", "-", "--source", bot, "--json", "--patience", "0.2", stdin=events("m1"))
    assert (1, {"unavailable": 1}) == (answer.code, answer.json["reasons"])


def test_a_password_is_asked_for(pombo: Cli, sync_redis: Redis) -> None:
    """A missing password is wrong configuration, with the form of the URL."""
    with configured(sync_redis, requirepass="secret"):
        answer = pombo("status")
    assert answer.code == 2
    assert "put it into POMBO_REDIS_URL (redis://USER:PASSWORD@HOST:PORT)" in said(answer)


def test_a_user_without_rights_is_told(
    pombo: Cli, sync_redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user that may not do it is wrong configuration; the password is not shown."""
    sync_redis.acl_setuser("weak", enabled=True, passwords=["+hidden"], keys=["*"], categories=["+@connection"])
    monkeypatch.setenv("POMBO_REDIS_URL", redis_url.replace("unix://", "unix://weak:hidden@"))
    try:
        answer = pombo("sources", "list")
    finally:
        sync_redis.acl_deluser("weak")
    assert answer.code == 2
    assert "does not let this user do that" in said(answer)
    assert "hidden" not in answer.err


@pytest.mark.parametrize("words", [["status"], ["sources", "list"], ["jobs", "list"], ["worker", "--drain"]])
def test_redis_away(pombo: Cli, monkeypatch: pytest.MonkeyPatch, place: Path, words: list[str]) -> None:
    """A Redis that is not there is one line with its address, its setting, and `pombo up`."""
    monkeypatch.setenv("POMBO_REDIS_URL", f"unix://{place}/nothing")
    answer = pombo(*words)
    assert answer.code == 1
    assert said(answer) == (
        f"no Redis answers at unix://{place}/nothing (No such file or directory); start it or correct "
        "POMBO_REDIS_URL, or unset it and let `pombo up` start the embedded server"
    )


def test_no_embedded_server(pombo: Cli, monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    """Without any URL the embedded server is meant, which `pombo up` starts."""
    monkeypatch.delenv("POMBO_REDIS_URL")
    answer = pombo("status")
    assert answer.code == 1
    assert f"unix://{place}/home/redis.sock; `pombo up` starts the embedded server" in said(answer)


def test_the_jobs_have_a_redis_of_their_own(pombo: Cli, monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    """Trouble with the control plane's Redis names its setting."""
    monkeypatch.setenv("POMBO_JOBS_REDIS_URL", f"unix://{place}/nothing")
    answer = pombo("jobs", "list")
    assert answer.code == 1
    assert "correct POMBO_JOBS_REDIS_URL" in said(answer)


@pytest.mark.parametrize("url", ["http://localhost:6379", "localhost", "redis://localhost:port"])
def test_an_address_that_is_none(pombo: Cli, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """A URL that no client can be made of is wrong configuration."""
    monkeypatch.setenv("POMBO_REDIS_URL", url)
    answer = pombo("status")
    assert answer.code == 2
    assert said(answer).startswith("POMBO_REDIS_URL ")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ResponseError("MISCONF Errors writing to the AOF file: No space left on device"), "cannot save to its disk"),
        (ResponseError("NOREPLICAS Not enough good replicas to write."), "too few replicas"),
        (ResponseError("LOADING Redis is loading the dataset in memory"), "still loading its data"),
        (ResponseError("CLUSTERDOWN The cluster is down"), "a cluster that is down"),
        (ResponseError("OOM allow-oom flag is not set on the script"), "is full (maxmemory)"),
        (ResponseError("READONLY Can not run script with write flag on readonly replica."), "is a replica"),
        (ResponseError("unknown command 'XAUTOCLAIM'"), "Redis 7.0"),
        (ResponseError("unknown command 'SENTINEL', with args"), "is no sentinel; name sentinels"),
        (ResponseError("unknown command 'EVALSHA', with args"), "write POMBO_REDIS_URL as redis+sentinel://HOST"),
        (MovedError("8620 10.0.0.2:6379"), "is one node of a cluster; write POMBO_REDIS_URL as redis+cluster://"),
        (AuthenticationError("AUTH <password> called without any password configured"), "asks for no password"),
        (ConnectionError(UNTRUSTED), "(certificate verify failed: self-signed certificate); the file of a CA"),
        (ConnectionError("Error 1 connecting to c:1. [SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)."),
         "does not speak TLS on that port; write POMBO_REDIS_URL as redis://"),
        (ResponseError("WRONGTYPE Operation against a key"), "refused: WRONGTYPE"),
        (TimeoutError("Timeout reading from cache:6379"), "did not answer in time"),
        (ConnectionError("Error 111 connecting to cache:1. Connect call failed ('::1', 1)."), "(Connection refused)"),
        (ConnectionError("Error -2 connecting to cache:1. Name or service not known."), "(Name or service not known)"),
        (ConnectionError("Connection closed by server."), "(Connection closed by server.)"),
    ],
)  # fmt: skip
def test_each_refusal_has_its_line(error: RedisError, expected: str) -> None:
    """Every way in which a server refuses has a sentence; the password is never in it."""
    found = trouble(error, URL, "POMBO_REDIS_URL")
    assert expected in str(found)
    assert "redis://user:***@cache:6379/0" in str(found)


def test_a_server_that_takes_no_tls() -> None:
    """A plain port that is silent to a TLS handshake makes TLS the first thing to look at."""
    error = TimeoutError("Timeout connecting to server")
    assert "see whether it speaks TLS on that port" in str(trouble(error, "rediss://cache", "POMBO_REDIS_URL"))
    assert "did not answer in time" in str(trouble(error, "redis://cache", "POMBO_REDIS_URL"))


@pytest.mark.parametrize("option", ["ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_ca_path"])
def test_a_file_that_is_not_there(pombo: Cli, monkeypatch: pytest.MonkeyPatch, place: Path, option: str) -> None:
    """A file that the URL names is looked for before anybody is asked."""
    monkeypatch.setenv("POMBO_REDIS_URL", f"rediss://localhost?{option}={place}/nope")
    answer = pombo("status")
    assert answer.code == 2
    assert f"names '{place}/nope' as {option}: No such file or directory" in said(answer)


def test_nothing_of_the_test_is_left(sync_redis: Redis) -> None:
    """The server that tests share takes writes again."""
    assert sync_redis.set("left", os.getpid())
