"""Connections: which URLs are taken, what is shown of them, which trouble passes."""

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import pytest
from redis import Redis, exceptions
from redis.asyncio import Redis as AsyncRedis

from pombo.shared.connection import (
    SOCKET_POINTER,
    aconnect,
    astray,
    connect,
    embedded_socket,
    redact,
    redis_url,
    refused,
    transient,
)
from pombo.shared.errors import ConfigurationError
from pombo.shared.scripts import Argument, Script
from pombo.shared.settings import Settings


def settings_with(monkeypatch: pytest.MonkeyPatch, folder: Path, **env: str) -> Settings:
    """Settings of a process in an empty folder with this environment."""
    monkeypatch.chdir(folder)
    monkeypatch.delenv("POMBO_REDIS_URL", raising=False)
    monkeypatch.setenv("POMBO_HOME", str(folder))
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    return Settings()


# -- URLs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "redis://localhost:6379/0",
        "redis://:secret@localhost",
        "redis://user:secret@redis.example:6380/3",
        "rediss://user:secret@redis.example:6380",
        "redis://[::1]:6379",
        "unix:///run/redis.sock",
        "unix:///run/redis.sock?db=2",
    ],
)
def test_redis_urls_are_taken(url: str) -> None:
    """A client can be made of every form, without a connection."""
    with connect(url) as client:
        assert isinstance(client, Redis)
    assert isinstance(aconnect(url), AsyncRedis)


@pytest.mark.parametrize("url", ["", "localhost", "localhost:6379", "http://localhost", "redis", "/run/redis.sock"])
def test_other_urls_are_refused(url: str) -> None:
    """The message says which variable, what was given and what is known."""
    for make in (connect, aconnect):
        with pytest.raises(ConfigurationError, match=r"POMBO_REDIS_URL .* redis://, rediss://, unix://"):
            make(url)


@pytest.mark.parametrize("url", ["redis://localhost:port", "redis://localhost:99999", "redis://:secret@localhost:x/0"])
def test_unusable_ports_are_refused(url: str) -> None:
    """A port that is none is told at once, and no password with it."""
    for make in (connect, aconnect):
        with pytest.raises(ConfigurationError, match=r"[Pp]ort") as raised:
            make(url)
        assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://user@localhost", "redis://user@localhost"),
        ("redis://:secret@localhost", "redis://:***@localhost"),
        ("rediss://user:secret@redis.example:6380/3", "rediss://user:***@redis.example:6380/3"),
        ("redis://user:se%40cret@localhost", "redis://user:***@localhost"),
        ("redis://user:se@cret@localhost", "redis://user:***@localhost"),
        ("redis://redis:redis@redis", "redis://redis:***@redis"),
        ("unix://user:secret@/run/redis.sock", "unix://user:***@/run/redis.sock"),
        ("redis+sentinel://:secret@a:26379,b:26379/main/0", "redis+sentinel://:***@a:26379,b:26379/main/0"),
        ("redis://me@corp.example:secret@localhost:6379", "redis://me@corp.example:***@localhost:6379"),
        ("redis://:secret@[::1]:6379/0", "redis://:***@[::1]:6379/0"),
        ("redis://:a\nsecret@localhost", "redis://:***@localhost"),
        ("redis://h:6379/0?db=2&client_name=bot", "redis://h:6379/0?db=2&client_name=bot"),
        ("redis://h?username=u&password=secret", "redis://h?username=u&password=***"),
        ("rediss://h?ssl_certfile=/c&ssl_password=secret", "rediss://h?ssl_certfile=/c&ssl_password=***"),
        ("unix:///run/a:b/redis.sock?db=2", "unix:///run/a:b/redis.sock?db=2"),
        ("redis://[::1]:6379", "redis://[::1]:6379"),
        ("localhost:6379", "localhost:6379"),
    ],
)
def test_passwords_are_not_shown(url: str, shown: str) -> None:
    """People and logs see everything but the password."""
    assert shown == redact(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://user:secret@localhost",
        "redis2://user:secret@localhost",
        "redis-x://user:secret@localhost",
        "redis:user:secret@localhost",
        "redis:/user:secret@localhost",
        "redis//user:secret@localhost",
        "//user:secret@localhost",
        "user:secret@localhost",
        ":secret@localhost",
        " redis://user:secret@localhost",
        "'redis://user:secret@localhost'",
        "redis://redis://user:secret@localhost",
        "redis://us/er:secret@localhost",
        "redis://:x/secret@localhost",
        "redis://:1/secret@localhost",
        "redis://:1#secret@localhost",
        "redis://:1?secret@localhost",
        "redis://:1?secret=1@localhost",
        "redis://:x[secret@localhost",
        "redis://:x@secret@localhost:port",
        "redis://user:secret",
        "redis://:secret%40localhost:6379",
        "redis://localhost:6379@user:secret",
        "redis://user:secret@localhost:port",
        "redis://localhost?pass=secret",
        "redis://localhost?password=1&secret",
        "redis://localhost?password=1&secret=1",
        "redis://localhost?password=1#secret&x=1",
        "redis://localhost?PASSWORD=secret",
        "redis://localhost?pass%77ord=secret&x=1",
        "redis://localhost?db=1&secret&x=1",
        "redis://localhost?db=x&password=secret",
        "redis://localhost:6379,password=secret,ssl=True",
        "unix://user:se/secret@/run/redis.sock",
    ],
)
def test_refusals_do_not_show_the_password(url: str) -> None:
    """However a URL is malformed, it is refused as a setting, and its password is not shown."""
    assert "secret" not in redact(url)
    for make in (connect, aconnect):
        with pytest.raises(ConfigurationError) as raised:
            make(url)
        assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("redis://localhost", "?timeout=5"),
        ("redis://localhost", "?db=1&retry_on_timeout=yes"),
        ("redis://localhost", "?decode_responses=True"),
        ("redis://localhost", "?socket_timeout="),
        ("redis://localhost", "?ssl_ca_certs=/c"),
        ("unix:///run/redis.sock", "?ssl_cert_reqs=none"),
        ("rediss://localhost", "?ssl_ciphers=x"),
    ],
)
def test_unknown_options_are_refused(url: str, options: str) -> None:
    """An option that would be ignored, break the client or change what it promises is refused, with the known ones."""
    for make in (connect, aconnect):
        with pytest.raises(ConfigurationError, match=r"unknown option.*client_name"):
            make(url + options)


def test_known_options_are_taken(tmp_path: Path) -> None:
    """The options that pombo knows reach the client; those of TLS belong to `rediss`."""
    with connect("redis://h?db=3&username=u&password=p&client_name=bot&health_check_interval=9") as client:
        found = client.connection_pool.connection_kwargs
        assert (3, "u", "p", "bot", 9) == tuple(
            found[name] for name in ("db", "username", "password", "client_name", "health_check_interval")
        )
    file = tmp_path / "ca"
    file.touch()
    with connect(f"rediss://h?ssl_ca_certs={file}&ssl_check_hostname=no") as client:
        assert str(file) == client.connection_pool.connection_kwargs["ssl_ca_certs"]


@pytest.mark.parametrize("option", ["db=x", "health_check_interval=soon"])
def test_unusable_options_are_refused(option: str) -> None:
    """A known option with a value that is none of its kind is told at once."""
    for make in (connect, aconnect):
        with pytest.raises(ConfigurationError, match="POMBO_REDIS_URL"):
            make(f"redis://localhost?{option}")


def test_url_in_force_is_the_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The setting goes before the embedded server."""
    made = settings_with(monkeypatch, tmp_path, POMBO_REDIS_URL="redis://elsewhere")
    assert "redis://elsewhere" == redis_url(made)


def test_url_in_force_is_else_the_embedded_socket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a setting the embedded server's socket is used, where its pointer says if there is one."""
    made = settings_with(monkeypatch, tmp_path)
    assert f"unix://{tmp_path}/redis.sock" == redis_url(made)
    (tmp_path / SOCKET_POINTER).write_text("/tmp/short/s\n")
    assert "/tmp/short/s" == embedded_socket(made)
    assert "unix:///tmp/short/s" == redis_url(made)


# -- clients -------------------------------------------------------------------------------------------------


async def test_clients_speak_bytes_and_do_not_repeat(redis_url: str) -> None:
    """Replies are bytes, and the library's own retries are off."""
    with connect(redis_url) as client:
        client.set("a", "b")
        assert b"b" == client.get("a")
        assert 0 == client.connection_pool.connection_kwargs["retry"]._retries
    other = aconnect(redis_url)
    assert b"b" == await other.get("a")
    assert 0 == other.connection_pool.connection_kwargs["retry"]._retries
    await other.aclose()


async def test_scripts_get_their_arguments_as_they_are(redis_url: str) -> None:
    """Whatever a script is given, both clients write it the same way, to the last digit and byte."""
    given: list[Argument] = ["", "ção 🕊 two words", b"\x00\r\n\xff", b"", 0, -7, (1 << 63) - 1, 1 << 64, 0.25, 1e21]
    echo = Script("echo", "return ARGV", hashlib.sha1(b"return ARGV", usedforsecurity=False).hexdigest())
    numbers = [b"0", b"-7", b"9223372036854775807", b"18446744073709551616", b"0.25", b"1e+21"]
    expected = [b"", "ção 🕊 two words".encode(), b"\x00\r\n\xff", b"", *numbers]
    with connect(redis_url) as client:
        assert [expected, expected] == [echo.call(client, [], given) for _ in range(2)]
    other = aconnect(redis_url)
    assert [expected, expected] == [await echo.acall(other, [], given) for _ in range(2)]
    await other.aclose()


async def test_cut_reply_is_not_asked_for_again(tmp_path: Path) -> None:
    """A command whose reply never came was sent once."""
    commands: list[bytes] = []

    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1000):
            commands.append(data)
            if b"INCR" in data:
                break
            writer.write(b"+OK\r\n" * data.count(b"*"))
        writer.close()

    socket = str(tmp_path / "s")
    async with await asyncio.start_unix_server(cut, socket):
        client = aconnect(f"unix://{socket}")
        with pytest.raises(exceptions.ConnectionError):
            await client.incr("n")
        await client.aclose()
    assert 1 == b"".join(commands).count(b"INCR")


# -- trouble -------------------------------------------------------------------------------------------------

REFUSALS: list[Exception] = [
    exceptions.BusyLoadingError("LOADING Redis is loading the dataset in memory"),
    exceptions.ReadOnlyError("READONLY You can't write against a read only replica."),
    exceptions.OutOfMemoryError("OOM command not allowed when used memory > 'maxmemory'."),
    exceptions.NoScriptError("NOSCRIPT No matching script."),
    exceptions.MasterDownError("MASTERDOWN Link with MASTER is down"),
    exceptions.ClusterDownError("CLUSTERDOWN The cluster is down"),
    exceptions.TryAgainError("TRYAGAIN Multiple keys request during rehashing of slot"),
    exceptions.MovedError("12182 127.0.0.1:7001"),
    exceptions.AskError("12182 127.0.0.1:7001"),
    exceptions.ResponseError("OOM command not allowed when used memory > 'maxmemory'. script: abc, on @user_script:1."),
    exceptions.ResponseError("MISCONF Redis is configured to save RDB snapshots"),
    exceptions.ResponseError("NOREPLICAS Not enough good replicas to write."),
    exceptions.ResponseError("BUSY Redis is busy running a script."),
]
LOST: list[Exception] = [
    exceptions.ConnectionError("Connection closed by server."),
    exceptions.TimeoutError("Timeout reading from socket"),
    ConnectionResetError(),
    BrokenPipeError(),
    FileNotFoundError("no socket"),
    TimeoutError(),
]
LASTING: list[Exception] = [
    exceptions.ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value"),
    exceptions.ResponseError("ERR value is not an integer or out of range"),
    exceptions.ResponseError("ERR this mentions OOM and LOADING somewhere"),
    exceptions.DataError("Invalid input"),
    exceptions.RedisError("anything"),
]


@pytest.mark.parametrize("error", REFUSALS, ids=repr)
def test_refusals_may_go_again(error: exceptions.RedisError) -> None:
    """A server that refused before it did anything may be asked again, at once or later."""
    assert (True, True) == (refused(error), transient(error))


NO_PERMISSION = exceptions.NoPermissionError("User bot has no permissions to run the 'evalsha' command")


def test_missing_permission_refuses_but_does_not_pass() -> None:
    """The server did nothing, and will not do it before somebody changes the user's ACL."""
    assert (True, False) == (refused(NO_PERMISSION), transient(NO_PERMISSION))
    in_script = exceptions.NoPermissionError("ACL failure in script: User bot has no permissions to run 'get'")
    assert (False, False) == (refused(in_script), transient(in_script))


@pytest.mark.parametrize(
    ("error", "is_astray"),
    [
        (exceptions.ReadOnlyError("READONLY"), True),
        (exceptions.ConnectionError("Connection closed by server."), True),
        (exceptions.TimeoutError("Timeout reading from socket"), True),
        (BrokenPipeError(), True),
        (exceptions.BusyLoadingError("LOADING"), False),
        (exceptions.OutOfMemoryError("OOM"), False),
        (exceptions.ResponseError("WRONGTYPE"), False),
    ],
)
def test_astray(error: Exception, is_astray: bool) -> None:
    """After READONLY and lost connections somebody else may be primary."""
    assert is_astray == astray(error)


@pytest.mark.parametrize("error", LOST, ids=repr)
def test_lost_connections_pass_but_refuse_nothing(error: Any) -> None:
    """After a lost connection the command may have run: it passes, but is no refusal."""
    assert transient(error)
    assert not refused(error)


@pytest.mark.parametrize("error", [*LASTING, ValueError("ours"), KeyError("ours")], ids=repr)
def test_other_errors_do_not_pass(error: Any) -> None:
    """What would fail again is not repeated."""
    assert (False, False) == (refused(error), transient(error))


async def test_full_redis_is_recognised(redis_url: str) -> None:
    """The refusal of a real server at its memory limit is a refusal."""
    client = aconnect(redis_url)
    await client.config_set("maxmemory", "1")
    try:
        with pytest.raises(exceptions.RedisError) as raised:
            await client.set("a", "b")
        with pytest.raises(exceptions.RedisError) as by_script:
            await client.eval("#!lua\nreturn redis.call('SET', KEYS[1], 1)", 1, "a")
    finally:
        await client.config_set("maxmemory", "0")
        await client.aclose()
    assert [True, True] == [refused(raised.value), refused(by_script.value)]
