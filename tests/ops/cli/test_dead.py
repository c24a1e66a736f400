import os
import stat
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from redis import Redis
from rq import SimpleWorker
from rq.serializers import JSONSerializer

from ops.cli.commands import DEADLINE_S, Cli, bury, said
from pombo.shared.keys import Keys
from pombo.worker.jobs import queue


def do_jobs(redis: Redis) -> None:
    """Do every job that waits, as a worker would."""
    worker = SimpleWorker([queue(redis)], connection=redis, serializer=JSONSerializer)
    worker.work(burst=True, logging_level="WARNING")


@pytest.fixture
def letters(bot: str, sync_redis: Redis) -> list[str]:
    """The ids of three dead letters."""
    return [
        bury(sync_redis, bot, "m1", user="u1"),
        bury(sync_redis, bot, "m2", "expired", userId="u2", event="Message Read"),
        bury(sync_redis, bot, "m3", "corrupt"),
    ]


def ids(pombo: Cli, *words: str) -> list[str]:
    """The ids that `dead list` gives."""
    return [row["id"] for row in pombo("dead", "list", *words, "--json").json]


def test_list_as_json(pombo: Cli, letters: list[str]) -> None:
    """Each letter has the keys of the contract, the oldest first."""
    rows = pombo("dead", "list", "--json").json
    assert letters == [row["id"] for row in rows]
    assert {
        "id", "source", "reason", "message_id", "type", "event", "user", "accepted_at", "died_at", "attempts",
        "status", "answer",
    } <= set(rows[0])  # fmt: skip
    assert ("bot", "rejected_by_segment", "m1", 400) == tuple(
        rows[0][key] for key in ("source", "reason", "message_id", "status")
    )


def test_times_end_in_z(pombo: Cli, letters: list[str]) -> None:
    """When it was accepted and when it died are written alike."""
    row = pombo("dead", "list", "--json").json[0]
    assert ["Z", "Z"] == [row["accepted_at"][-1], row["died_at"][-1]]


def test_one_event_is_singular(pombo: Cli, letters: list[str]) -> None:
    """A corrupt batch without a name is shown as its count of events."""
    table = pombo("dead", "list").out
    assert "1 event " in table
    assert "1 events" not in table


def test_list_filters(pombo: Cli, letters: list[str]) -> None:
    """Reason, event, user, messageId, time, source and limit each narrow the list."""
    first, second, third = letters
    assert [second] == ids(pombo, "--reason", "expired")
    assert [second] == ids(pombo, "--event", "Message Read")
    assert [second] == ids(pombo, "--user", "u2")
    assert [first] == ids(pombo, "--message-id", "m1")
    assert [first, second, third] == ids(pombo, "--since", "2h")
    assert [] == ids(pombo, "--since", "2100-01-01")
    assert [first, second] == ids(pombo, "--limit", "2")
    assert [first, second, third] == ids(pombo, "--source", "bot")


def test_list_for_people(pombo: Cli, letters: list[str]) -> None:
    """The table has a line a letter, and says when there are more."""
    text = pombo("dead", "list", "--limit", "2").out
    assert letters[0] in text
    assert letters[2] not in text
    assert "There are more than 2" in text
    assert pombo("dead", "list", "--user", "nobody").out == "No dead letters match.\n"


def test_no_letters(pombo: Cli, bot: str) -> None:
    """Without a filter nothing can fail to match: there are none."""
    assert pombo("dead", "list").out == "No dead letters.\n"


def test_a_letter_cannot_steer_the_terminal(pombo: Cli, bot: str, sync_redis: Redis) -> None:
    """Escape codes in an event's name are shown, never obeyed, and markup is text."""
    bury(sync_redis, bot, "m1", event="\x1b[31m[bold]red")
    text = pombo("dead", "list").out
    assert "\x1b" not in text
    assert "[bold]red" in text


def test_letters_of_a_newer_pombo_are_counted(pombo: Cli, letters: list[str], sync_redis: Redis) -> None:
    """A letter in an unknown form is left out with a warning."""
    sync_redis.xadd(Keys().of("bot").dead, {"h": b'{"v":2}', "b": b"", "n": 1})
    answer = pombo("dead", "list", "--json")
    assert letters == [row["id"] for row in answer.json]
    assert answer.err == "warning: 1 dead letter of another version of pombo left out; upgrade pombo here\n"


def test_show(pombo: Cli, letters: list[str]) -> None:
    """`show` adds the event and the history."""
    shown = pombo("dead", "show", letters[0], "--json").json
    assert ("m1", []) == (shown["payload"]["messageId"], shown["history"])
    text = pombo("dead", "show", letters[0]).out
    assert '"messageId": "m1"' in text
    assert "no such event" in text


def test_show_what_is_no_event(pombo: Cli, letters: list[str]) -> None:
    """A payload that is no JSON is shown in Base64."""
    assert "Payload (base64)" in pombo("dead", "show", letters[2]).out


@pytest.mark.parametrize("letter", ["bot/1-0", "bot", "nobody/1-0", "bot/x-y"])
def test_show_an_unknown_letter(pombo: Cli, letters: list[str], letter: str) -> None:
    """An id that is none is wrong usage."""
    answer = pombo("dead", "show", letter)
    assert answer.code == 2
    assert f"no dead letter has the id {letter!r}" in said(answer)


@pytest.mark.parametrize("verb", [["list"], ["redrive"], ["discard"], ["export", "f"]])
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--reason", "bored"], "--reason 'bored' is none; known: rejected_by_segment, too_large"),
        (["--since", "soon"], "--since 'soon' is no moment"),
        (["--since", "99999999999d"], "is no moment"),
        (["--source", "bto"], "no source is called 'bto'; did you mean 'bot'?"),
        (["--limit", "0"], "--limit"),
    ],
)
def test_filters_that_cannot_be(pombo: Cli, bot: str, verb: list[str], words: list[str], expected: str) -> None:
    """A filter that is none is told in one line, by every command that filters."""
    answer = pombo("dead", *verb, *words)
    assert answer.code == 2
    assert expected in said(answer)


@pytest.mark.parametrize("verb", [["redrive"], ["discard"], ["export", "f"]])
def test_nothing_matches(pombo: Cli, letters: list[str], place: Path, verb: list[str]) -> None:
    """With nothing to do the exit code is 1, and no file is made."""
    answer = pombo("dead", *verb, "--user", "nobody")
    assert (1, "no dead letter matches\n") == (answer.code, answer.out)
    assert [] == [*place.iterdir()]


def test_redrive_dry_run(pombo: Cli, letters: list[str], sync_redis: Redis) -> None:
    """`--dry-run` says what would be sent and what cannot be, and does nothing."""
    text = pombo("dead", "redrive", "--dry-run").out
    assert "would redrive 2 dead letters of bot" in text
    assert "1 dead letter of bot cannot be redriven" in text
    document = pombo("dead", "redrive", "--dry-run", "--limit", "1", "--json").json
    assert (1, {"bot": 1}, [], True) == tuple(document[key] for key in ("letters", "sources", "jobs", "dry_run"))
    assert queue(sync_redis).count == 0


def test_redrive_asks_without_filter(pombo: Cli, letters: list[str], sync_redis: Redis) -> None:
    """All letters of all sources need a yes; a filter is one."""
    assert pombo("dead", "redrive", stdin="no\n").code == 1
    assert pombo("dead", "redrive").code == 2
    assert pombo("dead", "redrive", "--limit", "1").code == 2
    assert queue(sync_redis).count == 0
    assert pombo("dead", "redrive", "--source", "bot").code == 0
    assert pombo("dead", "redrive", stdin="y\n").code == 0
    assert queue(sync_redis).count == 2


def test_redrive(pombo: Cli, letters: list[str], sync_redis: Redis) -> None:
    """The job puts the letters that match at the end of their streams."""
    answer = pombo("dead", "redrive", "--reason", "expired", "--json")
    (job,) = answer.json["jobs"]
    assert (0, "queued") == (answer.code, job["status"])
    assert "no worker does jobs now" in answer.err
    do_jobs(sync_redis)
    assert [letters[0], letters[2]] == ids(pombo)
    assert pombo("status", "--json").json["sources"]["bot"]["queued_events"] == 1
    ended = pombo("jobs", "show", job["id"], "--json").json
    assert ("finished", 1, 0) == (ended["status"], ended["result"]["moved"], ended["result"]["skipped"])


def test_redrive_of_several_sources(pombo: Cli, letters: list[str], sync_redis: Redis) -> None:
    """Each source gets a job of its own, and a limit counts over all."""
    pombo("sources", "add", "other", "--write-key", "x" * 32)
    bury(sync_redis, "other", "m9")
    document = pombo("dead", "redrive", "--yes", "--limit", "3", "--json").json
    assert {"bot": 2, "other": 1} == document["sources"]
    do_jobs(sync_redis)
    assert ids(pombo) == [letters[2]]


def test_redrive_waits_for_the_end(place: Path, pombo: Cli, letters: list[str], sync_redis: Redis) -> None:
    """`--wait` follows the job and says what became of it."""
    argv = [sys.executable, "-m", "pombo.ops.cli", "dead", "redrive", "--source", "bot", "--wait"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as redriving:
        while redriving.poll() is None:
            do_jobs(sync_redis)
        out, _ = redriving.communicate(timeout=DEADLINE_S)
    assert redriving.returncode == 0
    assert out.splitlines()[-1].endswith("finished, 2 events redriven")


def test_discard(pombo: Cli, letters: list[str]) -> None:
    """`discard` asks, deletes what matches, and moves the ledger."""
    assert pombo("dead", "discard", "--reason", "expired").code == 2
    assert pombo("dead", "discard", "--reason", "expired", "--dry-run").out == "would delete 1 dead letter\n"
    assert letters == ids(pombo)
    assert pombo("dead", "discard", "--reason", "expired", "--yes").out == "1 event discarded\n"
    assert [letters[0], letters[2]] == ids(pombo)
    counters = pombo("audit", "--json").json["sources"]["bot"]
    assert (2, 1, True) == (counters["dead"], counters["discarded"], counters["balanced"])


def test_discard_no_more_than_the_limit(pombo: Cli, letters: list[str]) -> None:
    """`--limit` takes the oldest."""
    document = pombo("dead", "discard", "--limit", "2", "--yes", "--json").json
    assert {"letters": 2, "discarded": 2, "dry_run": False} == document
    assert letters[2:] == ids(pombo)


def test_export(pombo: Cli, letters: list[str], place: Path) -> None:
    """A file has one letter a line with its event, is its owner's alone, and nothing else is left."""
    assert pombo("dead", "export", "out.ndjson").out == "3 dead letters written to out.ndjson\n"
    rows = [orjson.loads(line) for line in (place / "out.ndjson").read_bytes().splitlines()]
    assert letters == [row["id"] for row in rows]
    assert rows[0]["payload"]["messageId"] == "m1"
    assert stat.S_IMODE((place / "out.ndjson").stat().st_mode) == 0o600
    assert ["out.ndjson"] == os.listdir(place)
    assert letters == ids(pombo)


def test_export_to_standard_output(program: Cli, letters: list[str]) -> None:
    """`-` writes NDJSON and nothing else."""
    answer = program("dead", "export", "-", "--limit", "1")
    assert (0, "m1", "") == (answer.code, answer.json["message_id"], answer.err)


def test_export_into_no_folder(pombo: Cli, letters: list[str]) -> None:
    """A path that cannot be written is wrong usage."""
    answer = pombo("dead", "export", "no/where")
    assert answer.code == 2
    assert "No such file or directory" in said(answer)


def test_letters_of_any_shape(pombo: Cli, bot: str, sync_redis: Redis) -> None:
    """What a gateway kept as invalid may hold anything in place of a text: it is listed, shown and found, not sent."""
    odd = bury(sync_redis, bot, "m1", "invalid", userId=7, event={"a": 1}, type=None)
    (row,) = pombo("dead", "list", "--json").json
    assert ("7", '{"a":1}', None) == (row["user"], row["event"], row["type"])
    assert '{"a":1}' in pombo("dead", "list").out
    assert 7 == pombo("dead", "show", odd, "--json").json["payload"]["userId"]
    assert 0 == pombo("dead", "show", odd).code
    assert [odd] == ids(pombo, "--reason", "invalid") == ids(pombo, "--user", "7")
    assert 1 == pombo("dead", "redrive", "--reason", "invalid", "--yes").code
