"""Connections to Redis: one URL in, a client out that never repeats a command by itself.

The client library's own retries are off: a script whose reply was cut is repeated by us, with its idempotency
token, or not at all. What a URL may name is told in `redisurl`; `sentinel` and `cluster` do their part where that is
more than one server.
"""

import asyncio
import builtins
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

import hiredis
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.client import Redis
from redis.connection import HiredisRespSerializer
from redis.exceptions import (
    AskError,
    BusyLoadingError,
    ClusterError,
    ConnectionError,
    MasterDownError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,
    TryAgainError,
)
from redis.retry import Retry

from pombo.shared.cluster import ClusterRedis
from pombo.shared.errors import ConfigurationError
from pombo.shared.redisurl import Node, Target, read_url, read_usable, redact
from pombo.shared.sentinel import Sentinels, aled, led

if TYPE_CHECKING:
    from pombo.shared.settings import Settings

__all__ = [
    "CONNECT_TIMEOUT_S",
    "SOCKET_NAME",
    "SOCKET_POINTER",
    "aconnect",
    "aline",
    "astray",
    "connect",
    "embedded_socket",
    "forsake",
    "jobs_url",
    "line",
    "primaries",
    "redact",
    "redis_url",
    "refused",
    "transient",
]

CONNECT_TIMEOUT_S = 2.0
SOCKET_NAME = "redis.sock"
SOCKET_POINTER = "socket"
"""File under POMBO_HOME that names the embedded server's socket when its path is not the usual one."""

_packer = HiredisRespSerializer()

# Replies that come from a server that refused before it did anything; the same command may go again.
_REFUSALS = (
    AskError,
    BusyLoadingError,
    ClusterError,
    MasterDownError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    TryAgainError,
)
_REFUSAL_PREFIXES = (
    "MISCONF",
    "NOREPLICAS",
    "OOM",
    "READONLY",
    "LOADING",
    "BUSY",
    "CLUSTERDOWN",
    "MASTERDOWN",
    "UNBLOCKED",
)


def redis_url(settings: "Settings") -> str:
    """The URL in force: `POMBO_REDIS_URL`, or the embedded server's socket."""
    return settings.redis_url or f"unix://{quote(embedded_socket(settings))}"


def embedded_socket(settings: "Settings") -> str:
    """Path of the embedded server's socket under `POMBO_HOME`."""
    pointer = settings.home_dir / SOCKET_POINTER
    try:
        return pointer.read_text("utf-8").strip()
    except OSError:
        return str(settings.home_dir / SOCKET_NAME)


def jobs_url(settings: "Settings") -> str:
    """URL of the control plane's Redis.

    Raises:
        ConfigurationError: it names a cluster, on which RQ does not run; or it is no Redis URL.
    """
    url = settings.jobs_redis_url or redis_url(settings)
    if read_url(url).kind == "cluster":
        raise ConfigurationError(
            "jobs are off: RQ, which runs them, does not run on Redis Cluster; "
            "set POMBO_JOBS_REDIS_URL to a Redis that is no cluster"
        )
    return url


def connect(url: str, *, timeout_s: float = 5.0, connect_timeout_s: float = CONNECT_TIMEOUT_S) -> Redis:
    """A blocking client; nothing is sent before its first command.

    Raises:
        ConfigurationError: the URL cannot be used, or names a cluster: clients of those are for asyncio.
    """
    target = read_usable(url)
    if target.kind == "cluster":
        raise ConfigurationError(f"{redact(url)!r} names a cluster, where a Redis that is none is wanted")
    made: Redis = _client(_BLOCKING, target, timeout_s, connect_timeout_s)
    return made


def aconnect(url: str, *, timeout_s: float = 5.0, connect_timeout_s: float = CONNECT_TIMEOUT_S) -> "AsyncRedis":
    """An asyncio client; nothing is sent before its first command.

    Raises:
        ConfigurationError: the URL cannot be used.
    """
    target = read_usable(url)
    make: Callable[[Node | None], AsyncRedis] = partial(_client, _ASYNCIO, target, timeout_s, connect_timeout_s)
    if target.kind == "cluster":
        return ClusterRedis(target.nodes, make)
    return make(None)


def line(target: Target, node: Node | None = None) -> Any:
    """One blocking connection that is not connected yet; in a cluster to a node of it.

    Raises:
        ConfigurationError: it cannot be made.
    """
    return _one_line(_client(_BLOCKING, target, None, None, node).connection_pool, target)


def aline(target: Target, node: Node | None = None) -> Any:
    """The same for asyncio."""
    return _one_line(_client(_ASYNCIO, target, None, CONNECT_TIMEOUT_S, node).connection_pool, target)


async def primaries(redis: "AsyncRedis") -> "list[AsyncRedis]":
    """A client of each server that holds data: of several in a cluster, else the one given."""
    return await redis.primaries() if isinstance(redis, ClusterRedis) else [redis]


def _one_line(pool: Any, target: Target) -> Any:
    try:
        return pool.make_connection()
    except (RedisError, TypeError, ValueError) as error:
        raise _unusable(target, error) from None


class _Family(NamedTuple):
    """What differs between redis-py's blocking classes and those for asyncio."""

    client: Any
    retry: Any
    wrap: Callable[[Any], Any]
    """Makes our connection class of redis-py's."""
    lead: Callable[[Any], Any]
    """Makes of that one that follows the sentinels."""


def _client(
    family: _Family, target: Target, timeout_s: float | None, connect_timeout_s: float | None, node: Node | None = None
) -> Any:
    options = {**_options(timeout_s, connect_timeout_s), "retry": family.retry(NoBackoff(), 0)}
    made = _made(family, target, target.url, options)
    _aim(made.connection_pool, node)
    if target.kind == "sentinel":
        asked = _made(family, target, target.sentinel_url, options).connection_pool
        _lead(made.connection_pool, family.lead, Sentinels(target, asked))
    return made


def _made(family: _Family, target: Target, url: str, options: dict[str, Any]) -> Any:
    try:
        made = family.client.from_url(url, **options)
    except (RedisError, ValueError, TypeError) as error:
        raise _unusable(target, error) from None
    pool: Any = made.connection_pool
    pool.connection_class = family.wrap(pool.connection_class)
    return made


def _aim(pool: Any, node: Node | None) -> None:
    """Have a pool connect to a node of a cluster."""
    if node is not None:
        pool.connection_kwargs |= {"host": node.host, "port": node.port}


def _lead(pool: Any, kind: Callable[[Any], Any], sentinels: Sentinels) -> None:
    """Have a pool connect where the sentinels say."""
    pool.connection_class = kind(pool.connection_class)
    pool.connection_kwargs["sentinels"] = sentinels


def _unusable(target: Target, error: Exception) -> ConfigurationError:
    return ConfigurationError(f"POMBO_REDIS_URL {redact(target.url)!r} cannot be used: {error}")


@cache
def _cancellable(kind: Any) -> Any:
    """A connection class whose writes can be cancelled at any moment, and whose commands hiredis packs.

    redis-py bounds a write by `asyncio.wait_for`, which on Python 3.11 loses a cancellation that comes just as the
    write ends: a task that was told to stop would go on for ever. `asyncio.timeout` does not, and needs no task.
    And it packs asyncio's commands in Python: a seventh of a worker's CPU, as claims name each event's buckets. Where
    hiredis does it, redis-py looks at each argument before, for as long again; those of our scripts are text, bytes
    and numbers.
    """

    class Cancellable(kind):  # type: ignore[misc]
        socket_timeout: float | None

        def pack_command(self, *args: Any) -> list[bytes]:
            return [hiredis.pack_command(args)] if args[0] == "EVALSHA" else _packer.pack(*args)

        async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
            timeout_s, self.socket_timeout = self.socket_timeout, None
            try:
                async with asyncio.timeout(timeout_s):
                    await super().send_packed_command(command, check_health)
            except builtins.TimeoutError:
                raise TimeoutError("Timeout writing to socket") from None
            finally:
                self.socket_timeout = timeout_s

    return Cancellable


_BLOCKING = _Family(Redis, Retry, lambda kind: kind, led)
_ASYNCIO = _Family(AsyncRedis, AsyncRetry, _cancellable, aled)


def _options(timeout_s: float | None, connect_timeout_s: float | None) -> dict[str, Any]:
    return {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": connect_timeout_s,
        "retry_on_error": [],
        "retry_on_timeout": False,
        "protocol": 2,
        # Two commands that only name the library: behind a slow Redis they cost as much as the first append.
        "driver_info": None,
        "decode_responses": False,
    }


async def forsake(redis: "AsyncRedis") -> None:
    """Close idle connections after READONLY or a lost one, so that the next are made to whoever is primary by then."""
    with suppress(RedisError, OSError):
        if isinstance(redis, ClusterRedis):
            await redis.forsake()
        else:
            await redis.connection_pool.disconnect(inuse_connections=False)


def refused(error: RedisError) -> bool:
    """Whether the server certainly did nothing, so that the same command may go again."""
    if isinstance(error, _REFUSALS):
        return True
    if isinstance(error, NoPermissionError):
        return "script" not in str(error)  # One that stops in a script may have come after writes.
    return isinstance(error, ResponseError) and str(error).startswith(_REFUSAL_PREFIXES)


def transient(error: BaseException) -> bool:
    """Whether the trouble passes by itself: a lost connection, a timeout, a server that refuses for now."""
    if isinstance(error, (ConnectionError, TimeoutError, OSError)):
        return True
    return isinstance(error, RedisError) and not isinstance(error, NoPermissionError) and refused(error)


def astray(error: BaseException) -> bool:
    """Whether the trouble may mean that somebody else is primary now: READONLY, or a connection that was lost."""
    lost = isinstance(error, (ConnectionError, TimeoutError, OSError)) and not isinstance(error, BusyLoadingError)
    return lost or isinstance(error, ReadOnlyError)
