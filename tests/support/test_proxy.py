"""The road does to connections what it says, or the end-to-end proofs would prove nothing."""

import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from redis import Redis
from redis.exceptions import TimeoutError

from pombo.shared.connection import connect
from support.proxy import Road

PATIENCE_S = 0.2


@pytest.fixture
def road(redis_url: str) -> Iterator[Road]:
    with Road(Path(urlsplit(redis_url).path)) as made:
        yield made


@pytest.fixture
def traveller(road: Road) -> Iterator[Redis]:
    """A client with a line that is open."""
    with connect(road.url, timeout_s=PATIENCE_S) as client:
        client.ping()
        yield client


def test_clear_road(traveller: Redis, sync_redis: Redis) -> None:
    """What is said arrives, however large, and so does the answer."""
    traveller.set("k", b"v" * 1_000_000)
    assert sync_redis.get("k") == traveller.get("k")


def test_late_answers(road: Road, traveller: Redis) -> None:
    """Answers come late and in order."""
    road.delay_s = PATIENCE_S / 4
    begun = time.monotonic()
    with traveller.pipeline(transaction=False) as pipe:
        pipe.set("k", "v")
        pipe.get("k")
        assert [True, b"v"] == pipe.execute()
    assert time.monotonic() - begun >= road.delay_s


def test_hushed_road(road: Road, traveller: Redis, sync_redis: Redis) -> None:
    """Nothing gets through, on new lines neither, and nobody is told."""
    road.hush()
    for client in (traveller, connect(road.url, timeout_s=PATIENCE_S)):
        with client, pytest.raises(TimeoutError):
            client.set("k", "v")
    assert sync_redis.get("k") is None


def test_hushed_lines_stay_dead(road: Road, traveller: Redis, sync_redis: Redis) -> None:
    """A half-open line never comes back; a new one works."""
    with connect(road.url, timeout_s=PATIENCE_S, connect_timeout_s=PATIENCE_S) as other:
        other.ping()
        road.hush()
        road.speak()
        with pytest.raises(TimeoutError):
            other.set("k", "v")
        assert sync_redis.get("k") is None
        assert other.set("k", "v")  # On a new line: the client left the other one.


def test_hushed_answers(road: Road, traveller: Redis, sync_redis: Redis) -> None:
    """The server does what it is told, and its answer is lost."""
    road.hush(replies_only=True)
    with pytest.raises(TimeoutError):
        traveller.set("k", "v")
    assert b"v" == sync_redis.get("k")
