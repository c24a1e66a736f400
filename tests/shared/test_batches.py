"""Record batches, whole and damaged."""

import tracemalloc
import zlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib.resources import files
from uuid import UUID

import orjson
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from pombo.shared import batches
from pombo.shared.batches import DICTIONARY, MAX_EVENTS, MAX_RAW, VERSION, RecordBatch
from pombo.shared.errors import CorruptBatchError, StoredVersionError

_texts = st.text(st.characters(codec="utf-8"), max_size=20)
_ids = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30) | st.sampled_from(
    ['"', "\\", '\\"', "a\\", ',\n"', "\n", "\x00", "é", "🕊", '{"messageId":"', "\\\\", '"\\']
)
_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | _texts | st.sampled_from([",\n", "\n", ",", '"},\n{"']),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def _bodies(draw: st.DrawFn) -> bytes:
    return orjson.dumps({"messageId": draw(_ids), "type": "track", "properties": draw(_values)})


_batch = st.lists(_bodies(), min_size=1, max_size=12)


def decoded(batch: RecordBatch) -> list[bytes]:
    return batches.decode(batch.payload, batch.events, batch.raw)


def event(number: int, **properties: object) -> bytes:
    return orjson.dumps({"messageId": f"m{number}", "type": "track", "event": "Message Sent", "properties": properties})


# -- there and back ------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(_batch)
def test_events_come_back_byte_for_byte(bodies: list[bytes]) -> None:
    """What was encoded is decoded to the same bytes in the same order, with its true counts beside it."""
    batch = batches.encode(bodies)
    assert bodies == decoded(batch)
    assert (len(bodies), len(b",\n".join(bodies))) == (batch.events, batch.raw)


@settings(deadline=None)
@given(_batch)
def test_batch_can_stand_in_a_request_as_it_is(bodies: list[bytes]) -> None:
    """The uncompressed events, brackets around them, are a JSON list."""
    raw = batches.SEPARATOR.join(bodies)
    assert [orjson.loads(body) for body in bodies] == orjson.loads(b"[%s]" % raw)


def test_newlines_inside_of_events_cut_nothing() -> None:
    """The separator within a value is escaped by JSON, and stays within its event."""
    bodies = [event(1, text=',\n{"messageId":"x"}'), event(2, text="\n,\r\n"), event(3, text="\\n,\\\n")]
    assert bodies == decoded(batches.encode(bodies))


def test_full_batch_of_large_events() -> None:
    """A hundred events of 32 KB each go through one entry."""
    bodies = [event(n, text="ção" * 6000 + str(n)) for n in range(MAX_EVENTS)]
    batch = batches.encode(bodies)
    assert bodies == decoded(batch)
    assert len(batch.payload) < batch.raw / 20


def test_dictionary_makes_small_batches_small() -> None:
    """One usual event takes less than half of its size."""
    context = {"library": {"name": "pombo", "version": "1.0.0"}}
    body = orjson.dumps({
        "messageId": "5ef1bf3c-7ea3-4a7e-8a0e-a9f0d3c57a8d", "type": "track", "userId": "u1",
        "event": "Message Sent",
        "properties": {"channel": "whatsapp"}, "timestamp": "2026-01-01T00:00:00.000Z", "context": context,
    })  # fmt: skip
    assert len(batches.encode([body]).payload) < len(body) / 2


MAGICLESS = zstandard.FORMAT_ZSTD1_MAGICLESS
UUIDS = ["01a2214d-cd33-7333-8a6a-15fd0b261443", "b86f59e6-11b3-4629-aa8f-dd0694d8543c"]


def with_uuids(number: int) -> bytes:
    return orjson.dumps({"messageId": UUIDS[0], "userId": f"dlg-{UUIDS[1]}", "properties": {"n": number}})


def test_stored_form_is_version_dictionary_frame() -> None:
    """Events without UUIDs: version, dictionary, no UUIDs, and one zstd frame with a checksum."""
    payload = batches.encode([event(1)]).payload
    assert (VERSION, DICTIONARY, 0) == (payload[0], payload[1], payload[2])
    assert zstandard.get_frame_parameters(payload[3:], format=MAGICLESS).has_checksum


def test_uuids_of_few_events_stand_before_the_frame() -> None:
    """Few events: version, dictionary, how many UUIDs, the events' CRC-32, the UUIDs, and a frame without them."""
    bodies = [with_uuids(1), with_uuids(2)]
    raw = b",\n".join(bodies)
    payload = batches.encode(bodies).payload
    assert (VERSION, DICTIONARY, 4) == (payload[0], payload[1], payload[2])
    assert zlib.crc32(raw).to_bytes(4) == payload[3:7]
    assert [UUID(one).bytes for one in UUIDS * 2] == [payload[at : at + 16] for at in range(7, 71, 16)]
    assert not zstandard.get_frame_parameters(payload[71:], format=MAGICLESS).has_checksum


@settings(deadline=None)
@given(st.lists(st.lists(st.uuids() | _texts, max_size=90), min_size=1, max_size=6))
def test_uuids_come_back_where_they_were(values: list[list[UUID | str]]) -> None:
    """Whatever stands around them, and however many there are: those of one batch fit, or stay where they are."""
    bodies = [orjson.dumps({"messageId": "m", "v": [*some, "".join(map(str, some))]}) for some in values]
    assert bodies == decoded(batches.encode(bodies))


def test_what_only_resembles_a_uuid_stays() -> None:
    """Capitals would come back small, so they are no UUID here."""
    bodies = [orjson.dumps({"messageId": UUIDS[0].upper(), "v": [UUIDS[1][:-1], f"{UUIDS[1]}f0", "\x01"]})]
    assert bodies == decoded(batches.encode(bodies))


def test_a_lone_event_takes_little() -> None:
    """A usual event of 300 bytes, with two UUIDs and a time in it, takes less than 115."""
    body = orjson.dumps({
        "messageId": UUIDS[0], "type": "track", "event": "Message Sent",
        "properties": {"turn": 3, "text": "Ok, your order will be ready very soon."}, "userId": f"user-{UUIDS[1]}",
        "timestamp": "2026-11-28T08:41:53.674461Z", "context": {"library": {"name": "pombo", "version": "0.1.0"}},
    })  # fmt: skip
    assert (True, True) == (300 < len(body), len(batches.encode([body]).payload) < 115)


@pytest.mark.parametrize(
    "payload",
    [
        "010128b52ffd0400ad0000307d2c0a62227d04fca5bd2bbdf3317c47fb192901f685abc0",
        "020200040095000038617d2c0a62227d03fc655b8bc35666e06af685abc0",
    ],
    ids=["version 1", "version 2"],
)
def test_stored_form_is_pinned(payload: str) -> None:
    """A batch written by an earlier release is read by every later one."""
    expected = [b'{"messageId":"a","type":"track"}', b'{"messageId":"b"}']
    assert expected == batches.decode(bytes.fromhex(payload), 2, 51)


def test_taken_out_uuids_are_pinned() -> None:
    """The same for a batch whose UUIDs stand before its frame."""
    payload = (
        "020202bb8d3d2701a2214dcd3373338a6a15fd0b261443b86f59e611b34629aa8fdd0694d8543c0000a50000306e223a377d"
        "7d047c00926cb436b6b68c4df069"
    )
    assert [with_uuids(7)] == batches.decode(bytes.fromhex(payload), 1, len(with_uuids(7)))


def test_threads_do_not_disturb_each_other() -> None:
    """Every thread has a compressor of its own."""

    def work(number: int) -> bool:
        bodies = [event(number * 100 + n, text="x" * n) for n in range(50)]
        return all(bodies == decoded(batches.encode(bodies)) for _ in range(50))

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(work, range(16)))


# -- damage --------------------------------------------------------------------------------------------------


def damaged(batch: RecordBatch, payload: bytes, bodies: list[bytes]) -> None:
    """Damage is told by one of the two errors, or did not touch the events."""
    with suppress(CorruptBatchError, StoredVersionError):
        assert bodies == batches.decode(payload, batch.events, batch.raw)


@pytest.mark.parametrize("bodies", [[event(n, text="y" * n) for n in range(20)], [with_uuids(1), with_uuids(2)]])
def test_every_flipped_bit_is_noticed(bodies: list[bytes]) -> None:
    """A single wrong bit anywhere never yields wrong events or another error."""
    batch = batches.encode(bodies)
    for position in range(8 * len(batch.payload)):
        payload = bytearray(batch.payload)
        payload[position // 8] ^= 1 << position % 8
        damaged(batch, bytes(payload), bodies)


@settings(deadline=None)
@given(_batch, st.data())
def test_truncated_batches_are_corrupt(bodies: list[bytes], data: st.DataObject) -> None:
    """A batch that ends early is corrupt, wherever it ends."""
    batch = batches.encode(bodies)
    end = data.draw(st.integers(0, len(batch.payload) - 1))
    with pytest.raises(CorruptBatchError):
        batches.decode(batch.payload[:end], batch.events, batch.raw)


@settings(deadline=None, max_examples=300)
@given(_batch, st.lists(st.tuples(st.integers(8, 10_000), st.integers(0, 255)), min_size=1, max_size=6))
def test_overwritten_batches_are_noticed(bodies: list[bytes], writes: list[tuple[int, int]]) -> None:
    """Bytes of the frame that were overwritten never yield wrong events."""
    batch = batches.encode(bodies)
    payload = bytearray(batch.payload)
    for position, value in writes:
        payload[8 + position % (len(payload) - 8)] = value
    damaged(batch, bytes(payload), bodies)


@settings(deadline=None)
@given(st.binary(max_size=60), st.integers(0, 10), st.integers(0, 1000))
def test_noise_is_no_batch(noise: bytes, events: int, raw: int) -> None:
    """Bytes that nobody encoded are corrupt, whatever their entry says."""
    with pytest.raises(CorruptBatchError):
        batches.decode(bytes((VERSION, DICTIONARY)) + noise, events, raw)


@pytest.mark.parametrize(("more_events", "more_bytes"), [(1, 0), (-1, 0), (0, 1), (0, -1), (3, 3), (-2, 0)])
def test_counts_must_agree(more_events: int, more_bytes: int) -> None:
    """An entry whose counts are not those of its events is corrupt."""
    batch = batches.encode([event(1), event(2)])
    with pytest.raises(CorruptBatchError):
        batches.decode(batch.payload, batch.events + more_events, batch.raw + more_bytes)


@pytest.mark.parametrize(
    "bodies", [[b"{}"], [b'{"type":"track","messageId":"a"}'], [b'{"messageId":1}'], [b""], [event(1), b"x"]]
)
def test_events_must_begin_with_their_message_id(bodies: list[bytes]) -> None:
    """What does not begin with a messageId cannot be claimed, and counts as corrupt."""
    with pytest.raises(CorruptBatchError):
        decoded(batches.encode(bodies))


BOMB = 64 << 20


def compressed(raw: bytes, *, write_content_size: bool) -> bytes:
    """A payload as pombo would never write it."""
    dictionary = zstandard.ZstdCompressionDict(
        files("pombo.shared").joinpath(f"dictionary_{DICTIONARY}.zstd").read_bytes()
    )
    parameters = zstandard.ZstdCompressionParameters.from_level(
        3, write_content_size=write_content_size, format=MAGICLESS
    )
    compressor = zstandard.ZstdCompressor(dict_data=dictionary, compression_params=parameters)
    return bytes((VERSION, DICTIONARY, 0)) + compressor.compress(raw)


@pytest.mark.parametrize("raw", [-(1 << 80), -1, 0, MAX_RAW + 1, 1 << 40, 1 << 62, 1 << 64, 1 << 80])
def test_impossible_sizes_are_corrupt(raw: int) -> None:
    """A size that no entry of pombo's can have is told before any memory is taken for it."""
    batch = batches.encode([event(1)])
    with pytest.raises(CorruptBatchError, match="bytes"):
        batches.decode(batch.payload, batch.events, raw)


@pytest.mark.parametrize("raw", [1, 100, MAX_RAW])
def test_frame_larger_than_its_entry_says_takes_no_memory(raw: int) -> None:
    """A frame that unpacks to more than its entry says is corrupt, and is not unpacked beyond that."""
    for states_size in (True, False):
        payload = compressed(bytes(BOMB), write_content_size=states_size)
        tracemalloc.start()
        with pytest.raises(CorruptBatchError):
            batches.decode(payload, 1, raw)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert most < BOMB / 2


def test_frame_that_states_its_size_is_corrupt() -> None:
    """A frame that names its own size would be believed whatever the entry says; pombo writes none."""
    body = event(1)
    assert [body] == batches.decode(compressed(body, write_content_size=False), 1, len(body))
    with pytest.raises(CorruptBatchError, match="another way"):
        batches.decode(compressed(body, write_content_size=True), 1, len(body))


@pytest.mark.parametrize(
    "more", [b"\x00", b"trailing", batches.encode([event(2)]).payload[3:]], ids=["byte", "text", "frame"]
)
def test_nothing_may_follow_the_frame(more: bytes) -> None:
    """Bytes behind the frame, even another frame, are corrupt."""
    batch = batches.encode([event(1)])
    with pytest.raises(CorruptBatchError):
        batches.decode(batch.payload + more, batch.events, batch.raw)


@pytest.mark.parametrize(
    "body", [b'{"messageId":"', b'{"messageId":"abc', b'{"messageId":"abc\\"', b'{"messageId":"a\\\\\\",}']
)
def test_message_ids_must_end(body: bytes) -> None:
    """An event whose messageId has no closing quote cannot be claimed, and counts as corrupt."""
    with pytest.raises(CorruptBatchError, match="messageId"):
        decoded(batches.encode([event(1), body]))


@pytest.mark.parametrize("number", [0, 3, 4, 255])
def test_unknown_version_is_left_alone(number: int) -> None:
    """A version that is unknown here is never called corrupt."""
    batch = batches.encode([event(1)])
    for payload in (bytes((number,)) + batch.payload[1:], bytes((number, 0)), bytes((number,)) + b"future"):
        with pytest.raises(StoredVersionError, match=f"version {number}"):
            batches.decode(payload, batch.events, batch.raw)


@pytest.mark.parametrize("number", [0, 3, 255])
def test_unknown_dictionary_is_left_alone(number: int) -> None:
    """A dictionary that this release does not have is named, and the batch never called corrupt."""
    batch = batches.encode([event(1)])
    payload = bytes((VERSION, number)) + batch.payload[2:]
    for _ in range(2):
        with pytest.raises(StoredVersionError, match=f"dictionary {number}"):
            batches.decode(payload, batch.events, batch.raw)


# -- messageIds ----------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(_bodies())
def test_message_id_is_read_without_parsing(body: bytes) -> None:
    """The id is found whatever it holds, in the form in which JSON wrote it."""
    found = batches.message_id(body)
    assert orjson.loads(body)["messageId"] == orjson.loads(b'"%s"' % found)
    assert orjson.dumps(orjson.loads(body)["messageId"]) == b'"%s"' % found


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"messageId":"a"}', b"a"),
        (b'{"messageId":""}', b""),
        (b'{"messageId":"a\\"b","x":"c"}', b'a\\"b'),
        (b'{"messageId":"a\\\\","x":"c"}', b"a\\\\"),
        (b'{"messageId":"\\\\\\"\\\\\\\\","x":"\\""}', b'\\\\\\"\\\\\\\\'),
        (b'{"messageId":"\\"","messageId":"b"}', b'\\"'),
    ],
)
def test_escapes_in_message_ids_are_kept(body: bytes, found: bytes) -> None:
    """An escaped quote does not end an id, a backslash that is itself escaped does not escape the quote."""
    assert found == batches.message_id(body)


@settings(deadline=None)
@given(st.lists(_bodies(), max_size=5))
def test_many_message_ids_are_read_like_one(bodies: list[bytes]) -> None:
    """Reading many at once finds what reading each one does."""
    assert [batches.message_id(body) for body in bodies] == batches.message_ids(bodies)


def test_many_message_ids_keep_their_escapes() -> None:
    """An id that ends in a backslash, or holds a quote, is not cut short."""
    bodies = [b'{"messageId":"a\\\\","x":"c"}', b'{"messageId":"a\\"b"}', b'{"messageId":""}']
    assert [b"a\\\\", b'a\\"b', b""] == batches.message_ids(bodies)


# -- partitions ----------------------------------------------------------------------------------------------


def test_partitions_are_pinned() -> None:
    """An ordering key keeps its partition for good: another value would break the order of waiting events."""
    keys = ["u1", "", "5511999990000@wa.gw.msging.net", "ção", "🕊", "\ud800"]
    assert [6, 0, 0, 0, 7, 0] == [batches.partition_of(key, 8) for key in keys]
    assert [118, 0, 56, 80, 23, 40] == [batches.partition_of(key, 256) for key in keys]


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=())), st.integers(1, 256))
def test_every_key_has_a_partition(key: str, partitions: int) -> None:
    """Any text, also half of a surrogate pair, has one of the partitions, always the same."""
    partition = batches.partition_of(key, partitions)
    assert 0 <= partition < partitions
    assert partition == batches.partition_of(key, partitions)


@pytest.mark.parametrize("partitions", [2, 7, 8, 16, 100, 256])
@pytest.mark.parametrize("form", ["u%d", "%d", "55119%08d@wa.gw.msging.net", "user-%d-x"])
def test_keys_spread_over_the_partitions(partitions: int, form: str) -> None:
    """Keys that differ in a number only are spread evenly, within five standard deviations."""
    counts = Counter(batches.partition_of(form % number, partitions) for number in range(partitions * 200))
    assert partitions == len(counts)
    assert max(abs(count - 200) for count in counts.values()) < 5 * 200**0.5
