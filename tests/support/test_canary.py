import json
import logging
import sqlite3
import subprocess
import sys
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from redis import Redis

from pombo.producer import Accepted, Rejected
from pombo.producer.testing import FakeProducer
from pombo.shared.clock import SystemClock
from support.canary import ENDS, Canary, password, people, search, secret, zipped
from support.remains import Listener, Watcher, file_places, redis_places
from support.talker import bad_events, good_event
from support.waiting import until

WRITINGS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "Basic auth": lambda text: b64encode(f"{text}:".encode()).decode(),
    "Base64 in the middle": lambda text: b64encode(f"a{text}zz".encode()).decode(),
    "URL-safe Base64": lambda text: urlsafe_b64encode(f"ab{text}z".encode()).decode(),
    "percent": lambda text: quote(text, safe=""),
    "a form": quote_plus,
    "JSON": json.dumps,
    "JSON beyond ASCII": lambda text: json.dumps(text, ensure_ascii=False),
    "JSON in JSON": lambda text: json.dumps(json.dumps(text)),
    "hex": lambda text: text.encode().hex(),
    "Python": lambda text: repr(text.encode()),
    "its beginning": lambda text: text[:ENDS],
    "its end": lambda text: text[-ENDS:],
}
CANARIES = [secret("key"), password("password"), *people().values()]


class Ticking(SystemClock):
    """A clock on which so much time passes between two looks that every rejection is logged."""

    def __init__(self) -> None:
        self._at = 0.0

    def monotonic(self) -> float:
        self._at += 1_000
        return self._at


@pytest.mark.parametrize("canary", CANARIES, ids=lambda one: one.name)
@pytest.mark.parametrize("writing", WRITINGS)
def test_every_writing_is_found(writing: str, canary: Canary) -> None:
    """A canary is found however programs write it, within other data, and when only an end of it is left."""
    data = b'{"a": "' + WRITINGS[writing](canary.text).encode() + b'"}'

    assert {("place", canary.name)} == {(one.place, one.canary) for one in search([("place", data)], [canary])}


@pytest.mark.parametrize("canary", CANARIES, ids=lambda one: one.name)
def test_what_is_compressed_is_looked_into(canary: Canary) -> None:
    """A canary is found in each compression, in the middle of other data, and in one within another."""
    raw = canary.text.encode()
    for name, data in zipped(raw).items():
        assert search([(name, b"before" + data + b"after")], [canary]), name
        for outer, wrapped in zipped(b"in" + data).items():
            assert search([(outer, wrapped)], [canary]), (name, outer)


def test_a_cut_member_is_read_as_far_as_it_goes() -> None:
    """Of compressed data whose end is missing, the beginning is searched."""
    canary = secret("key")
    for name in ("gzip", "zlib"):
        assert search([(name, zipped(canary.text.encode() + bytes(99))[name][:-6])], [canary]), name


def test_nothing_is_found_where_nothing_is() -> None:
    """Other canaries of the same form are not taken for this one."""
    others = "".join(
        f"{one.text} {b64encode(one.text.encode()).decode()}" for _ in range(300) for one in people().values()
    )

    assert set() == search([("place", others.encode())], [secret("key"), password("password"), *people().values()])


def test_files_are_places(tmp_path: Path) -> None:
    """Files are searched by name and by content, a database's long values too; what is left out is left out."""
    canary = secret("key")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "one").write_text(canary.text)
    (tmp_path / canary.text).touch()
    (tmp_path / "left").mkdir()
    (tmp_path / "left" / "out").write_text(canary.text)
    with closing(sqlite3.connect(tmp_path / "base")) as base:
        base.execute("CREATE TABLE t (body BLOB)")
        base.execute("INSERT INTO t VALUES (?)", [bytes(9_000) + zipped(canary.text.encode())["zlib"]])
        base.commit()

    found = {one.place for one in search(file_places(tmp_path, tmp_path / "left"), [canary])}

    expected = {"file deep/one", f"name of file {canary.text}", "file base table t column 0"}
    assert expected == found - {"file base"}


def test_everything_in_redis_is_a_place(sync_redis: Redis) -> None:
    """Names of keys and fields and values of each type are searched, in every database."""
    canary = secret("key")
    text = canary.text
    sync_redis.set(f"name:{text}", 1)
    sync_redis.set("string", text)
    sync_redis.hset("hash", "field", text)
    sync_redis.hset("fields", text, 1)
    sync_redis.rpush("list", "a", text)
    sync_redis.sadd("set", "a", text)
    sync_redis.zadd("zset", {text: 1})
    sync_redis.xadd("stream", {"b": zipped(text.encode())["record batch"]})
    elsewhere: Any = sync_redis
    elsewhere.execute_command("SELECT", 3)
    elsewhere.set("elsewhere", text)

    found = {one.place for one in search(redis_places(sync_redis), [canary])}

    expected = {
        f"name of key name:{text}", "key string", "key hash field field", "key fields name of a field", "key list",
        "key set", "key zset", "key stream field b", "key elsewhere",
    }  # fmt: skip
    assert expected <= found


def test_commands_are_places(sync_redis: Redis) -> None:
    """What a script does is heard as well as what a client says, and bytes come back as they were."""
    one, two, three = secret("one"), secret("two"), secret("three")
    with Listener(sync_redis) as listener:
        sync_redis.set("a", one.text)
        sync_redis.eval("redis.call('SET', KEYS[1], 'x' .. ARGV[1])", 1, "b", two.text)
        sync_redis.set("c", zipped(three.text.encode())["record batch"])

    assert {"one", "two", "three"} == {found.canary for found in search(listener.places(), [one, two, three])}


def test_processes_are_places() -> None:
    """A command line that once was is remembered."""
    canary = secret("key")
    with (
        Watcher() as watcher,
        subprocess.Popen(
            [sys.executable, "-c", "input()", canary.text], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process,
    ):
        until(lambda: search(watcher.places(), [canary]), "sighting")
        process.communicate(b"\n")

    assert {"key"} == {one.canary for one in search(watcher.places(), [canary])}


def test_refusals_keep_values_to_themselves(caplog: pytest.LogCaptureFixture) -> None:
    """What is refused is named by field and fault, never by its value, in message, receipt and log."""
    canaries = people()
    told = {name: canary.text for name, canary in canaries.items()}
    clock = Ticking()
    with caplog.at_level(logging.DEBUG), FakeProducer("bot", clock=clock) as producer:
        refused = [producer.enqueue(event).outcome for event in bad_events(told)]
        accepted = producer.enqueue(good_event(told, "m1")).outcome

    assert Accepted("m1") == accepted
    assert {Rejected} == {type(outcome) for outcome in refused}
    assert len(refused) == len(caplog.messages)
    places = [(str(outcome), str(outcome).encode()) for outcome in refused]
    places += [(line, line.encode()) for line in caplog.messages]
    assert set() == search(places, canaries.values())


def test_a_failing_callback_shows_no_value(caplog: pytest.LogCaptureFixture) -> None:
    """The log line of a callback that fails does not tell what of the event was wrong, as a refusal's cause may."""

    def fail(*_: object) -> None:
        raise RuntimeError("this callback fails")

    canary = secret("moment")
    with FakeProducer("bot", on_rejected=fail) as producer:
        producer.track("u1", "Message Sent", timestamp=canary.text)

    assert "this callback fails" in caplog.text
    assert set() == search([("log", caplog.text.encode())], [canary])
