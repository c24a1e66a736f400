"""Connections to Redis: one URL in, a client out that never repeats a command by itself.

The client library's own retries are off: a script whose reply was cut is repeated by us, with its idempotency
token, or not at all.
"""

import asyncio
import builtins
import re
from contextlib import suppress
from functools import cache
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.client import Redis
from redis.exceptions import (
    AskError,
    BusyLoadingError,
    ClusterError,
    ConnectionError,
    MasterDownError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,
    TryAgainError,
)
from redis.retry import Retry

from pombo.shared.errors import ConfigurationError
from pombo.shared.settings import Settings

CONNECT_TIMEOUT_S = 2.0
SOCKET_NAME = "redis.sock"
SOCKET_POINTER = "socket"
"""File under POMBO_HOME that names the embedded server's socket when its path is not the usual one."""

_SCHEMES = ("redis", "rediss", "unix")
_OPTIONS = {"db", "username", "password", "client_name", "health_check_interval"}
_TLS_OPTIONS = {
    "ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname", "ssl_password",
}  # fmt: skip
_USER = re.compile(r"(\s*[a-z][a-z0-9+.-]*://)?([^:]*)", re.IGNORECASE)
# What stands where a port should, when nothing says that it is a host's: the end of a URL whose `@` is missing.
_NO_PORT = re.compile(r"^((?:[^:/?#]*://)?(?:[^:/?#\[]*|\[[^\]]*\]):)(?!//|[0-9]*(?:[,/?#]|$)).+", re.DOTALL)
# The first option that may be or hold a password, and all that follows: an `&` in a password begins no other option.
_SHOWN = r"(?:db|username|client_name|health_check_interval|ssl_(?!password)[a-z_]+)="
_SECRET_OPTION = re.compile(rf"([?&](?!{_SHOWN})(?:[^=&#]*=)?|password=).+", re.IGNORECASE | re.DOTALL)
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


def redis_url(settings: Settings) -> str:
    """The URL in force: `POMBO_REDIS_URL`, or the embedded server's socket."""
    return settings.redis_url or f"unix://{quote(embedded_socket(settings))}"


def embedded_socket(settings: Settings) -> str:
    """Path of the embedded server's socket under `POMBO_HOME`."""
    pointer = settings.home_dir / SOCKET_POINTER
    try:
        return pointer.read_text("utf-8").strip()
    except OSError:
        return str(settings.home_dir / SOCKET_NAME)


def check_url(url: str) -> str:
    """Return `url` when a client can be made of it.

    Raises:
        ConfigurationError: it is no Redis URL that this pombo knows.
    """
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in _SCHEMES:
        schemes = ", ".join(f"{name}://" for name in _SCHEMES)
        raise ConfigurationError(f"POMBO_REDIS_URL {redact(url)!r} has no scheme pombo knows; use one of {schemes}")
    try:
        parts = urlsplit(url)
        _ = parts.port
        options = set(parse_qs(parts.query, keep_blank_values=True))
    except ValueError:
        raise ConfigurationError(
            f"POMBO_REDIS_URL {redact(url)!r} is no URL: its port is no number, or a bracket is missing"
        ) from None
    if parts.fragment or ("@" in parts.path + parts.query and scheme != "unix"):
        raise ConfigurationError(
            f"POMBO_REDIS_URL {redact(url)!r} cannot be read; write / # ? and @ in a password as %2F %23 %3F %40"
        )
    known = _OPTIONS | _TLS_OPTIONS if scheme == "rediss" else _OPTIONS
    if options - known:
        raise ConfigurationError(
            f"POMBO_REDIS_URL {redact(url)!r} has an unknown option; for {scheme}:// write one of "
            f"{', '.join(sorted(known))}, and & in a password as %26"
        )
    return url


def redact(url: str) -> str:
    """The URL without its password, for people and logs, even when it is no proper URL."""
    head, at, tail = url.rpartition("@")
    user = _USER.match(head)
    if user is not None and len(user[0]) < len(head):
        head = f"{user[0]}:***"
    tail = tail if at and tail.startswith("/") else _NO_PORT.sub(r"\1***", tail)
    return _SECRET_OPTION.sub(r"\1***", head + at + tail)


def connect(url: str, *, timeout_s: float = 5.0, connect_timeout_s: float = CONNECT_TIMEOUT_S) -> Redis:
    """A blocking client; nothing is sent before its first command."""
    retry = Retry(NoBackoff(), 0)
    made: Redis = _made(Redis, url, retry, _options(timeout_s, connect_timeout_s))
    return made


def aconnect(url: str, *, timeout_s: float = 5.0, connect_timeout_s: float = CONNECT_TIMEOUT_S) -> "AsyncRedis":
    """An asyncio client; nothing is sent before its first command."""
    retry = AsyncRetry(NoBackoff(), 0)
    made: AsyncRedis = _made(AsyncRedis, url, retry, _options(timeout_s, connect_timeout_s))
    pool: Any = made.connection_pool
    pool.connection_class = _cancellable(pool.connection_class)
    return made


@cache
def _cancellable(kind: Any) -> Any:
    """A connection class whose writes can be cancelled at any moment.

    redis-py bounds a write by `asyncio.wait_for`, which on Python 3.11 loses a cancellation that comes just as the
    write ends: a task that was told to stop would go on for ever. `asyncio.timeout` does not, and needs no task.
    """

    class Cancellable(kind):  # type: ignore[misc]
        socket_timeout: float | None

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


def _made(kind: Any, url: str, retry: object, options: dict[str, Any]) -> Any:
    try:
        return kind.from_url(check_url(url), retry=retry, **options)
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"POMBO_REDIS_URL {redact(url)!r} cannot be used: {error}") from None


def _options(timeout_s: float, connect_timeout_s: float) -> dict[str, Any]:
    return {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": connect_timeout_s,
        "retry_on_error": [],
        "retry_on_timeout": False,
        "protocol": 2,
        "decode_responses": False,
    }


async def forsake(redis: "AsyncRedis") -> None:
    """Close idle connections after READONLY: a demoted master keeps its clients, its name may lead to the new one."""
    with suppress(RedisError, OSError):
        await redis.connection_pool.disconnect(inuse_connections=False)


def refused(error: RedisError) -> bool:
    """Whether the server certainly did nothing, so that the same command may go again."""
    if isinstance(error, _REFUSALS):
        return True
    return isinstance(error, ResponseError) and str(error).startswith(_REFUSAL_PREFIXES)


def transient(error: BaseException) -> bool:
    """Whether the trouble passes by itself: a lost connection, a timeout, a server that refuses for now."""
    if isinstance(error, (ConnectionError, TimeoutError, OSError)):
        return True
    return isinstance(error, RedisError) and refused(error)
