"""Repairing the events of dead letters."""

from dataclasses import replace
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from pombo.shared import batches
from pombo.shared.audit import audit
from pombo.shared.deadletters import DeadLetter, edited, find, redrive_page
from pombo.shared.errors import InvalidEvent, RedriveError
from pombo.shared.keys import Keys
from pombo.shared.registry import Snapshot
from support.letters import ACCEPTED, SOURCE, body, header, open_source, put

LETTER = DeadLetter("bot", "1500-0", header("invalid", 3), body(event=""))
EVENT: dict[str, Any] = {"type": "track", "event": "Message Sent", "userId": "u1"}


def test_a_repaired_event_keeps_its_id_and_time() -> None:
    """Left out or given as they were, they stay; the rest is checked and serialised like a producer's."""
    for given in (EVENT, {**EVENT, "messageId": "m1", "timestamp": ACCEPTED}):
        made = edited(LETTER, given)
        event = orjson.loads(made.payload)
        assert ("m1", "Message Sent", True) == (event["messageId"], event["event"], made.redrivable)
        assert "2026-01-02T03:04:05.678000Z" == event["timestamp"]
        assert b'{"messageId":"m1",' == made.payload[:18]
        assert (3, "1500-0") == (made.header.partition, made.stream_id)


def test_the_timestamp_may_be_written_otherwise() -> None:
    """The same moment in another zone is the same."""
    made = edited(LETTER, {**EVENT, "timestamp": "2026-01-02T00:04:05.678-03:00"})
    assert "2026-01-02T03:04:05.678000Z" == orjson.loads(made.payload)["timestamp"]


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"messageId": "other"}, "messageId", "messageId must stay 'm1'"),
        ({"message_id": "other"}, "messageId", "messageId must stay 'm1'"),
        ({"messageId": None}, "messageId", "messageId must stay 'm1'"),
        ({"timestamp": "2026-01-02T03:04:06Z"}, "timestamp", "timestamp must stay"),
        ({"timestamp": "soon"}, "timestamp", "timestamp must stay"),
        ({"event": ""}, "event", "event is empty"),
        ({"type": "trakc"}, "type", "type"),
        ({"userId": None}, "userId", "userId"),
        ({"properties": {"text": "x" * 40_000}}, "properties", "32,000"),
    ],
)
def test_what_is_wrong_is_told_with_its_field(change: dict[str, Any], field: str, words: str) -> None:
    """An event that Segment would drop, or take for another one, is refused."""
    with pytest.raises(InvalidEvent) as raised:
        edited(LETTER, {**EVENT, **change})
    assert (field, True) == (raised.value.field, words in str(raised.value))


def test_an_unsound_id_or_time_may_be_repaired() -> None:
    """What it died of need not stay: without a timestamp the event is of when it was accepted."""
    broken = replace(LETTER, payload=b'{"messageId":"","type":"track","timestamp":"soon","userId":"u1"}')
    event = orjson.loads(edited(broken, {**EVENT, "messageId": "m9"}).payload)
    assert ("m9", "2026-01-02T03:04:05.678000Z") == (event["messageId"], event["timestamp"])


def test_what_is_no_json_may_become_an_event() -> None:
    """An item that nobody could read gets a messageId of its own."""
    made = edited(replace(LETTER, header=header("unknown_item"), payload=b"?"), EVENT)
    assert (True, True) == (made.redrivable, bool(orjson.loads(made.payload)["messageId"]))


@pytest.mark.parametrize("letter", [replace(LETTER, events=40), replace(LETTER, header=header("corrupt"))])
def test_a_record_batch_is_no_event(letter: DeadLetter) -> None:
    """What cannot be read as one event cannot be edited as one."""
    with pytest.raises(RedriveError, match="no event to edit"):
        edited(letter, EVENT)


async def test_an_edit_and_its_redrive_are_one_step(redis: Redis, keys: Keys) -> None:
    """The repaired event is in the queue, its letter gone, and a repeat moves nothing."""
    await open_source(redis, keys)
    (stream_id,) = await put(redis, keys, (LETTER.header.dump(), LETTER.payload, 1))
    letter = await find(redis, keys, f"bot/{stream_id}")
    assert not letter.redrivable
    repaired = edited(letter, EVENT)

    assert [1, 0] == [await redrive_page(redis, keys, SOURCE, [repaired]) for _ in range(2)]

    stored: Any = await redis.xrange(keys.of("bot").stream(3))
    ((_, fields),) = stored
    (sent,) = batches.decode(fields[b"b"], 1, int(fields[b"r"]))
    assert repaired.payload == sent
    assert 0 == await redis.xlen(keys.of("bot").dead)
    assert (await audit(redis, keys, Snapshot(1, {"bot": SOURCE}))).balanced
