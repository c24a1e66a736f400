"""Connections to Redis: one URL in, a client out that never repeats a command by itself.

The client library's own retries are off: a script whose reply was cut is repeated by us, with its idempotency
token, or not at all.
"""

from typing import Any
from urllib.parse import quote, urlsplit

from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.client import Redis
from redis.exceptions import (
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
# Replies that come from a server that refused before it did anything; the same command may go again.
_REFUSALS = (
    BusyLoadingError,
    ClusterError,
    MasterDownError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    TryAgainError,
)
_REFUSAL_PREFIXES = ("MISCONF", "NOREPLICAS", "OOM", "READONLY", "LOADING", "BUSY", "CLUSTERDOWN", "MASTERDOWN", "UNBLOCKED")


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
    scheme = urlsplit(url).scheme
    if scheme not in _SCHEMES:
        known = ", ".join(f"{name}://" for name in _SCHEMES)
        raise ConfigurationError(f"POMBO_REDIS_URL {redact(url)!r} has no scheme pombo knows; use one of {known}")
    return url


def redact(url: str) -> str:
    """The URL without its password, for people and logs."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    return url.replace(f":{parts.password}@", ":***@", 1)


def connect(url: str, *, timeout_s: float = 5.0, connect_timeout_s: float = CONNECT_TIMEOUT_S) -> Redis:
    """A blocking client; nothing is sent before its first command."""
    retry = Retry(NoBackoff(), 0)
    return Redis.from_url(_checked(url), retry=retry, **_options(timeout_s, connect_timeout_s))


def aconnect(url: str, *, timeout_s: float = 5.0, connect_timeout_s: float = CONNECT_TIMEOUT_S) -> "AsyncRedis":
    """An asyncio client; nothing is sent before its first command."""
    retry = AsyncRetry(NoBackoff(), 0)
    return AsyncRedis.from_url(_checked(url), retry=retry, **_options(timeout_s, connect_timeout_s))


def _checked(url: str) -> str:
    check_url(url)
    try:
        urlsplit(url).port  # noqa: B018 - raises for a port that is no number
    except ValueError as error:
        raise ConfigurationError(f"POMBO_REDIS_URL {redact(url)!r}: {error}") from None
    return url


def _options(timeout_s: float, connect_timeout_s: float) -> dict[str, Any]:
    return {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": connect_timeout_s,
        "retry_on_error": [],
        "retry_on_timeout": False,
        "protocol": 2,
        "decode_responses": False,
    }


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
