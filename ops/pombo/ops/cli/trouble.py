"""Trouble with Redis, told so that an operator knows what to do next."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ConnectionError,
    MaxConnectionsError,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    TimeoutError,
)

from pombo.ops.cli.failures import MISUSE, UNWELL, CommandError
from pombo.shared.connection import redact


class _Kind(NamedTuple):
    """What a server's answer means: how to recognise it, what to say, and the exit code."""

    errors: tuple[type[RedisError], ...]
    pattern: str
    says: str
    exit_code: int = UNWELL


_NO_TLS = "does not speak TLS on that port; write {variable} as redis://…, or name the port where it does"

# The first that matches wins. Words are matched too, as scripts and older servers wrap their codes.
_KINDS = (
    _Kind(
        (),
        r"without any password configured|no password is set",
        "asks for no password and was given one; take it out of {variable}",
        MISUSE,
    ),
    _Kind(
        (),
        r"CERTIFICATE_VERIFY_FAILED",
        "shows a certificate that cannot be verified ({why}); the file of a CA of your own goes into {variable} as "
        "?ssl_ca_certs=FILE",
        MISUSE,
    ),
    _Kind((), r"WRONG_VERSION_NUMBER|wrong version number", _NO_TLS, MISUSE),
    _Kind(
        (MovedError,),
        r"^MOVED ",
        "is one node of a cluster; write {variable} as redis+cluster://HOST:PORT",
        MISUSE,
    ),
    _Kind(
        (AuthenticationError,),
        r"NOAUTH|WRONGPASS|Authentication required|invalid (username-)?password",
        "refuses the login: no password, or a wrong one; put it into {variable} (redis://USER:PASSWORD@HOST:PORT)",
        MISUSE,
    ),
    _Kind(
        (NoPermissionError,),
        r"NOPERM|No permissions|ACL failure",
        "does not let this user do that ({words}); let its administrator widen the user's ACL, "
        "or name another user in {variable}",
        MISUSE,
    ),
    _Kind(
        (ReadOnlyError,),
        r"READONLY",
        "is a replica and refuses writes; point {variable} to the primary",
    ),
    _Kind(
        (OutOfMemoryError,),
        r"\bOOM\b|maxmemory",
        "is full (maxmemory) and refuses writes; workers still drain it: wait for them, free memory with "
        "`pombo dead discard`, or raise maxmemory",
    ),
    _Kind(
        (),
        r"MISCONF",
        "cannot save to its disk and refuses writes; make room on its disk, its log says more",
    ),
    _Kind((), r"NOREPLICAS", "refuses writes: too few replicas follow it; bring them back"),
    _Kind((BusyLoadingError,), r"LOADING", "is still loading its data; try again in a moment"),
    _Kind((), r"MASTERDOWN", "is a replica without its primary; point {variable} to the primary"),
    _Kind((), r"CLUSTERDOWN", "is a cluster that is down; bring its nodes back"),
    _Kind((), r"^BUSY|BUSY Redis", "is busy with a long script; try again in a moment"),
    _Kind((MaxConnectionsError,), r"max number of clients", "takes no more clients; raise its maxclients"),
    _Kind((), r"DENIED|protected mode", "is in protected mode; set a password there and in {variable}"),
    _Kind(
        (),
        r"unknown command .?SENTINEL",
        "is no sentinel; name sentinels with their ports in {variable}, or write it as redis://HOST:PORT",
        MISUSE,
    ),
    _Kind(
        (),
        r"unknown command .?EVALSHA",
        "runs no scripts; if it is a sentinel, write {variable} as redis+sentinel://HOST:PORT/SERVICE",
        MISUSE,
    ),
    _Kind((), r"unknown command", "is too old for pombo ({words}); it needs Redis 7.0 or Valkey 7.2 at least"),
    _Kind((), r"DB index|invalid DB", "has no such database number; correct {variable}", MISUSE),
    _Kind((TimeoutError,), r"^Timeout", "did not answer in time; see whether it is overloaded, or try again"),
)


class RedisUnusableError(CommandError):
    """Redis cannot be reached, or refuses."""


@contextmanager
def explained(url: str, variable: str | None) -> Iterator[None]:
    """Turn what the Redis client raises within into one line.

    Args:
        url: whom the client talks to.
        variable: the setting that says so; None for the embedded server.

    Raises:
        RedisUnusableError: the client raised.
    """
    try:
        yield
    except RedisError as error:
        raise trouble(error, url, variable) from error


def trouble(error: RedisError, url: str, variable: str | None) -> RedisUnusableError:
    """Say what an exception of the Redis client means."""
    words = str(error)
    if url.startswith("rediss") and words.startswith("Timeout connecting"):
        return RedisUnusableError(
            f"Redis at {redact(url)} took no TLS connection in time; see whether it speaks TLS on that port "
            f"(if not, write {variable or 'POMBO_REDIS_URL'} as redis://…), or is out of reach or overloaded"
        )
    for kind in _KINDS:
        if isinstance(error, kind.errors) or re.search(kind.pattern, words):
            says = kind.says.format(variable=variable or "POMBO_REDIS_URL", words=words, why=_cause(words))
            return RedisUnusableError(f"Redis at {redact(url)} {says}", kind.exit_code)
    if isinstance(error, ConnectionError):
        return _unreachable(_cause(words), url, variable)
    return RedisUnusableError(f"Redis at {redact(url)} refused: {words}")


def _cause(words: str) -> str:
    """Why there is no connection, in the system's words instead of the client's."""
    if words.startswith(("no sentinel", "no node")):
        return words
    # The client's "Error 1" is OpenSSL's own number, and none of the system's.
    tls = re.search(r"\[SSL\S*[^\]]*\] (.+?)(?: \(_ssl\.c:\d+\))?\.?$", words)
    if tls:
        return tls[1]
    number = re.search(r"Errno (\d+)|^Error (\d+) connecting", words)
    if number:
        return os.strerror(int(number[1] or number[2]))
    told = re.search(r" connecting to \S+ (.+?)\.?$", words)
    return told[1] if told else words


def _unreachable(cause: str, url: str, variable: str | None) -> RedisUnusableError:
    if variable is None:
        return RedisUnusableError(
            f"no Redis answers at {redact(url)}; `pombo up` starts the embedded server there, "
            "or set POMBO_REDIS_URL to a Redis of yours"
        )
    return RedisUnusableError(
        f"no Redis answers at {redact(url)} ({cause}); start it or correct {variable}, "
        "or unset it and let `pombo up` start the embedded server"
    )
