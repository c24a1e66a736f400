import gzip
import signal
import stat
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis

from ops.cli.commands import Cli, events, said
from pombo.ops.cli.lines import MAX_LINE, read_lines
from pombo.ops.cli.rejects import Reject, Rejects
from pombo.ops.cli.sender import Sender
from pombo.shared import batches
from pombo.shared.keys import Keys
from pombo.shared.messageids import new_message_id
from pombo.shared.settings import Settings
from producer.proxy import Proxy


def stored(redis: Redis, source: str = "bot") -> list[dict[str, Any]]:
    """Every event in the source's streams."""
    found = []
    for partition in range(8):
        entries: list[Any] = redis.xrange(Keys().of(source).stream(partition))  # type: ignore[assignment]
        for _, fields in entries:
            bodies = batches.decode(fields[b"b"], int(fields[b"n"]), int(fields[b"r"]))
            found += [orjson.loads(body) for body in bodies]
    return found


def rejects(path: Path) -> list[dict[str, Any]]:
    """The rejects in a file."""
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def test_send_a_file(pombo: Cli, bot: str, place: Path, sync_redis: Redis) -> None:
    """Every line of a file is accepted, the summary says so, and no rejects file appears."""
    (place / "in.ndjson").write_text(events(*(f"m{n}" for n in range(2_000))))
    assert (0, "2,000 events accepted\n", "") == pombo("send", "in.ndjson", "--source", bot)
    assert {f"m{n}" for n in range(2_000)} == {event["messageId"] for event in stored(sync_redis)}
    assert [place / "in.ndjson"] == [*place.iterdir()]


def test_send_standard_input(pombo: Cli, bot: str) -> None:
    """Standard input is read for `-` and for no file at all."""
    for words in (["-"], []):
        answer = pombo("send", *words, "--source", bot, "--json", stdin=events("m1"))
        assert {
            "source": "bot", "lines": 1, "accepted": 1, "spooled": 0, "rejected": 0, "reasons": {}, "rejects": None,
        } == answer.json  # fmt: skip


def test_an_event_without_id_gets_one(pombo: Cli, bot: str, sync_redis: Redis) -> None:
    """A messageId is made for an event that has none, and kept for one that has, under either name."""
    lines = [{"type": "track", "userId": "u", "event": "e", **more} for more in ({}, {"message_id": "mine"})]
    text = "".join(orjson.dumps(line).decode() + "\n" for line in lines)
    assert pombo("send", "--source", bot, stdin=text).code == 0
    ids = {str(event["messageId"]) for event in stored(sync_redis)}
    assert {"mine"} == {one for one in ids if len(one) != len(new_message_id())}
    assert len(ids) == 2


def test_broken_lines_are_rejected_by_number(pombo: Cli, bot: str, place: Path) -> None:
    """Broken JSON, other JSON and unsound events are told by their line, the rest is accepted."""
    lines = [
        events("m1"), "\n", '{"type":\n', "[1]\n", '{"type":"track","messageId":"m5","event":"e"}\n',
        '{"type":"track","userId":"u","event":"e","messageId":"m6","foo":1}\n', events("m7"),
    ]  # fmt: skip
    (place / "in").write_text("".join(lines))
    answer = pombo("send", "in", "--source", bot)
    assert (1, "2 events accepted; 4 rejected, see in.rejects.ndjson\n") == (answer.code, answer.out)
    assert ["line 3", "line 4", "line 5", "line 6"] == [line.split(":")[0] for line in answer.err.splitlines()]
    first, second, third, fourth = rejects(place / "in.rejects.ndjson")
    assert {
        "line": 3, "reason": "invalid", "field": None, "text": '{"type":',
        "message": "line 3: no JSON: unexpected end of data at character 9",
    } == first  # fmt: skip
    assert (4, "line 4: no JSON object", "[1]") == (second["line"], second["message"], second["text"])
    assert ("userId", {"type": "track", "messageId": "m5", "event": "e"}) == (third["field"], third["event"])
    assert ("foo", "invalid") == (fourth["field"], fourth["reason"])


def test_rejects_are_for_their_owner(pombo: Cli, bot: str, place: Path) -> None:
    """Rejects go where they are wanted, readable for nobody else, and stdin's have a name of their own."""
    pombo("send", "--source", bot, stdin="x\n")
    pombo("send", "--source", bot, "--rejects", "mine", stdin="x\n")
    for name in ("pombo-send.rejects.ndjson", "mine"):
        assert stat.S_IMODE((place / name).stat().st_mode) == 0o600
        assert len(rejects(place / name)) == 1


def test_rejects_can_be_sent_again(pombo: Cli, bot: str, place: Path, sync_redis: Redis) -> None:
    """The events in the rejects file carry the id that they were sent with."""
    pombo("send", "--source", bot, stdin='{"type":"track","userId":"u","event":"e","foo":1}\n')
    (reject,) = rejects(place / "pombo-send.rejects.ndjson")
    again = orjson.dumps(reject["event"]).decode()
    assert pombo("send", "--source", bot, "--lenient", stdin=again).code == 0
    assert [reject["event"]["messageId"]] == [event["messageId"] for event in stored(sync_redis)]


def test_many_rejects_are_not_all_told(pombo: Cli, bot: str) -> None:
    """Five rejects are told, then how many more there are."""
    answer = pombo("send", "--source", bot, stdin="x\n" * 8)
    assert len(answer.err.splitlines()) == 6
    assert answer.err.splitlines()[-1].startswith("… and 3 more")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["in", "--source", "bto"], "no source is called 'bto'; did you mean 'bot'?"),
        (["absent", "--source", "bot"], "absent: No such file or directory"),
        ([".", "--source", "bot"], ".: Is a directory"),
        (["in", "--source", "bot", "--rejects", "in"], "is the file that is being sent"),
        (["in", "--source", "bot", "--rejects", "no/where"], "no rejects file can be made as no/where"),
        (["in"], "Missing option '--source'"),
    ],
)
def test_what_cannot_be_sent(pombo: Cli, bot: str, place: Path, words: list[str], expected: str) -> None:
    """Before anything is sent, wrong words are told in one line with exit code 2."""
    (place / "in").write_text(events("m1"))
    answer = pombo("send", *words)
    assert answer.code == 2
    assert expected in said(answer)
    assert (place / "in").read_text() == events("m1")


def test_a_disabled_installation_is_told(
    pombo: Cli, bot: str, sync_redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """POMBO_DISABLED checks and discards, and nobody is left to believe otherwise."""
    monkeypatch.setenv("POMBO_DISABLED", "1")
    answer = pombo("send", "--source", bot, stdin=events("m1"))
    assert answer.err == "warning: POMBO_DISABLED is set: events are checked and discarded\n"
    assert stored(sync_redis) == []


def test_a_full_backlog_is_a_reject(pombo: Cli, bot: str) -> None:
    """What the source's backlog does not take is in the rejects file."""
    pombo("sources", "set", bot, "--backlog-bytes", "1")
    answer = pombo("send", "--source", bot, "--json", "--patience", "0.2", stdin=events("m1", "m2"))
    assert answer.code == 1
    assert answer.json["accepted"] + answer.json["rejected"] == 2
    assert {"backlog_full"} == set(answer.json["reasons"])


@pytest.fixture
def spool(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A spool folder that the environment names."""
    monkeypatch.setenv("POMBO_SPOOL_DIR", str(place / "spool"))
    return place / "spool"


@pytest.fixture
def away(bot: str, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """What stands before a Redis that has source `bot`, and lets nobody through."""
    with Proxy(redis_url, listening=False) as proxy:
        monkeypatch.setenv("POMBO_REDIS_URL", proxy.url)
        yield proxy


def test_redis_away_with_a_spool(pombo: Cli, bot: str, spool: Path, away: Proxy, sync_redis: Redis) -> None:
    """While Redis is away events go to the spool; the next `send` brings them to Redis, before its own."""
    answer = pombo("send", "--source", bot, "--patience", "0.2", stdin=events("m1", "m2"))
    assert (0, "2 events accepted") == (answer.code, answer.out.splitlines()[0])
    assert answer.out.splitlines()[1].startswith("2 of them spooled: a producer or `pombo send` with the same")
    (warning,) = answer.err.splitlines()
    assert warning.startswith("warning: no Redis answers at ")
    assert warning.endswith(f"; until then events go to the spool in {spool}")
    assert [] == stored(sync_redis)
    away.listen()
    answer = pombo("send", "--source", bot, "--json", stdin=events("m3"))
    assert (0, 1, 0, "") == (answer.code, answer.json["accepted"], answer.json["spooled"], answer.err)
    assert ["m1", "m2", "m3"] == [event["messageId"] for event in stored(sync_redis)]


def test_redis_away_without_a_spool(pombo: Cli, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a spool nothing is sent to a Redis that is away, and no rejects file is made."""
    monkeypatch.setenv("POMBO_REDIS_URL", f"unix://{place}/nothing")
    answer = pombo("send", "--source", "bot", stdin=events("m1"))
    assert answer.code == 1
    assert "no Redis answers at" in said(answer)
    assert [] == [*place.iterdir()]


def test_a_spool_makes_no_source(pombo: Cli, bot: str, spool: Path) -> None:
    """A source that Redis does not know is refused at once, spool or not."""
    answer = pombo("send", "--source", "bto", stdin=events("m1"))
    assert answer.code == 2
    assert "did you mean 'bot'" in said(answer)
    assert not spool.exists()


def test_order_is_kept(pombo: Cli, bot: str, sync_redis: Redis) -> None:
    """Events of one user lie in their stream as they stood in the file."""
    names = [f"m{n}" for n in range(500)]
    pombo("send", "--source", bot, stdin=events(*names))
    assert names == [event["messageId"] for event in stored(sync_redis)]


def test_a_pipe_from_another_program(program: Cli, bot: str, place: Path) -> None:
    """A real process takes a file of a data set and answers with one JSON document."""
    text = gzip.decompress(gzip.compress(events("m1", "m2").encode())).decode()
    answer = program("send", "-", "--source", bot, "--json", stdin=text)
    assert (0, 2, "") == (answer.code, answer.json["accepted"], answer.err)


class Struck(Rejects):
    """Rejects in whose midst Ctrl-C comes, once."""

    def add(self, reject: Reject) -> None:
        if not self.count:
            signal.raise_signal(signal.SIGINT)
        super().add(reject)


def test_what_was_taken_is_counted(bot: str, place: Path) -> None:
    """Ctrl-C while a line is being taken ends it after that line, which is counted and known as the last one."""
    sender = Sender(bot, Struck(place / "rejects", source=None), Settings(), lenient=False, patience_s=30)
    with pytest.raises(KeyboardInterrupt), sender:
        list(sender.send(BytesIO(b"broken\n" * 3)))
    assert (1, 1) == (sender.lines, sender.rejects.count)


def test_lines_of_any_length_are_read_in_bounded_memory() -> None:
    """A line beyond a megabyte is a complaint, and the lines after it are read."""
    lines = list(read_lines(BytesIO(b"x" * (2 * MAX_LINE + 5) + b"\n" + b'{"a":1}\n')))
    assert ["2,097,158 bytes long, and an event has 32,000 at most", ""] == [line.complaint for line in lines]
    assert [2 * MAX_LINE + 6, 2 * MAX_LINE + 14] == [line.end for line in lines]
    assert lines[1].event == {"a": 1}


def test_a_byte_order_mark_is_no_complaint() -> None:
    """Files of some editors begin with a mark."""
    (line,) = read_lines(BytesIO(b'\xef\xbb\xbf{"a":1}'))
    assert line.event == {"a": 1}


@given(st.lists(st.binary(max_size=20)))
def test_whatever_is_in_the_lines(parts: list[bytes]) -> None:
    """Any bytes give lines in order, and never an exception."""
    data = b"\n".join(parts)
    lines = list(read_lines(BytesIO(data)))
    assert sorted({line.number for line in lines}) == [line.number for line in lines]
    assert all(line.event is not None or line.complaint for line in lines)
    assert all(line.end <= len(data) for line in lines)
