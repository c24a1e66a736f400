"""Connections to Redis: one URL in, a client out that never repeats a command by itself.

The client library's own retries are off: a script whose reply was cut is repeated by us, with its idempotency
token, or not at all.
"""

import re
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
_OPTIONS = {
    "db", "username", "password", "client_name", "health_check_interval",
    "ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname", "ssl_password",
}  # fmt: skip
_PASSWORD = re.compile(r"^([a-z+]+://[^:/@]*:|(?![a-z+]+://)[^:/@]*:).*(@)", re.IGNORECASE | re.DOTALL)
_PASSWORD_OPTION = re.compile(r"(password=)[^&#]*", re.IGNORECASE)
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
        known = ", ".join(f"{name}://" for name in _SCHEMES)
        raise ConfigurationError(f"POMBO_REDIS_URL {redact(url)!r} has no scheme pombo knows; use one of {known}")
    try:
        parts = urlsplit(url)
        _ = parts.port
        options = set(parse_qs(parts.query, keep_blank_values=True))
    except ValueError:
        raise ConfigurationError(
            f"POMBO_REDIS_URL {redact(url)!r} is no URL: its port is no number, or a bracket is missing"
        ) from None
    if "@" in parts.path + parts.query + parts.fragment and scheme != "unix":
        raise ConfigurationError(
            f"POMBO_REDIS_URL {redact(url)!r} cannot be read; write / # ? and @ in a password as %2F %23 %3F %40"
        )
    if options - _OPTIONS:
        unknown, known = ", ".join(sorted(options - _OPTIONS)), ", ".join(sorted(_OPTIONS))
        raise ConfigurationError(f"POMBO_REDIS_URL {redact(url)!r}: unknown option {unknown}; known are {known}")
    return url


def redact(url: str) -> str:
    """The URL without its password, for people and logs, even when it is no proper URL."""
    hidden = _PASSWORD.sub(r"\1***\2", url)
    return _PASSWORD_OPTION.sub(r"\1***", hidden)


def connect(url: str, *, timeout_s: float = 5.0, connect_timeout_s: float = CONNECT_TIMEOUT_S) -> Redis:
    """A blocking client; nothing is sent before its first command."""
    retry = Retry(NoBackoff(), 0)
    made: Redis = _made(Redis, url, retry, _options(timeout_s, connect_timeout_s))
    return made


def aconnect(url: str, *, timeout_s: float = 5.0, connect_timeout_s: float = CONNECT_TIMEOUT_S) -> "AsyncRedis":
    """An asyncio client; nothing is sent before its first command."""
    retry = AsyncRetry(NoBackoff(), 0)
    made: AsyncRedis = _made(AsyncRedis, url, retry, _options(timeout_s, connect_timeout_s))
    return made


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
