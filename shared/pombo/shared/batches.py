"""Record batches: what one stream entry holds.

An entry has three fields: `n` (events), `r` (bytes of the events as Segment will get them, separators included)
and `b`, the payload. The uncompressed events stand one after the other, separated by `,` and a newline: a worker can
put them into a request as they are, and can cut them apart without parsing, because serialised JSON holds no raw
newline.

A payload of version 2: one byte of version, one naming the dictionary, one that counts the UUIDs taken out, and a zstd
frame without its magic number. Few events have their UUIDs taken out, as these compress badly: in the frame stands
`HOLE` for each, which no JSON holds, and before the frame stand the CRC-32 of the events and the UUIDs, 16 bytes each.
Where none is taken out, the frame has a checksum of its own. Version 1 is only read: version, dictionary, zstd frame.
"""

import re
import threading
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import zstandard

from pombo.shared.errors import CorruptBatchError, StoredVersionError

VERSION = 2
DICTIONARY = 2
SEPARATOR = b",\n"
MAX_EVENTS = 100
"""Events in one record batch (design §4)."""

MAX_RAW = 16 << 20
"""Bytes of events beyond which an entry cannot be what pombo wrote: 100 events of 32,000 bytes are 3.2 MB."""

_FORMATS = {1: zstandard.FORMAT_ZSTD1, VERSION: zstandard.FORMAT_ZSTD1_MAGICLESS}
READABLE = tuple(_FORMATS)
"""Versions that `decode` knows; all are in a row, the last is the one that `encode` writes."""
_LEVEL = 3
_FEW = 4
"""Events of a record batch up to which UUIDs are taken out: 12 bytes less for a lone event, and some microseconds."""
HOLE = b"\x01"
UUID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_UUID_BYTES = 16
_HEADER_BYTES = 3
_CRC_BYTES = 4
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
    """The compressors and decompressors of a thread: zstandard's are not thread-safe."""

    def __init__(self) -> None:
        self.compressor = _compressor(checksum=True)
        self.bare_compressor = _compressor(checksum=False)
        self.decompressors: dict[tuple[int, int], zstandard.ZstdDecompressor] = {}

    def decompressor(self, version: int, number: int) -> zstandard.ZstdDecompressor:
        found = self.decompressors.get((version, number))
        if found is None:
            found = zstandard.ZstdDecompressor(dict_data=_dictionary(number), format=_FORMATS[version])
            self.decompressors[version, number] = found
        return found


def _compressor(*, checksum: bool) -> zstandard.ZstdCompressor:
    parameters = zstandard.ZstdCompressionParameters.from_level(
        _LEVEL,
        write_checksum=checksum,
        write_content_size=False,
        write_dict_id=False,
        format=_FORMATS[VERSION],
    )
    return zstandard.ZstdCompressor(dict_data=_dictionary(DICTIONARY), compression_params=parameters)


_codec = _Codec()


def encode(bodies: Sequence[bytes]) -> RecordBatch:
    """Make a record batch of serialised events, in their order."""
    raw = SEPARATOR.join(bodies)
    taken = UUID.findall(raw) if len(bodies) <= _FEW else []
    if 0 < len(taken) < 256:
        uuids = bytes.fromhex(b"".join(taken).replace(b"-", b"").decode())
        frame = _codec.bare_compressor.compress(UUID.sub(HOLE, raw))
        payload = bytes((VERSION, DICTIONARY, len(taken))) + zlib.crc32(raw).to_bytes(_CRC_BYTES) + uuids + frame
    else:
        payload = bytes((VERSION, DICTIONARY, 0)) + _codec.compressor.compress(raw)
    return RecordBatch(len(bodies), len(raw), payload)


def decode(payload: bytes, events: int, raw: int) -> list[bytes]:
    """Cut a record batch into its serialised events.

    Raises:
        StoredVersionError: its version or dictionary is unknown here; leave it alone.
        CorruptBatchError: it is not what was written.
    """
    if len(payload) < 2:
        raise CorruptBatchError(f"record batch of {len(payload)} bytes: too short to hold a header")
    if payload[0] not in _FORMATS:
        raise StoredVersionError(
            f"record batch has version {payload[0]}, this pombo knows {VERSION}; upgrade pombo here, it is left alone"
        )
    if not 0 < raw <= MAX_RAW:
        raise CorruptBatchError(f"record batch claims {raw} bytes of events; at most {MAX_RAW} are possible")
    body = _decompress(payload, 2, raw) if payload[0] == 1 else _filled(payload, raw)
    bodies = body.split(SEPARATOR)
    if len(body) != raw or len(bodies) != events:
        raise CorruptBatchError(
            f"record batch holds {len(bodies)} events in {len(body)} bytes, its entry says {events} in {raw}"
        )
    if not _have_message_ids(bodies):
        raise CorruptBatchError("record batch holds an event that does not start with its messageId")
    return bodies


def _filled(payload: bytes, raw: int) -> bytes:
    """The events of a payload of version 2, its UUIDs where they were."""
    count = payload[2] if len(payload) > 2 else 0
    if not count:
        return _decompress(payload, _HEADER_BYTES, raw)
    start = _HEADER_BYTES + _CRC_BYTES
    end = start + _UUID_BYTES * count
    pieces = _decompress(payload, end, raw).split(HOLE)
    digits = payload[start:end].hex()
    if len(pieces) != count + 1 or len(digits) != 2 * _UUID_BYTES * count:
        raise CorruptBatchError(f"record batch has room for {len(pieces) - 1} UUIDs, and says that it holds {count}")
    for number in range(count):
        pieces[number] += _canonical(digits[2 * _UUID_BYTES * number : 2 * _UUID_BYTES * (number + 1)])
    body = b"".join(pieces)
    if zlib.crc32(body).to_bytes(_CRC_BYTES) != payload[_HEADER_BYTES:start]:
        raise CorruptBatchError("record batch has another checksum than its events")
    return body


def _canonical(digits: str) -> bytes:
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}".encode()


def _decompress(payload: bytes, start: int, raw: int) -> bytes:
    """What the frame holds that begins at `start` and ends with the payload: `raw` bytes at most."""
    version, number, frame = payload[0], payload[1], payload[start:]
    try:
        # A frame that states its size is not ours, and would be believed whatever the limit says.
        if (
            zstandard.get_frame_parameters(frame, format=_FORMATS[version]).content_size
            != zstandard.CONTENTSIZE_UNKNOWN
        ):
            raise CorruptBatchError("record batch is compressed in another way than pombo does it")
        return _codec.decompressor(version, number).decompress(frame, max_output_size=raw, allow_extra_data=False)
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


def message_ids(bodies: Iterable[bytes]) -> list[bytes]:
    """The same of many: an id that does not end in a backslash is cut out at once."""
    start = len(_PREFIX)
    return [
        body[start:end] if body[(end := body.find(b'"', start)) - 1] != _BACKSLASH else message_id(body)
        for body in bodies
    ]


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
