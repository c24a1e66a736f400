"""Redis URLs: what a URL names, whether it can be used, and how it is shown without its passwords.

| URL | names |
|---|---|
| `redis://` `rediss://` `unix://` | one server, by TCP, by TLS or by a Unix socket |
| `redis+sentinel://HOST:PORT,…/SERVICE/DB` | the primary of a service, wherever its sentinels say that it is |
| `redis+cluster://HOST:PORT,…` | a cluster, of which some nodes are enough |

`rediss+sentinel://` and `rediss+cluster://` are the same by TLS, to sentinels too. User and password are those of the
data; the sentinels' own are the options `sentinel_username` and `sentinel_password`.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple
from urllib.parse import parse_qs, urlencode, urlsplit

from pombo.shared.errors import ConfigurationError

Kind = Literal["server", "sentinel", "cluster"]

SCHEMES = (
    "redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster",
)  # fmt: skip
_OPTIONS = frozenset({"db", "username", "password", "client_name", "health_check_interval"})
_TLS_OPTIONS = frozenset({
    "ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname", "ssl_password",
})  # fmt: skip
_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_SENTINEL_OPTIONS = frozenset({"sentinel_username", "sentinel_password"})
_PORTS = {"sentinel": 26379, "cluster": 6379}
_HIGHEST_PORT = 65_535
_FORMS = {
    "sentinel": "redis+sentinel://HOST:PORT,HOST:PORT/SERVICE/DB",
    "cluster": "redis+cluster://HOST:PORT,HOST:PORT",
}
_PARTS = re.compile(r"[a-z+]+://(?:([^@/?#]*)@)?([^@/?#]*)(?:/([^?#@]*))?(?:\?([^#@]*))?", re.IGNORECASE)
_HOST = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\[\]:\s]+)(?::(\d{1,5}))?")
_USER = re.compile(r"(\s*[a-z][a-z0-9+.-]*://)?([^:]*)", re.IGNORECASE)
# What stands where a port should, when nothing says that it is a host's: the end of a URL whose `@` is missing.
_ONE_HOST = r"(?:[^:/?#\[,]*|\[[^\]]*\])"
_NO_PORT = re.compile(
    rf"^((?:[^:/?#]*://)?(?:{_ONE_HOST}(?::[0-9]*)?,)*{_ONE_HOST}:)(?!//|[0-9]*(?:[,/?#]|$)).+", re.DOTALL
)
# The first option that may be or hold a password, and all that follows: an `&` in a password begins no other option.
_SHOWN = r"(?:db|username|sentinel_username|client_name|health_check_interval|ssl_(?!password)[a-z_]+)="
_SECRET_OPTION = re.compile(rf"([?&](?!{_SHOWN})(?:[^=&#]*=)?|password=).+", re.IGNORECASE | re.DOTALL)


class Node(NamedTuple):
    """Where a server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Target:
    """What a URL names.

    `url` is one that redis-py reads: login, database and options of the data, and of several hosts the first.
    """

    kind: Kind
    url: str = field(repr=False)
    nodes: tuple[Node, ...] = ()
    """The sentinels, or the nodes that the cluster is entered by."""
    service: str = ""
    sentinel_url: str = field(default="", repr=False)
    """As `url`, with the login of the sentinels."""


def read_url(url: str) -> Target:
    """What a URL names.

    Raises:
        ConfigurationError: it is no Redis URL that this pombo knows.
    """
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in SCHEMES:
        schemes = ", ".join(f"{name}://" for name in SCHEMES)
        raise ConfigurationError(f"POMBO_REDIS_URL {redact(url)!r} has no scheme pombo knows; use one of {schemes}")
    base, _, shape = scheme.partition("+")
    if shape == "sentinel":
        return _sentinels(url, base)
    if shape == "cluster":
        return _cluster(url, base)
    _check_server(url, scheme)
    return Target("server", url)


def read_usable(url: str) -> Target:
    """What a URL names, when also the files of its options can be read now; they may be replaced later.

    Raises:
        ConfigurationError: they cannot, or it is no Redis URL that this pombo knows.
    """
    target = read_url(url)
    for name, values in parse_qs(urlsplit(target.url).query).items():
        try:
            if name in _FILES:
                open(values[-1], "rb").close()
            elif name == "ssl_ca_path":
                os.listdir(values[-1])
        except OSError as error:
            raise ConfigurationError(
                f"POMBO_REDIS_URL {redact(url)!r} names {values[-1]!r} as {name}: {error.strerror}; correct it there"
            ) from None
    return target


def redact(url: str) -> str:
    """The URL without its passwords, for people and logs, even when it is no proper URL."""
    head, at, tail = url.rpartition("@")
    user = _USER.match(head)
    if user is not None and len(user[0]) < len(head):
        head = f"{user[0]}:***"
    tail = tail if at and tail.startswith("/") else _NO_PORT.sub(r"\1***", tail)
    return _SECRET_OPTION.sub(r"\1***", head + at + tail)


def _check_server(url: str, scheme: str) -> None:
    try:
        parts = urlsplit(url)
        _ = parts.port
        options = set(parse_qs(parts.query, keep_blank_values=True))
    except ValueError:
        raise ConfigurationError(
            f"POMBO_REDIS_URL {redact(url)!r} is no URL: its port is no number, or a bracket is missing"
        ) from None
    if parts.fragment or ("@" in parts.path + parts.query and scheme != "unix"):
        raise _unreadable(url)
    _check_options(url, options, _OPTIONS | _TLS_OPTIONS if scheme == "rediss" else _OPTIONS)


def _sentinels(url: str, base: str) -> Target:
    login, nodes, path, options = _split(url, "sentinel")
    tls = _TLS_OPTIONS if base == "rediss" else frozenset()
    _check_options(url, options, (_OPTIONS | _SENTINEL_OPTIONS | tls) - {"db"})
    service, _, db = path.partition("/")
    if not service or not (db or "0").isdecimal():
        raise _malformed(url, "sentinel", "names no service" if not service else "has a database that is no number")
    own = {name.removeprefix("sentinel_"): options[name] for name in _SENTINEL_OPTIONS & options.keys()}
    data = {name: value for name, value in options.items() if name not in _SENTINEL_OPTIONS}
    secure = {name: value for name, value in options.items() if name in _TLS_OPTIONS}
    return Target(
        "sentinel", _single(base, login, nodes[0], db or "0", data), nodes, service,
        _single(base, None, nodes[0], "0", own | secure),
    )  # fmt: skip


def _cluster(url: str, base: str) -> Target:
    login, nodes, path, options = _split(url, "cluster")
    tls = _TLS_OPTIONS if base == "rediss" else frozenset()
    _check_options(url, options, (_OPTIONS | tls) - {"db"})
    if path not in {"", "0"}:
        raise _malformed(url, "cluster", "names a database, and a cluster has none but 0")
    return Target("cluster", _single(base, login, nodes[0], "0", options), nodes)


def _split(url: str, kind: Kind) -> tuple[str | None, tuple[Node, ...], str, dict[str, str]]:
    """Login, nodes, path and options of a URL with several hosts."""
    match = _PARTS.fullmatch(url)
    if match is None:
        raise _unreadable(url)
    login, hosts, path, query = match.groups()
    nodes = tuple(_node(url, kind, host) for host in hosts.split(","))
    options = {name: values[-1] for name, values in parse_qs(query or "", keep_blank_values=True).items()}
    return login, nodes, path or "", options


def _node(url: str, kind: Kind, text: str) -> Node:
    match = _HOST.fullmatch(text)
    if match is None or not 0 < int(match[2] or 1) <= _HIGHEST_PORT:
        raise _malformed(url, kind, "has a host or a port that is none")
    return Node(match[1].strip("[]"), int(match[2] or _PORTS[kind]))


def _single(base: str, login: str | None, node: Node, db: str, options: Mapping[str, str]) -> str:
    at = "" if login is None else f"{login}@"
    return f"{base}://{at}{node}/{db}" + (f"?{urlencode(options)}" if options else "")


def _check_options(url: str, given: Sequence[str] | set[str] | Mapping[str, str], known: frozenset[str]) -> None:
    if set(given) - known:
        raise ConfigurationError(
            f"POMBO_REDIS_URL {redact(url)!r} has an unknown option; for {url.partition('://')[0]}:// write one of "
            f"{', '.join(sorted(known))}, and & in a password as %26"
        )


def _unreadable(url: str) -> ConfigurationError:
    return ConfigurationError(
        f"POMBO_REDIS_URL {redact(url)!r} cannot be read; write / # ? and @ in a password as %2F %23 %3F %40"
    )


def _malformed(url: str, kind: Kind, what: str) -> ConfigurationError:
    return ConfigurationError(f"POMBO_REDIS_URL {redact(url)!r} {what}; write {_FORMS[kind]}")
