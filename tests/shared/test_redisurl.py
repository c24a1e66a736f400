"""Redis URLs of several servers: what they name, which are refused, what is shown of them."""

import pytest

from pombo.shared.connection import aconnect, connect
from pombo.shared.errors import ConfigurationError
from pombo.shared.redisurl import Node, read_url, read_usable, redact

A, B = Node("a", 26379), Node("b", 7000)


@pytest.mark.parametrize(
    ("url", "nodes", "service", "data"),
    [
        ("redis+sentinel://a:26379,b:7000/main/2", (A, B), "main", "redis://a:26379/2"),
        ("redis+sentinel://a,b:7000/main", (A, B), "main", "redis://a:26379/0"),
        ("redis+sentinel://me:p%40ss@a/main/0", (A,), "main", "redis://me:p%40ss@a:26379/0"),
        ("rediss+sentinel://:p@a/main?ssl_ca_certs=/c", (A,), "main", "rediss://:p@a:26379/0?ssl_ca_certs=%2Fc"),
        ("redis+sentinel://[::1]:7000,[fe80::1]/main", (Node("::1", 7000), Node("fe80::1", 26379)), "main",
         "redis://[::1]:7000/0"),
    ],
)  # fmt: skip
def test_sentinels(url: str, nodes: tuple[Node, ...], service: str, data: str) -> None:
    """A URL of sentinels names them, their service, and the login and database of the data."""
    target = read_url(url)
    assert ("sentinel", nodes, service, data) == (target.kind, target.nodes, target.service, target.url)


def test_sentinels_have_a_login_of_their_own() -> None:
    """The password of the data does not go to the sentinels, nor theirs to the data; TLS is for both."""
    target = read_url("rediss+sentinel://u:data@a/main?sentinel_username=s&sentinel_password=x%26y&ssl_ca_certs=/c")
    assert "rediss://u:data@a:26379/0?ssl_ca_certs=%2Fc" == target.url
    assert "data" not in target.sentinel_url
    with connect("redis+sentinel://u:data@a/main?sentinel_username=s&sentinel_password=x%26y") as client:
        found = client.connection_pool.connection_kwargs
        assert ("u", "data") == (found["username"], found["password"])
        asked = found["sentinels"]._pool.connection_kwargs
        assert ("s", "x&y") == (asked["username"], asked["password"])


@pytest.mark.parametrize(
    ("url", "nodes", "data"),
    [
        ("redis+cluster://a:26379,b:7000", (A, B), "redis://a:26379/0"),
        ("redis+cluster://a,b:7000/", (Node("a", 6379), B), "redis://a:6379/0"),
        ("redis+cluster://me:p@a/0", (Node("a", 6379),), "redis://me:p@a:6379/0"),
        ("rediss+cluster://a?ssl_cert_reqs=none", (Node("a", 6379),), "rediss://a:6379/0?ssl_cert_reqs=none"),
        ("redis+cluster://a?password=p&client_name=bot", (Node("a", 6379),),
         "redis://a:6379/0?password=p&client_name=bot"),
    ],
)  # fmt: skip
def test_clusters(url: str, nodes: tuple[Node, ...], data: str) -> None:
    """A URL of a cluster names nodes to enter it by, and the login."""
    target = read_url(url)
    assert ("cluster", nodes, data) == (target.kind, target.nodes, target.url)
    assert aconnect(url)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis+sentinel://a:26379", r"names no service; write redis\+sentinel://HOST:PORT,HOST:PORT/SERVICE/DB"),
        ("redis+sentinel://a:26379/", "names no service"),
        ("redis+sentinel:///main", "has a host or a port that is none"),
        ("redis+sentinel://a,/main", "has a host or a port that is none"),
        ("redis+sentinel://a:0/main", "has a host or a port that is none"),
        ("redis+sentinel://a:99999/main", "has a host or a port that is none"),
        ("redis+sentinel://a:x,b/main", "has a host or a port that is none"),
        ("redis+sentinel://a:1:2/main", "has a host or a port that is none"),
        ("redis+sentinel://::1:7000/main", "has a host or a port that is none"),
        ("redis+sentinel://a/main/x", "has a database that is no number"),
        ("redis+sentinel://a/main/0/1", "has a database that is no number"),
        ("redis+sentinel://a/main?db=1", "has an unknown option; for redis\\+sentinel:// write one of .*sentinel_pass"),
        ("redis+sentinel://a/main?ssl_ca_certs=/c", "has an unknown option"),
        ("redis+sentinel://a/main#x", "cannot be read"),
        ("redis+cluster://", "has a host or a port that is none; write redis\\+cluster://HOST:PORT,HOST:PORT"),
        ("redis+cluster://a/1", "names a database, and a cluster has none but 0"),
        ("redis+cluster://a?sentinel_password=x", "has an unknown option"),
        ("redis+cluster://a?db=0", "has an unknown option"),
        ("redis+other://a", "has no scheme pombo knows; use one of .*redis\\+cluster://"),
        ("unix+sentinel://a/main", "has no scheme pombo knows"),
        ("redis+sentinel://a/main?health_check_interval=soon", "cannot be used: "),
        ("redis+cluster://a?health_check_interval=soon", "cannot be used: "),
    ],
)
def test_malformed_urls_are_told(url: str, words: str) -> None:
    """Each says in one line what is wrong and how it is written."""
    with pytest.raises(ConfigurationError, match=words) as raised:
        aconnect(url)
    assert 1 == len(str(raised.value).splitlines())


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis+sentinel://u:secret@a:1,b:2/main/0?sentinel_password=secret",
         "redis+sentinel://u:***@a:1,b:2/main/0?sentinel_password=***"),
        ("redis+sentinel://a:1,b:2/main?sentinel_username=s&sentinel_password=secret",
         "redis+sentinel://a:1,b:2/main?sentinel_username=s&sentinel_password=***"),
        ("rediss+cluster://:secret@a:1,[::1]:2", "rediss+cluster://:***@a:1,[::1]:2"),
        ("redis+cluster://a:1,[::1]:2?password=secret", "redis+cluster://a:1,[::1]:2?password=***"),
        ("redis+cluster://a:1,b", "redis+cluster://a:1,b"),
    ],
)  # fmt: skip
def test_passwords_are_not_shown(url: str, shown: str) -> None:
    """People and logs see everything but the passwords."""
    read_usable(url)
    assert shown == redact(url)


@pytest.mark.parametrize(
    "url",
    [
        "redis+cluster://a:1,user:secret",
        "redis+cluster://user:secret,a:1",
        "redis+cluster://[::1]:1,user:secret",
        "redis+sentinel://user:secret/main",
        "redis+sentinel://a:1/user:secret@b/main",
        "redis+sentinel://user:sec/secret@a/main",
        "redis+sentinel://user:1?secret@a/main",
        "redis+sentinel://user:1#secret@a/main",
        "redis+sentinel://user:x@secret@a/main",
        "redis+sentinel://a/main?sentinel_pass=secret",
        "redis+sentinel://a/main?sentinel_password=a&secret",
        "redis+sentinel://u:secret@/main",
        "redis+sentinel://u:secret@a",
        "redis+cluster://u:secret@a/7",
        "redis+cluster://a?PASSWORD=secret",
        "redis+cluster://u:secret@a?health_check_interval=soon",
    ],
)
def test_refusals_do_not_show_the_password(url: str) -> None:
    """However a URL is malformed, it is refused as a setting, and its password is not shown."""
    assert "secret" not in redact(url)
    with pytest.raises(ConfigurationError) as raised:
        aconnect(url)
    assert "secret" not in str(raised.value)
