from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError, ResponseError

from pombo.shared import batches
from pombo.shared.audit import audit
from pombo.shared.deadletters import (
    FULL,
    Attempt,
    DeadLetter,
    Filter,
    LetterHeader,
    discard,
    find,
    full_reason,
    pages,
    read,
    redrive_page,
)
from pombo.shared.errors import RedriveError, StoredVersionError, UnknownLetterError, UnknownSourceError
from pombo.shared.keys import Keys, SourceKeys
from pombo.shared.ledger import Ledger, read_ledger
from pombo.shared.registry import Snapshot
from pombo.shared.scripts import script
from pombo.shared.sources import Source

SOURCE = Source(name="bot", incarnation="i", partitions=4)
ACCEPTED = "2026-01-02T03:04:05.678+00:00"


@pytest.fixture
async def of(redis: Redis, keys: Keys) -> SourceKeys:
    """The keys of source `bot`, whose ledger is there and empty."""
    await redis.hset(keys.of("bot").ledger, "incarnation", "i")
    return keys.of("bot")


def header(reason: str = "poison", partition: int = 0, **more: Any) -> LetterHeader:
    return LetterHeader(reason, partition, ACCEPTED, **more)


def body(message_id: str = "m1", **fields: Any) -> bytes:
    event = {"type": "track", "event": "Message Sent", "userId": "u1", "timestamp": ACCEPTED, **fields}
    return b'{"messageId":"%b",' % message_id.encode() + orjson.dumps(event)[1:]


async def bury(
    redis: Redis,
    of: SourceKeys,
    payload: bytes | None = None,
    written: LetterHeader | None = None,
    events: int | None = None,
) -> str:
    """Store a dead letter and count it, as a worker would; return its stream id."""
    fields: dict[Any, Any] = {"h": (written or header()).dump(), "b": body() if payload is None else payload}
    fields |= {} if events is None else {"n": events}
    stream_id = await redis.xadd(of.dead, fields)
    reason = (written or header()).reason
    for counter in ("accepted", "dead", f"dead:{reason}"):
        await redis.hincrby(of.ledger, counter, events or 1)
    await redis.hincrby(of.ledger, "dead_bytes", len(fields["h"]) + len(fields["b"]))
    assert isinstance(stream_id, bytes)
    return stream_id.decode()


async def letters(redis: Redis, keys: Keys, wanted: Filter | None = None, **options: Any) -> list[DeadLetter]:
    return [letter async for letter in read(redis, keys, "bot", wanted or Filter(), **options)]


async def events_in(redis: Redis, of: SourceKeys, partition: int) -> list[bytes]:
    """The serialised events that wait in a stream, in order."""
    found: list[bytes] = []
    stored: Any = await redis.xrange(of.stream(partition))
    for _, fields in stored:
        found += batches.decode(fields[b"b"], int(fields[b"n"]), int(fields[b"r"]))
    return found


async def is_balanced(redis: Redis, keys: Keys) -> bool:
    return (await audit(redis, keys, Snapshot(1, {"bot": SOURCE}))).balanced


def test_header_survives_storage() -> None:
    """A header comes back from JSON as it went."""
    attempt: Attempt = {
        "at": ACCEPTED,
        "status": 400,
        "outcome": "refused",
        "duration_s": 0.2,
        "note": "alone",
    }
    written = LetterHeader("too_large", 3, ACCEPTED, 413, "no", 2, [attempt])

    assert written == LetterHeader.load(written.dump())


def test_header_is_bounded() -> None:
    """The answer keeps its start and the history its end, whatever they hold."""
    history: list[Attempt] = [{"at": str(n), "status": None, "outcome": "timeout"} for n in range(50)]

    kept = LetterHeader.load(header(answer="\ud800" + "x" * 5000, history=history).dump())

    assert "?" + "x" * 2047 == kept.answer
    assert [str(n) for n in range(30, 50)] == [attempt["at"] for attempt in kept.history]


@pytest.mark.parametrize("stored", [b'{"v":2,"reason":"new"}', b'{"v":1}', b"", b"[1]", b"no json"])
def test_unknown_header_is_left_alone(stored: bytes) -> None:
    """A header of another version is reported as such."""
    with pytest.raises(StoredVersionError, match="upgrade pombo here"):
        LetterHeader.load(stored)


async def test_letter_describes_itself(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """The JSON of a list names the letter, its event and how it died."""
    stream_id = await bury(redis, of, written=header(status=400, answer="bad", attempts=3))

    letter = (await letters(redis, keys))[0]

    died_at = datetime.fromtimestamp(int(stream_id.split("-")[0]) / 1000, UTC)
    assert {
        "id": f"bot/{stream_id}",
        "source": "bot",
        "reason": "poison",
        "message_id": "m1",
        "type": "track",
        "event": "Message Sent",
        "user": "u1",
        "accepted_at": ACCEPTED,
        "died_at": died_at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{died_at.microsecond // 1000:03}Z",
        "attempts": 3,
        "status": 400,
        "answer": "bad",
        "events": 1,
        "group": letter.fingerprint,
    } == letter.describe()


async def test_show_adds_payload_and_history(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """The JSON of one letter has all of the list's, the payload and the history."""
    attempt: Attempt = {"at": ACCEPTED, "status": 503, "outcome": "retry"}
    await bury(redis, of, written=header(history=[attempt]))

    letter = (await letters(redis, keys))[0]

    added = {"payload": orjson.loads(body()), "payload_encoding": "json", "partition": 0, "history": [attempt]}
    assert {**letter.describe(), **added} == letter.show()


@pytest.mark.parametrize(
    ("payload", "shown", "encoding"),
    [(b'{"a', '{"a', "text"), (b"[1]", "[1]", "text"), (b"\x01\xff", "Af8=", "base64"), (b"", "", "text")],
)
async def test_any_payload_can_be_shown(
    redis: Redis, keys: Keys, of: SourceKeys, *, payload: bytes, shown: str, encoding: str
) -> None:
    """What is no event is shown as it is, and says nothing about an event."""
    await bury(redis, of, payload, header("invalid"))

    described = (await letters(redis, keys))[0].show()

    assert (shown, encoding) == (described["payload"], described["payload_encoding"])
    assert [None] * 4 == [described[field] for field in ("message_id", "type", "event", "user")]


@pytest.mark.parametrize("depth", [256, 1000])
@pytest.mark.parametrize("field", ["userId", "messageId", "event", "type", "properties"])
async def test_an_event_nested_too_deep_is_a_letter_like_others(
    redis: Redis, keys: Keys, of: SourceKeys, *, field: str, depth: int
) -> None:
    """JSON is read deeper than it is written: such an event is buried, described, and shown as the text that it is."""
    payload = b'{"%b":%b%b}' % (field.encode(), b"[" * depth, b"]" * depth)
    await bury(redis, of, payload, header("invalid"))

    (letter,) = await letters(redis, keys)

    assert (payload.decode(), "text") == (letter.show()["payload"], letter.show()["payload_encoding"])
    shown = {"userId": "user", "messageId": "message_id"}.get(field, field)
    assert None is letter.describe().get(shown)


async def test_corrupt_batch_counts_its_events(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """A record batch that died whole stands for all its events."""
    await bury(redis, of, b"\x01\x01junk", header("corrupt"), events=40)

    letter = (await letters(redis, keys))[0]

    assert (40, False, 40) == (letter.events, letter.redrivable, letter.describe()["events"])


async def test_anonymous_user_is_described(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """Without userId the anonymousId names the user."""
    await bury(redis, of, body(userId=None, anonymousId="a1"))

    assert "a1" == (await letters(redis, keys))[0].describe()["user"]


def test_payload_is_not_printed() -> None:
    """A letter's repr holds no event."""
    assert "u1" not in repr(DeadLetter("bot", "1-0", header(), body()))


@pytest.mark.parametrize(
    ("wanted", "matches"),
    [
        (Filter(), True),
        (Filter(source="bot", reason="poison", event="Message Sent", user="u1", message_id="m1"), True),
        (Filter(user="a1"), True),
        (Filter(since=datetime.fromtimestamp(1.5, UTC)), True),
        (Filter(since=datetime.fromtimestamp(1.501, UTC)), False),
        (Filter(source="other"), False),
        (Filter(reason="expired"), False),
        (Filter(event="message sent"), False),
        (Filter(user="u"), False),
        (Filter(message_id="m2"), False),
        (Filter(user="u1", reason="expired"), False),
    ],
)
def test_filter(wanted: Filter, *, matches: bool) -> None:
    """All that a filter names must fit, a user by either id."""
    letter = DeadLetter("bot", "1500-0", header(), body(anonymousId="a1"))

    assert matches == wanted.matches(letter)


def test_filter_passes_over_what_is_no_event() -> None:
    """A filter by what is in an event matches no payload without one, and does not fail on it."""
    letter = DeadLetter("bot", "1500-0", header("invalid"), b'["x"]')

    assert [False] * 3 == [f.matches(letter) for f in (Filter(event="x"), Filter(user="x"), Filter(message_id="x"))]
    assert Filter(reason="invalid").matches(letter)


async def test_reading_pages_to_the_end(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """More letters than a page are read once each, oldest first."""
    ids = [await bury(redis, of, body(f"m{n}")) for n in range(1001)]

    assert ids == [letter.stream_id for letter in await letters(redis, keys)]
    assert [500, 500, 1] == [len(page.letters) async for page in pages(redis, keys, "bot")]


async def test_reading_stops_at_count(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """At most `count` matching letters are given, also across pages."""
    for n in range(1010):
        await bury(redis, of, body(f"m{n}"), header("poison" if n % 2 else "expired"))

    found = await letters(redis, keys, Filter(reason="expired"), count=300)

    assert [f"m{n}" for n in range(0, 600, 2)] == [letter.event["messageId"] for letter in found]
    assert [] == await letters(redis, keys, count=0)


async def test_reading_resumes_at_a_checkpoint(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """A page's `next` is where another process goes on."""
    ids = [await bury(redis, of, body(f"m{n}")) for n in range(700)]

    first = await anext(pages(redis, keys, "bot"))

    assert ids[500:] == [letter.stream_id for letter in await letters(redis, keys, start=first.next)]


async def test_reading_starts_at_since(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """`since` is found by the stream's own order."""
    for ms in (1000, 2000, 3000):
        await redis.xadd(of.dead, {"h": header().dump(), "b": body()}, id=f"{ms}-0")
    since = datetime.fromtimestamp(2, UTC)

    assert ["2000-0", "3000-0"] == [letter.stream_id for letter in await letters(redis, keys, Filter(since=since))]
    assert [] == await letters(redis, keys, Filter(since=since + timedelta(days=1)))


async def test_unreadable_letters_are_reported(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """Letters of an unknown version are named by their page and do not hide the others."""
    unknown = await redis.xadd(of.dead, {"h": '{"v":2}', "b": "x"})
    known = await bury(redis, of)

    page = await anext(pages(redis, keys, "bot"))

    assert ([known], (unknown.decode(),)) == ([each.stream_id for each in page.letters], page.unreadable)  # type: ignore[union-attr]


async def test_letter_is_found_by_its_id(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """The id that a list shows leads back to the letter."""
    await bury(redis, of)
    letter = (await letters(redis, keys))[0]

    assert letter == await find(redis, keys, letter.id)


@pytest.mark.parametrize(
    "wrong", ["bot/1-0", "other/1-0", "bot", "1-0", "bot/", "bot/x-y", "bot/²-0", f"bot/{1 << 64}-0"]
)
async def test_wrong_id_is_told(redis: Redis, keys: Keys, of: SourceKeys, wrong: str) -> None:
    """An id that names nothing, or is none, says so."""
    with pytest.raises(UnknownLetterError, match="no dead letter has the id"):
        await find(redis, keys, wrong)


async def test_discard_moves_the_ledger(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """Discarded letters are gone, counted by their events, and a repeat discards nothing."""
    await bury(redis, of)
    await bury(redis, of, b"?", header("corrupt"), events=40)
    kept = await bury(redis, of)
    gone = (await letters(redis, keys))[:2]

    assert [41, 0] == [await discard(redis, keys, "bot", gone), await discard(redis, keys, "bot", gone)]

    held = {"corrupt": 0, "poison": 1}
    size = len(header().dump()) + len(body())
    expected = Ledger("i", accepted=42, dead=1, discarded=41, dead_bytes=size, dead_by_reason=held)
    assert expected == await read_ledger(redis, of)
    assert [kept] == [letter.stream_id for letter in await letters(redis, keys)]
    assert await is_balanced(redis, keys)


@pytest.mark.parametrize("take_away", ["discard", "redrive"])
async def test_letters_that_leave_end_the_park_that_they_caused(
    redis: Redis, keys: Keys, of: SourceKeys, take_away: str
) -> None:
    """Below the limit the source sends again in the same step, and the workers hear of it; at it, it stays parked."""
    for n in range(3):
        await bury(redis, of, body(f"m{n}"))
    source = SOURCE.model_copy(update={"dead_bytes": 2 * (len(header().dump()) + len(body("m0")))})
    assert full_reason(source).startswith(FULL)
    flow: dict[Any, Any] = {"parked": full_reason(source), "probe_at": "2", "dead_limit": source.dead_bytes}
    await redis.hset(of.flow, mapping=flow)
    found = await letters(redis, keys)

    async def take(letter: DeadLetter) -> None:
        if take_away == "discard":
            await discard(redis, keys, "bot", [letter])
        else:
            await redrive_page(redis, keys, source, [letter])

    async with redis.pubsub(ignore_subscribe_messages=True) as channel:
        await channel.subscribe(keys.wake)
        await take(found[0])
        assert full_reason(source).encode() == await redis.hget(of.flow, "parked")
        await take(found[1])
        assert {} == await redis.hgetall(of.flow)
        heard = [await channel.get_message(timeout=10) for _ in range(2 if take_away == "discard" else 3)]
    assert b"bot" in [message["data"] for message in heard if message]


async def test_letters_that_leave_end_no_other_park(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """A source that is parked for its key stays parked, whatever limit it once met."""
    await bury(redis, of)
    await redis.hset(of.flow, mapping={"parked": "401", "dead_limit": "1"})

    await discard(redis, keys, "bot", await letters(redis, keys))

    assert b"401" == await redis.hget(of.flow, "parked")


async def test_discard_goes_by_pages(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """Any number of letters may be discarded in one call."""
    for n in range(1100):
        await bury(redis, of, body(f"m{n}"))

    assert 1100 == await discard(redis, keys, "bot", await letters(redis, keys))
    assert 0 == await discard(redis, keys, "bot", [])
    assert 0 == await redis.xlen(of.dead)


async def test_discard_counts_a_repeated_letter_once(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """A letter given twice is discarded once."""
    await bury(redis, of)
    letter = (await letters(redis, keys))[0]

    assert 1 == await discard(redis, keys, "bot", [letter, letter])


async def test_discard_checks_before_it_writes(redis: Redis, of: SourceKeys) -> None:
    """A malformed id fails the script with every letter still there."""
    stream_id = await bury(redis, of)

    with pytest.raises(ResponseError):
        await script("dead_discard").acall(redis, [of.ledger, of.dead, of.flow], ["wake", "bot", stream_id, "nonsense"])

    assert 1 == await redis.xlen(of.dead)


async def test_discard_makes_no_ledger(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """Where Redis lost the ledger, discarding does not bring one of negative numbers back."""
    await bury(redis, of)
    await redis.delete(of.ledger)

    assert 1 == await discard(redis, keys, "bot", await letters(redis, keys))
    assert 0 == await redis.exists(of.ledger)


async def test_full_redis_discards_but_does_not_redrive(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """At maxmemory letters can be discarded, which frees memory, but not be redriven, which takes some."""
    await bury(redis, of)
    found = await letters(redis, keys)
    await redis.config_set("maxmemory", "1")
    try:
        with pytest.raises(OutOfMemoryError):
            await redrive_page(redis, keys, SOURCE, found)
        discarded = await discard(redis, keys, "bot", found)
    finally:
        await redis.config_set("maxmemory", "0")

    assert (1, 0) == (discarded, await redis.xlen(of.stream(0)))


async def test_redrive_keeps_every_byte(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """Redriven events stand in their partitions' streams byte for byte, in the order in which they died."""
    odd = b'{"messageId":"m9", "userId" : "\\u0041" ,"n":1.50}'
    for n, payload in enumerate((body("m0"), odd, body("m2"), body("m3"))):
        await bury(redis, of, payload, header(partition=n % 2))

    assert 4 == await redrive_page(redis, keys, SOURCE, await letters(redis, keys))

    assert [[body("m0"), body("m2")], [odd, body("m3")]] == [await events_in(redis, of, p) for p in (0, 1)]
    ledger = await read_ledger(redis, of)
    assert (4, 0, 4) == (ledger.accepted, ledger.dead, ledger.queued)
    assert await is_balanced(redis, keys)


async def test_redriven_events_go_last(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """What waits in the stream stays ahead of what is redriven."""
    waiting = batches.encode([body("first")])
    fields: dict[Any, Any] = {"n": waiting.events, "r": waiting.raw, "b": waiting.payload}
    await redis.xadd(of.stream(0), fields)
    await bury(redis, of, body("later"))

    await redrive_page(redis, keys, SOURCE, await letters(redis, keys))

    assert [body("first"), body("later")] == await events_in(redis, of, 0)


async def test_redrive_repeated_moves_nothing(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """A repeat, as after a lost reply, finds the letters gone and writes nothing."""
    for n in range(3):
        await bury(redis, of, body(f"m{n}"))
    found = await letters(redis, keys)

    assert [3, 0] == [await redrive_page(redis, keys, SOURCE, found + found[:1]) for _ in range(2)]
    assert 3 == len(await events_in(redis, of, 0))
    assert await is_balanced(redis, keys)


async def test_redrive_rebuilds_batches_without_what_is_gone(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """Letters that vanished since they were read are left out; the rest of their batch is moved."""
    for n in range(250):
        await bury(redis, of, body(f"m{n}"))
    found = await letters(redis, keys)
    await discard(redis, keys, "bot", [found[3], found[120], *found[200:]])

    assert 198 == await redrive_page(redis, keys, SOURCE, found)

    expected = {body(f"m{n}") for n in range(200) if n not in {3, 120}}
    assert expected == set(await events_in(redis, of, 0))
    assert await is_balanced(redis, keys)


async def test_redriven_batches_are_bounded(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """A record batch holds at most 100 events and at most one request's bytes."""
    for n in range(205):
        await bury(redis, of, body(f"m{n}"))
    for n in range(20):
        await bury(redis, of, body(f"x{n}", properties={"text": "x" * 31_000}), header(partition=1))

    assert 225 == await redrive_page(redis, keys, SOURCE, await letters(redis, keys))

    small: Any = await redis.xrange(of.stream(0))
    large: Any = await redis.xrange(of.stream(1))
    assert [100, 100, 5] == [int(fields[b"n"]) for _, fields in small]
    assert [15, 5] == [int(fields[b"n"]) for _, fields in large]
    assert all(int(fields[b"r"]) <= 475_000 for _, fields in large)


async def test_redrive_wakes_the_workers(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """A partition that was empty is published and announced; one that was not is announced."""
    await redis.xadd(of.stream(1), {"n": 1, "r": 1, "b": "x"})
    for partition in (0, 1):
        await bury(redis, of, body(), header(partition=partition))
    found = await letters(redis, keys)
    async with redis.pubsub() as channel:
        await channel.subscribe(keys.wake)
        await redrive_page(redis, keys, SOURCE, found)
        await redis.publish(keys.wake, "end")
        heard = [await channel.get_message(timeout=5) for _ in range(3)]

    assert [b"bot/0", b"end"] == [message["data"] for message in heard[1:] if message]
    assert [b"bot/0", b"bot/1"] == sorted(await redis.zrange(keys.active, 0, -1))


@pytest.mark.parametrize(
    ("reason", "payload", "events"),
    [
        ("corrupt", b"\x01\x01junk", 40),
        ("corrupt", b"\x01", 1),
        ("invalid", b'{"type":"x"}', None),
        ("invalid", b"", None),
    ],
)
async def test_what_is_no_event_is_not_redriven(
    redis: Redis, keys: Keys, of: SourceKeys, *, reason: str, payload: bytes, events: int | None
) -> None:
    """A page with a letter that holds no event is refused whole, before anything moves."""
    await bury(redis, of)
    await bury(redis, of, payload, header(reason), events)

    with pytest.raises(RedriveError, match=rf"\({reason}\) holds no event"):
        await redrive_page(redis, keys, SOURCE, await letters(redis, keys))

    assert (2, 0) == (await redis.xlen(of.dead), await redis.xlen(of.stream(0)))


async def test_unknown_partition_is_not_redriven(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """A letter of a partition that the source does not have would be lost from view: it is refused."""
    await bury(redis, of, body(), header(partition=4))

    with pytest.raises(RedriveError, match="belongs to partition 4, but source 'bot' has 4"):
        await redrive_page(redis, keys, SOURCE, await letters(redis, keys))


async def test_redrive_of_another_incarnation_is_refused(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """Letters are not moved for a source that was removed meanwhile."""
    await bury(redis, of)
    old = SOURCE.model_copy(update={"incarnation": "old"})

    with pytest.raises(UnknownSourceError, match="nothing was redriven"):
        await redrive_page(redis, keys, old, await letters(redis, keys))

    assert 1 == await redis.xlen(of.dead)


async def test_redrive_script_takes_a_letter_once(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """Of two batches that name one letter, or one with a corrupt batch, only the whole ones are written."""
    one, two = await bury(redis, of, body("m1")), await bury(redis, of, body("m2"))
    corrupt = await bury(redis, of, b"?", header("corrupt"), events=7)
    batch = batches.encode([body("m1")])
    tail: list[str | bytes | int] = [1, batch.raw, batch.payload, "bot/0"]

    args: list[str | bytes | int] = ["i", keys.wake, "bot", 8, one, *tail, 8, one, *tail, 8, corrupt, *tail]
    touched = [of.ledger, of.dead, of.flow, of.dead_table, of.dead_groups, *of.dead_draft, of.stream(0)]
    reply = await script("dead_redrive").acall(redis, touched, args)

    assert [b"ok", [], [one.encode()], [corrupt.encode()]] == reply
    assert [two, corrupt] == [letter.stream_id for letter in await letters(redis, keys)]
    assert await is_balanced(redis, keys)


@pytest.mark.parametrize(
    ("payload", "event"),
    [
        (b'{"a":NaN,"b":-Infinity}', {"a": "NaN", "b": "-Infinity"}),
        (b'{"a":"\\ud83d"}', {}),
        (b'{"a":NaN,"b":"\\ud83d"}', {}),
        (b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}", {}),
        (b"NaN", {}),
        (b"\xff", {}),
        (b"", {}),
    ],
)
def test_payloads_that_are_no_json(payload: bytes, event: dict[str, Any]) -> None:
    """What a client sent beyond JSON is shown as far as it can be, and is never in the way."""
    letter = DeadLetter("bot", "1-0", LetterHeader("invalid", 0), payload)
    assert event == letter.event
    assert orjson.dumps(letter.show())
    assert not letter.redrivable
