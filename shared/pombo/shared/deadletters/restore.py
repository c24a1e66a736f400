"""Putting dead letters back that an export holds: each once, however often that is tried."""

import base64
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any, BinaryIO, NamedTuple

import orjson
from redis.asyncio import Redis

from pombo.shared.batches import partition_of
from pombo.shared.clock import iso
from pombo.shared.deadletters.letter import REASONS, Attempt, DeadLetter, LetterHeader, is_id, order, told
from pombo.shared.deadletters.reader import fetch_each
from pombo.shared.deadletters.rows import row_of
from pombo.shared.errors import RestoreError, UnknownSourceError
from pombo.shared.keys import Keys
from pombo.shared.scripts import Argument, script
from pombo.shared.shapes import SHAPES
from pombo.shared.sources import Source

MOST_LETTERS = 500
MOST_BYTES = 4 << 20
"""Of letters put back in one step: a millisecond or two of the server."""
MOST_EVENTS = 1_000_000_000
"""In one letter: far more than a record batch holds, and the ledger can add them up without rounding."""
LATEST_MS = 253_402_300_799_999
"""The last millisecond of the year 9999, in which a letter may say that it died."""
REMEMBERED_S = 30 * 24 * 3600
"""Seconds for which Redis remembers which lines of a file were put back, after the last one was."""
CHUNK = 1 << 20
"""Bytes of a file that are read at once to name its import."""


class Numbered(NamedTuple):
    """A letter that a line of a file tells of."""

    line: int
    """Number of the line, from 1."""
    letter: DeadLetter


@dataclass(frozen=True, slots=True)
class Restored:
    """What became of letters that were to be put back."""

    put: int = 0
    """Are dead letters again."""
    present: int = 0
    """Were there already under their own ids: nothing was done."""
    before: int = 0
    """Had been put back before, whatever became of them since: nothing was done."""

    def __add__(self, other: "Restored") -> "Restored":
        return Restored(self.put + other.put, self.present + other.present, self.before + other.before)


def exported(line: Mapping[str, Any]) -> DeadLetter:
    """The letter that a line of an export tells of, as `DeadLetter.show` writes it.

    Where there is a `payload_raw`, it is the payload.

    Raises:
        RestoreError: the line tells of none; it says what is wrong.
    """
    source, _, stream_id = _field(line, "id", str, "").rpartition("/")
    if not source or not is_id(stream_id) or order(stream_id)[0] > LATEST_MS:
        raise RestoreError("its id is none of a dead letter (source/ms-seq)")
    header = LetterHeader(
        reason=_field(line, "reason", str, None), partition=_field(line, "partition", int, -1),
        accepted_at=_field(line, "accepted_at", str | None, None), status=_field(line, "status", int | None, None),
        answer=_field(line, "answer", str | None, None), attempts=_field(line, "attempts", int, 0),
        history=_field(line, "history", list, []),
    )  # fmt: skip
    if header.reason not in REASONS:
        raise RestoreError("its reason is none that this pombo knows")
    if not all(map(_is_attempt, header.history)):
        raise RestoreError("its history holds what is no attempt")
    events = _field(line, "events", int, 1)
    if not 0 <= events <= MOST_EVENTS:
        raise RestoreError(f"it says {events} events")
    letter = DeadLetter(source, stream_id, header, _payload(line), events)
    if letter.redrivable and not letter.event:
        # Whatever stands there would go into a request as it is, beside other events.
        raise RestoreError("its payload is not one event")
    return letter


def read_line(line: bytes) -> DeadLetter:
    """The letter in a line of a file that an export wrote.

    Raises:
        RestoreError: there is none in it; the message holds nothing of the line.
    """
    try:
        told = orjson.loads(line)
    except orjson.JSONDecodeError:
        raise RestoreError("it is no JSON") from None
    if not isinstance(told, dict):
        raise RestoreError("it is no JSON object")
    return exported(told)


def restore_steps(letters: Iterable[Numbered]) -> Iterator[list[Numbered]]:
    """Cut letters into what one step puts back."""
    step: list[Numbered] = []
    size = 0
    for one in letters:
        if step and (len(step) == MOST_LETTERS or size + len(one.letter.payload) > MOST_BYTES):
            yield step
            step, size = [], 0
        step.append(one)
        size += len(one.letter.payload)
    if step:
        yield step


def import_name(content: str, source: Source, *, again: str = "") -> str:
    """The name of the import of a file into a source, whoever does it: its letters come back once under it.

    Args:
        content: `digest_of` the file.
        source: where its letters are put.
        again: something random, when letters are wanted that came back before.
    """
    told = f"lines/{content}/{source.name}/{source.incarnation}/{again}"
    return blake2b(told.encode(), digest_size=16).hexdigest()


def digest_of(file: BinaryIO, look: Callable[[], None] = lambda: None) -> str:
    """A hash of a file's bytes: the same file is the same import. `look` is called once a `CHUNK`."""
    digest = blake2b(digest_size=12)
    file.seek(0)
    while chunk := file.read(CHUNK):
        look()
        digest.update(chunk)
    return digest.hexdigest()


async def restore(
    redis: Redis, keys: Keys, source: Source, letters: Sequence[Numbered], *, name: str, by: str
) -> Restored:
    """Put letters back among a source's dead letters: reason, history, acceptance, and payloads byte for byte.

    They get new ids; their histories keep the old ones, with the time of death. The ledger counts them as accepted
    anew. One of the same source that has not left is passed over, and so is one whose line was put back before.

    Args:
        redis: a client of the source's Redis.
        keys: its catalogue.
        source: whose letters they are to be.
        letters: what `restore_steps` cut.
        name: of the import; see `import_name`.
        by: names who imports, through all its runs: it is told again what it did when it repeats its last step.

    Raises:
        UnknownSourceError: the source was removed; nothing was put back.
        RestoreError: the source's dead letters are at their limit; nothing was put back.
    """
    of, missing = keys.of(source.name), await _missing(redis, keys, source, letters)
    present = len(letters) - len(missing)
    if not missing:
        return Restored(0, present)
    call = f"{by}:{letters[0].line}-{letters[-1].line}"
    args: list[Argument] = [source.incarnation, call, source.dead_bytes, REMEMBERED_S]
    for line, letter in missing:
        header = _again(source, letter).dump()
        row = row_of(header, letter.payload, letter.events)
        args += [line, _type(letter), letter.header.reason, header, letter.payload, letter.events, *row.arguments]
    touched = [of.ledger, *of.imported(name), of.dead, of.dead_table, of.dead_groups]
    reply = await script("dead_restore").acall(redis, touched, args)
    if reply[0] == b"unknown":
        raise UnknownSourceError(f"source {source.name!r} was removed or made anew; nothing was put back")
    if reply[0] == b"full":
        raise RestoreError(
            f"the dead letters of {source.name!r} are at their limit of {source.dead_bytes} bytes; redrive or discard "
            f"some, or `pombo sources set {source.name} --dead-bytes N`"
        )
    # A repeat may find that more of them left since.
    put = min(int(reply[1]), len(missing))
    return Restored(put, present, len(missing) - put)


async def _missing(redis: Redis, keys: Keys, source: Source, letters: Sequence[Numbered]) -> list[Numbered]:
    """Those of the letters that are not there under their own ids."""
    own = [letter.stream_id for _, letter in letters if letter.source == source.name]
    entries = await fetch_each(redis, keys.of(source.name), own)
    there = {(stream_id.decode(), fields.get(b"b")) for stream_id, fields in entries}
    return [
        one
        for one in letters
        if one.letter.source != source.name or (one.letter.stream_id, one.letter.payload) not in there
    ]


def _again(source: Source, letter: DeadLetter) -> LetterHeader:
    """Its header, with its death in the history, in a partition that the source has."""
    died: Attempt = {
        "at": iso(letter.died_at), "status": None, "outcome": "died",
        "note": f"as {letter.id}; put back from an export",
    }  # fmt: skip
    header = replace(letter.header, history=[*letter.header.history, died])
    if 0 <= header.partition < source.partitions:
        return header
    user = told(letter.event.get("userId") or letter.event.get("anonymousId")) or ""
    return replace(header, partition=partition_of(user, source.partitions))


def _type(letter: DeadLetter) -> str:
    """The type that the ledger counts it under."""
    kind = letter.event.get("type")
    return kind if isinstance(kind, str) and kind in SHAPES else "unknown"


def _payload(line: Mapping[str, Any]) -> bytes:
    if "payload" not in line:
        raise RestoreError("it has no payload")
    payload, encoding = line["payload"], line.get("payload_encoding", "json")
    raw = line.get("payload_raw")
    try:
        if isinstance(raw, str):
            return raw.encode()
        if encoding == "json":
            return orjson.dumps(payload)
        if isinstance(payload, str) and encoding in {"text", "base64"}:
            return payload.encode() if encoding == "text" else base64.b64decode(payload, validate=True)
    except ValueError:
        pass
    raise RestoreError(f"its payload cannot be read as {encoding!r}")


def _is_attempt(one: Any) -> bool:
    """Whether it has what every attempt has, so that it can be shown."""
    if not isinstance(one, dict):
        return False
    kinds: dict[str, Any] = {"at": str, "outcome": str, "status": int | None, "note": str | None}
    return {"at", "outcome"} <= one.keys() and all(isinstance(one.get(name), kind) for name, kind in kinds.items())


def _field(line: Mapping[str, Any], name: str, kind: Any, default: Any) -> Any:
    value = line.get(name, default)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise RestoreError(f"its {name} is {type(value).__name__}, and should be {getattr(kind, '__name__', kind)}")
    return value
