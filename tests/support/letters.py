"""Dead letters as tests store them: by the script of the gateway, or as an older pombo would."""

from collections import Counter
from itertools import count
from typing import Any

import orjson
from redis.asyncio import Redis

from pombo.shared.deadletters import LetterHeader, row_of
from pombo.shared.keys import Keys
from pombo.shared.scripts import Argument, script
from pombo.shared.sources import Source

SOURCE = Source(name="bot", incarnation="i", partitions=4)
ACCEPTED = "2026-01-02T03:04:05.678Z"

Stored = tuple[bytes, bytes, int]
"""A letter's header, payload and events."""

_sequences = count(1)


def header(reason: str = "poison", partition: int = 0, accepted_at: str | None = ACCEPTED, **more: Any) -> LetterHeader:
    """A header; what is not given is as usual."""
    return LetterHeader(reason, partition, accepted_at, **more)


def body(message_id: str = "m1", **fields: Any) -> bytes:
    """A serialised event; what is not given is as usual."""
    event = {"type": "track", "event": "Message Sent", "userId": "u1", "timestamp": ACCEPTED, **fields}
    return b'{"messageId":"%b",' % message_id.encode() + orjson.dumps(event)[1:]


def letter(
    message_id: str = "m1", reason: str = "poison", *, event: str = "Message Sent", user: str = "u1", **more: Any
) -> Stored:
    """A letter to be stored; `more` is of its header."""
    return header(reason, **more).dump(), body(message_id, event=event, userId=user), 1


async def open_source(redis: Redis, keys: Keys, source: Source = SOURCE) -> None:
    """Make the source's ledger."""
    await redis.hset(keys.of(source.name).ledger, "incarnation", source.incarnation)


async def put(redis: Redis, keys: Keys, *letters: Stored, source: Source = SOURCE) -> list[str]:
    """Store letters as a gateway does; their stream ids."""
    of, args = keys.of(source.name), list[Argument]([source.incarnation, next(_sequences), 0, 60])
    args.append(f"track={sum(events for _, _, events in letters)}")
    for head, payload, events in letters:
        args += [LetterHeader.load(head).reason, head, payload, events, *row_of(head, payload, events).arguments]
    touched = [of.ledger, of.session("test"), of.dead, of.dead_table, of.dead_groups]
    reply = await script("dead_append").acall(redis, touched, args)
    assert reply[0] == b"ok", reply
    newest: Any = await redis.xrevrange(of.dead, count=len(letters))
    return [stream_id.decode() for stream_id, _ in reversed(newest)]


async def put_old(redis: Redis, keys: Keys, *letters: Stored, source: Source = SOURCE) -> list[str]:
    """Store letters as a pombo without tables did; their stream ids."""
    of, counts, size = keys.of(source.name), Counter[str](), 0
    ids: list[str] = []
    for head, payload, events in letters:
        stream_id: Any = await redis.xadd(of.dead, {"h": head, "b": payload, "n": events})
        ids.append(stream_id.decode())
        reason = LetterHeader.load(head).reason
        counts.update({"accepted": events, "dead": events, f"dead:{reason}": events, f"died:{reason}": events})
        size += len(head) + len(payload)
    for counter, amount in (*counts.items(), ("dead_bytes", size)):
        await redis.hincrby(of.ledger, counter, amount)
    return ids


async def take_old(redis: Redis, keys: Keys, *ids: str, source: Source = SOURCE) -> None:
    """Discard letters as a pombo without tables did."""
    of = keys.of(source.name)
    for stream_id in ids:
        found: Any = await redis.xrange(of.dead, stream_id, stream_id)
        for _, fields in found:
            events, reason = int(fields.get(b"n", 1)), LetterHeader.load(fields[b"h"]).reason
            await redis.xdel(of.dead, stream_id)
            changes = {"dead": -events, "discarded": events, f"dead:{reason}": -events}
            changes["dead_bytes"] = -len(fields[b"h"]) - len(fields[b"b"])
            for counter, amount in changes.items():
                await redis.hincrby(of.ledger, counter, amount)


async def put_old_quickly(redis: Redis, keys: Keys, *letters: Stored, source: Source = SOURCE) -> None:
    """Store many letters as a pombo without tables did, in one round trip; the ledger has only their sum."""
    of = keys.of(source.name)
    async with redis.pipeline(transaction=False) as pipe:
        for head, payload, _ in letters:
            pipe.xadd(of.dead, {"h": head, "b": payload})
        for counter in ("accepted", "dead"):
            pipe.hincrby(of.ledger, counter, len(letters))
        pipe.hincrby(of.ledger, "dead_bytes", sum(len(head) + len(payload) for head, payload, _ in letters))
        await pipe.execute()
