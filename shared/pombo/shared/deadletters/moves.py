"""Taking dead letters away: for good, or to the end of their partitions' streams."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from redis.asyncio import Redis

from pombo.shared import batches
from pombo.shared.deadletters.letter import DeadLetter
from pombo.shared.deadletters.pages import PAGE
from pombo.shared.deadletters.rebuild import tidy
from pombo.shared.errors import RedriveError, UnknownSourceError
from pombo.shared.keys import Keys, SourceKeys
from pombo.shared.scripts import script
from pombo.shared.sources import Source

MAX_RAW = 475_000
"""Bytes of events in one redriven record batch: no more than one request may carry."""

FULL = "its dead letters are at their limit"
"""How the reason of a park begins that letters are the cause of; `letterbound.lua` has the same words."""


async def discard(redis: Redis, keys: Keys, source: str, letters: Sequence[DeadLetter]) -> int:
    """Delete letters of one source for good; return the events discarded, without those already gone."""
    of, discarded = keys.of(source), 0
    for chunk in _chunks([letter.stream_id for letter in letters], PAGE):
        args = [keys.wake, source, *chunk]
        discarded += await script("dead_discard").acall(redis, [of.ledger, of.dead, of.flow, *_held(of)], args)
        await tidy(redis, of, source)
    return discarded


def full_reason(source: Source) -> str:
    """Why a source is parked whose dead letters are at their limit, and what ends that."""
    return (
        f"{FULL} of {source.dead_bytes} bytes; redrive, or export and discard them "
        f"(`pombo dead list --source {source.name}`), or `pombo sources set {source.name} --dead-bytes N`"
    )


async def redrive_page(redis: Redis, keys: Keys, source: Source, letters: Sequence[DeadLetter]) -> int:
    """Put a page of letters at the end of their partitions' streams; return the events moved.

    Their bytes stay as they are, messageId and timestamp too. Letters that are gone already are passed over,
    so that a repeat moves nothing twice.

    Raises:
        RedriveError: one holds no event to send; nothing was moved.
        UnknownSourceError: the source was removed; nothing was moved.
    """
    for letter in letters:
        _check_redrivable(source, letter)
    moved, todo = 0, _pack({letter.stream_id: letter for letter in letters}.values())
    while todo:
        again: list[list[DeadLetter]] = []
        for batch, gone in zip(todo, await _redrive(redis, keys, source, todo), strict=True):
            moved += 0 if gone else len(batch)
            rest = [letter for letter in batch if letter.stream_id not in gone]
            again += [rest] if gone and rest else []
        todo = again
    return moved


async def _redrive(redis: Redis, keys: Keys, source: Source, todo: Sequence[Sequence[DeadLetter]]) -> list[set[str]]:
    """Move batches that are whole; return for each the ids that are gone."""
    of = keys.of(source.name)
    partitions = sorted({batch[0].header.partition for batch in todo})
    args: list[str | bytes | int] = [source.incarnation, keys.wake, source.name]
    for batch in todo:
        partition = batch[0].header.partition
        record = batches.encode([letter.payload for letter in batch])
        ids = ",".join(letter.stream_id for letter in batch)
        stream = 8 + partitions.index(partition)
        args += [stream, ids, record.events, record.raw, record.payload, f"{source.name}/{partition}"]
    streams = [of.stream(partition) for partition in partitions]
    reply = await script("dead_redrive").acall(redis, [of.ledger, of.dead, of.flow, *_held(of), *streams], args)
    if reply[0] != b"ok":
        raise UnknownSourceError(f"source {source.name!r} was removed or made anew; nothing was redriven")
    active = [f"{source.name}/{partition}" for partition in partitions]
    await script("announce").acall(redis, [keys.active], active)
    await tidy(redis, of, source.name)
    return [{gone_id.decode() for gone_id in gone} for gone in reply[1:]]


def _check_redrivable(source: Source, letter: DeadLetter) -> None:
    if letter.source != source.name or not letter.redrivable:
        raise RedriveError(
            f"dead letter {letter.id} ({letter.header.reason}) holds no event that could be sent; "
            "export it to look into it, or discard it"
        )
    if not 0 <= letter.header.partition < source.partitions:
        raise RedriveError(
            f"dead letter {letter.id} belongs to partition {letter.header.partition}, "
            f"but source {source.name!r} has {source.partitions}; export it and send it anew"
        )


def _pack(letters: Iterable[DeadLetter]) -> list[list[DeadLetter]]:
    """Group letters into record batches: of one partition, in their order, within both limits."""
    partitions: defaultdict[int, list[DeadLetter]] = defaultdict(list)
    for letter in letters:
        partitions[letter.header.partition].append(letter)
    return [batch for group in partitions.values() for batch in _cut(group)]


def _cut(group: Sequence[DeadLetter]) -> Iterator[list[DeadLetter]]:
    batch: list[DeadLetter] = []
    raw = 0
    for letter in group:
        size = len(letter.payload) + len(batches.SEPARATOR)
        if batch and (len(batch) == batches.MAX_EVENTS or raw + size > MAX_RAW):
            yield batch
            batch, raw = [], 0
        batch.append(letter)
        raw += size
    yield batch


def _chunks(ids: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (ids[at : at + size] for at in range(0, len(ids), size))


def _held(of: SourceKeys) -> list[str]:
    """The keys of the letters' table and groups, and of both that are in the making."""
    return [of.dead_table, of.dead_groups, *of.dead_draft]
