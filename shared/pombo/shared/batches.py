"""Record batches: what one stream entry holds.

An entry has three fields: `n` (events), `r` (bytes of the events as Segment will get them, separators included)
and `b`, the payload: one byte of version, one byte naming the dictionary, one zstd frame with a checksum. The
uncompressed events stand one after the other, separated by `,` and a newline: a worker can put them into a
request as they are, and can cut them apart without parsing, because serialised JSON holds no raw newline.
"""

import threading
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import zstandard

from pombo.shared.errors import CorruptBatchError, StoredVersionError

VERSION = 1
DICTIONARY = 1
SEPARATOR = b",\n"
MAX_EVENTS = 100
"""Events in one record batch (design §4)."""

MAX_RAW = 16 << 20
"""Bytes of events beyond which an entry cannot be what pombo wrote: 100 events of 32,000 bytes are 3.2 MB."""

_LEVEL = 3
_BACKSLASH = ord("\\")
_PREFIX = b'{"messageId":"'


@dataclass(frozen=True, slots=True)
class RecordBatch:
    """A record batch ready for a stream: events, bytes before compression, payload."""

    events: int
    raw: int
    payload: bytes


def partition_of(ordering_key: str, partitions: int) -> int:
    """The partition of an ordering key: the same in every process, for good."""
    return key_hash(ordering_key) % partitions


def key_hash(ordering_key: str) -> int:
    """What the partition is computed from: enough of an ordering key when the partitions are not known yet."""
    return zlib.crc32(ordering_key.encode("utf-8", "surrogatepass"))


@cache
def _dictionary(number: int) -> zstandard.ZstdCompressionDict:
    try:
        data = files("pombo.shared").joinpath(f"dictionary_{number}.zstd").read_bytes()
    except FileNotFoundError:
        raise StoredVersionError(
            f"a record batch needs dictionary {number}, which this pombo does not have; upgrade pombo here"
        ) from None
    dictionary = zstandard.ZstdCompressionDict(data)
    dictionary.precompute_compress(level=_LEVEL)
    return dictionary


class _Codec(threading.local):
    """One compressor and one decompressor a thread: zstandard's are not thread-safe."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(
            level=_LEVEL,
            dict_data=_dictionary(DICTIONARY),
            write_checksum=True,
            write_content_size=False,
            write_dict_id=False,
        )
        self.decompressors: dict[int, zstandard.ZstdDecompressor] = {}

    def decompressor(self, number: int) -> zstandard.ZstdDecompressor:
        found = self.decompressors.get(number)
        if found is None:
            found = zstandard.ZstdDecompressor(dict_data=_dictionary(number))
            self.decompressors[number] = found
        return found


_codec = _Codec()


def encode(bodies: Sequence[bytes]) -> RecordBatch:
    """Make a record batch of serialised events, in their order."""
    raw = SEPARATOR.join(bodies)
    payload = bytes((VERSION, DICTIONARY)) + _codec.compressor.compress(raw)
    return RecordBatch(len(bodies), len(raw), payload)


def decode(payload: bytes, events: int, raw: int) -> list[bytes]:
    """Cut a record batch into its serialised events.

    Raises:
        StoredVersionError: its version or dictionary is unknown here; leave it alone.
        CorruptBatchError: it is not what was written.
    """
    if len(payload) < 2:
        raise CorruptBatchError(f"record batch of {len(payload)} bytes: too short to hold a header")
    if payload[0] != VERSION:
        raise StoredVersionError(
            f"record batch has version {payload[0]}, this pombo knows {VERSION}; upgrade pombo here, it is left alone"
        )
    body = _decompress(payload, raw)
    bodies = body.split(SEPARATOR)
    if len(body) != raw or len(bodies) != events:
        raise CorruptBatchError(
            f"record batch holds {len(bodies)} events in {len(body)} bytes, its entry says {events} in {raw}"
        )
    if not _have_message_ids(bodies):
        raise CorruptBatchError("record batch holds an event that does not start with its messageId")
    return bodies


def _decompress(payload: bytes, raw: int) -> bytes:
    if not 0 < raw <= MAX_RAW:
        raise CorruptBatchError(f"record batch claims {raw} bytes of events; at most {MAX_RAW} are possible")
    frame = payload[2:]
    try:
        # A frame that states its size is not ours, and would be believed whatever the limit says.
        if zstandard.get_frame_parameters(frame).content_size != zstandard.CONTENTSIZE_UNKNOWN:
            raise CorruptBatchError("record batch is compressed in another way than pombo does it")
        return _codec.decompressor(payload[1]).decompress(frame, max_output_size=raw, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise CorruptBatchError(f"record batch cannot be decompressed: {error}") from error


def _have_message_ids(bodies: Sequence[bytes]) -> bool:
    """Whether each event starts with its messageId: looked at all together, as one by one takes twice as long."""
    start = len(_PREFIX)
    if {body[:start] for body in bodies} != {_PREFIX}:
        return False
    ends = [body.find(b'"', start) for body in bodies]
    if -1 in ends:
        return False
    # A quote behind a backslash may be one of the id's own.
    doubted = [body for body, end in zip(bodies, ends, strict=True) if body[end - 1] == _BACKSLASH]
    return all(_id_end(body) > 0 for body in doubted)


def message_id(body: bytes) -> bytes:
    """The messageId of a serialised event, as its JSON writes it (escapes kept), without parsing the event."""
    return body[len(_PREFIX) : _id_end(body)]


def _id_end(body: bytes) -> int:
    """Where the quote is that ends the messageId; -1 when there is none."""
    start = len(_PREFIX)
    end = body.find(b'"', start)
    while end > start and body[end - 1] == _BACKSLASH and _escaped(body, start, end):
        end = body.find(b'"', end + 1)
    return end


def _escaped(body: bytes, start: int, end: int) -> bool:
    before = body[start:end]
    return (len(before) - len(before.rstrip(b"\\"))) % 2 == 1
