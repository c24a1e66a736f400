"""Putting dead letters back from an export."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError

from pombo.shared.audit import audit
from pombo.shared.deadletters import (
    Attempt,
    DeadLetter,
    Filter,
    LetterHeader,
    Numbered,
    Restored,
    digest_of,
    discard,
    exported,
    import_name,
    read,
    restore,
    restore_steps,
    search,
)
from pombo.shared.deadletters.restore import MOST_EVENTS, MOST_LETTERS
from pombo.shared.errors import RestoreError, UnknownSourceError
from pombo.shared.keys import Keys, SourceKeys
from pombo.shared.ledger import read_ledger
from pombo.shared.registry import Snapshot
from support.letters import SOURCE, body, header, letter, open_source, put

ATTEMPT: Attempt = {"at": "2026-01-02T03:05:00Z", "status": 400, "outcome": "refused", "note": "alone"}


@pytest.fixture
async def of(redis: Redis, keys: Keys) -> SourceKeys:
    """The keys of source `bot`, whose ledger is there and empty."""
    await open_source(redis, keys)
    return keys.of("bot")


async def letters(redis: Redis, keys: Keys) -> list[DeadLetter]:
    return [one async for one in read(redis, keys, "bot")]


def numbered(these: Iterable[DeadLetter]) -> list[Numbered]:
    """Letters as lines of a file."""
    return [Numbered(number, one) for number, one in enumerate(these, 1)]


def line(one: DeadLetter) -> Any:
    """A letter as a line of an export, read again."""
    return orjson.loads(orjson.dumps(one.show()))


@given(
    st.one_of(
        st.binary(max_size=80),
        st.text(max_size=40).map(str.encode),
        st.sampled_from(
            [
                body(), b'{"a":1,"a":2}', b'{ "a" : 1.0 }', b'{"a":1e3}', b'{"a":"\\u00e9"}', b'{"a":NaN}',
                b'{"a":"\xff"}', '{"a":NaN}'.encode("utf-16"),
                b'{"messageId":"m","n":12345678901234567890123}', b"[1]", b"", b'{"a":-0.0}', b"{}", b"\x01?",
                *(b'{"a":%b%b}' % (b"[" * depth, b"]" * depth) for depth in (250, 253, 254, 1000)),
            ]
        ),
    ),
    st.sampled_from(["poison", "invalid", "corrupt", "unknown_item"]),
)  # fmt: skip
def test_an_export_holds_the_very_bytes(payload: bytes, reason: str) -> None:
    """Whatever a letter holds, it is made again of its line: payload, reason, history, and where it belongs."""
    made = LetterHeader(reason, 2, "2026-01-02T03:04:05.678Z", 400, "no", 3, [ATTEMPT])
    one = DeadLetter("bot", "1500-7", made, payload, 7 if reason == "corrupt" else 1)
    assert one == exported(line(one))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"id": None}, "its id is NoneType"),
        ({"id": "bot"}, "its id is none of a dead letter"),
        ({"id": "bot/x-y"}, "its id is none of a dead letter"),
        ({"id": f"bot/{'9' * 5000}-0"}, "its id is none of a dead letter"),
        ({"id": "bot/18446744073709551615-0"}, "its id is none of a dead letter"),
        ({"reason": 7}, "its reason is int"),
        ({"partition": "0"}, "its partition is str"),
        ({"events": -1}, "it says -1 events"),
        ({"events": True}, "its events is bool"),
        ({"reason": "corrupt", "events": 10**17}, "it says 100000000000000000 events"),
        ({"payload_raw": '{"messageId":"m1"},{"messageId":"m2"}'}, "its payload is not one event"),
        ({"payload_raw": '{"messageId":"m1'}, "its payload is not one event"),
        ({"payload": 7, "payload_encoding": "text"}, "its payload cannot be read as 'text'"),
        ({"payload": "%", "payload_encoding": "base64"}, "its payload cannot be read as 'base64'"),
        ({"payload_encoding": "rot13"}, "its payload cannot be read as 'rot13'"),
        ({"reason": "bored"}, "its reason is none that this pombo knows"),
        ({"history": "none"}, "its history is str"),
        ({"history": [7]}, "its history holds what is no attempt"),
        ({"history": [{"at": 7, "outcome": "x"}]}, "its history holds what is no attempt"),
        ({"history": [{"at": "now"}]}, "its history holds what is no attempt"),
    ],
)
def test_lines_that_hold_no_letter_are_told(change: dict[str, Any], words: str) -> None:
    """What is wrong is said in words, without what the line holds of an event."""
    told = line(DeadLetter("bot", "1-0", header(), body()))
    with pytest.raises(RestoreError, match=words):
        exported({**told, **change})


async def test_the_most_events_that_a_line_may_say_are_counted(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """More would be rounded on the way into the ledger, or refused behind the letter."""
    most = exported(line(DeadLetter("bot", "1-0", header("corrupt"), b"\x01?", MOST_EVENTS)))
    await restore(redis, keys, SOURCE, numbered([most] * MOST_LETTERS), name="i", by="us")
    assert MOST_EVENTS * MOST_LETTERS == (await read_ledger(redis, of)).dead
    assert (await read_ledger(redis, of)).balanced


def test_a_line_without_a_payload_is_told() -> None:
    """As `dead list --json` writes them, which holds no events."""
    with pytest.raises(RestoreError, match="no payload"):
        exported(DeadLetter("bot", "1-0", header(), body()).describe())


async def test_letters_come_back_as_they_were(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """Under new ids, with their death in the history; the ledger counts them as accepted anew, and it balances."""
    await put(redis, keys, (header("expired", 1, history=[ATTEMPT]).dump(), body("m1"), 1), letter("m2"))
    await put(redis, keys, (header("corrupt").dump(), b"\x01?", 7))
    before = await letters(redis, keys)
    lines = [line(one) for one in before]
    await discard(redis, keys, "bot", before)

    put_back = await restore(redis, keys, SOURCE, numbered(map(exported, lines)), name="i", by="us")

    after = await letters(redis, keys)
    assert Restored(3, 0) == put_back
    assert [(one.payload, one.header.reason, one.events) for one in before] == [
        (one.payload, one.header.reason, one.events) for one in after
    ]
    died: Attempt = {
        "at": before[0].describe()["died_at"], "status": None, "outcome": "died",
        "note": f"as {before[0].id}; put back from an export",
    }  # fmt: skip
    assert replace(before[0].header, history=[ATTEMPT, died]) == after[0].header
    ledger = await read_ledger(redis, of)
    assert (18, 9, 9) == (ledger.accepted, ledger.dead, ledger.discarded)
    assert (await audit(redis, keys, Snapshot(1, {"bot": SOURCE}))).describe()["sources"]["bot"]["problems"] == []
    assert [after[0].id] == [one.id for one in (await search(redis, keys, "bot", Filter(reason="expired"))).letters]


async def test_a_repeat_puts_nothing_back_twice(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """Who lost the answer is told again what was put back; who asks later is told that it had been before."""
    await put(redis, keys, letter("m1"), letter("m2"))
    first, second = numbered(gone := await letters(redis, keys))
    await discard(redis, keys, "bot", gone)
    found = [
        await restore(redis, keys, SOURCE, [one], name="i", by="us") for one in (first, first, second, first, second)
    ]

    assert [Restored(1), Restored(1), Restored(1), Restored(before=1), Restored(before=1)] == found
    assert ["m1", "m2"] == [one.event["messageId"] for one in await letters(redis, keys)]


async def test_whoever_imports_a_file_its_lines_come_back_once(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """However they are cut into steps, and in whatever order, also of lines that had not left at first."""
    await put(redis, keys, *(letter(f"m{number}") for number in range(6)))
    lines = numbered(there := await letters(redis, keys))
    await discard(redis, keys, "bot", there[2:])

    assert Restored(2, present=2) == await restore(redis, keys, SOURCE, lines[:4], name="i", by="a job")
    assert Restored(1, before=2) == await restore(redis, keys, SOURCE, lines[2:5], name="i", by="a command")
    await discard(redis, keys, "bot", await letters(redis, keys))
    assert Restored(3, before=3) == await restore(redis, keys, SOURCE, lines, name="i", by="another one")
    assert ["m0", "m1", "m5"] == [one.event["messageId"] for one in await letters(redis, keys)]
    assert (await read_ledger(redis, of)).balanced


def test_an_import_is_named_by_content_and_source(tmp_path: Path) -> None:
    """Another file, another source, or one made anew, is another import, and so is one that is wanted again."""
    named = []
    for content in (b"a", b"a", b"b"):
        (tmp_path / "file").write_bytes(content)
        with (tmp_path / "file").open("rb") as file:
            named.append(import_name(digest_of(file), SOURCE))
    other = SOURCE.model_copy(update={"incarnation": "another"})
    with (tmp_path / "file").open("rb") as file:
        named += [import_name(digest_of(file), other), import_name(digest_of(file), SOURCE, again="x")]
    assert named[0] == named[1]
    assert 4 == len({*named})


async def test_letters_that_never_left_are_passed_over(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """An export that nothing was discarded of puts nothing back; of another source it makes new letters."""
    await put(redis, keys, letter("m1"))
    there = await letters(redis, keys)

    assert Restored(0, 1) == await restore(redis, keys, SOURCE, numbered(there), name="i", by="us")
    assert 1 == await redis.xlen(of.dead)
    others = [replace(one, source="other") for one in there]
    assert Restored(1, 0) == await restore(redis, keys, SOURCE, numbered(others), name="i", by="us")


async def test_letters_get_a_partition_that_the_source_has(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """A letter of a source with more partitions can be redriven here all the same."""
    one = DeadLetter("a", "1-0", header("poison", 77), body())
    await restore(redis, keys, SOURCE, numbered([one]), name="i", by="us")

    assert all(0 <= one.header.partition < SOURCE.partitions for one in await letters(redis, keys))


async def test_what_cannot_take_letters_is_told(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """A source that was removed, and letters at their limit, take none; a full Redis neither."""
    one = numbered([DeadLetter("a", "1-0", header(), body())])
    with pytest.raises(UnknownSourceError, match="nothing was put back"):
        await restore(redis, keys, SOURCE.model_copy(update={"incarnation": "x"}), one, name="i", by="us")
    await restore(redis, keys, SOURCE, one, name="i", by="us")
    full = SOURCE.model_copy(update={"dead_bytes": 1})
    with pytest.raises(RestoreError, match="at their limit of 1 bytes"):
        await restore(redis, keys, full, one, name="another", by="us")
    assert Restored(before=1) == await restore(redis, keys, full, one, name="i", by="others")
    await redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(OutOfMemoryError):
            await restore(redis, keys, SOURCE, one, name="another", by="us")
    finally:
        await redis.config_set("maxmemory", 0)
    assert 1 == await redis.xlen(of.dead)


def test_steps_are_bounded() -> None:
    """By number and by size, and a letter that is larger than a step is one by itself."""
    small = numbered([DeadLetter("a", "1-0", header(), b"x")] * 1001)
    large = numbered([DeadLetter("a", "1-0", header(), b"x" * (3 << 20))] * 3)
    assert [500, 500, 1] == [len(step) for step in restore_steps(small)]
    assert [1, 1, 1] == [len(step) for step in restore_steps(large)]
    assert [] == [*restore_steps([])]
