import os
import stat
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from redis import Redis

from ops.cli.commands import DEADLINE_S, Cli, at_terminal, bury, said
from pombo.ops.cli.tablemaking import QUIETLY
from pombo.ops.remedies import remedy
from pombo.shared.deadletters import REASONS
from pombo.shared.keys import Keys
from pombo.worker.jobs import queue
from support.jobs import do_jobs
from support.letters import letter


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


def test_an_index_that_is_missing_is_made_and_told(pombo: Cli, bot: str, sync_redis: Redis) -> None:
    """A command waits for it, and says on stderr for what; the next one finds it there."""
    head, payload, _ = letter("m1")
    with sync_redis.pipeline(transaction=False) as pipe:
        for _ in range(QUIETLY + 1):
            pipe.xadd(Keys().of("bot").dead, {"h": head, "b": payload})
        pipe.execute()
    first, second = (pombo("dead", "list", "--reason", "expired", "--json") for _ in range(2))
    assert "making the index of bot's 20,001 dead letters: once after an upgrade or a loss" in first.err
    assert ([], [], "") == (first.json, second.json, second.err)


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
    assert " finished: 2 dead letters redriven; 1 skipped" in out.splitlines()[-1]


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


def test_list_the_newest_first(pombo: Cli, letters: list[str], sync_redis: Redis) -> None:
    """`--newest` turns the order round, over all sources, with any filter and limit."""
    pombo("sources", "add", "other", "--write-key", "x" * 32)
    other = bury(sync_redis, "other", "m9", user="u1")
    last = bury(sync_redis, "bot", "m4", "expired")
    assert [last, other, *reversed(letters)] == ids(pombo, "--newest")
    assert [last, letters[1]] == ids(pombo, "--newest", "--reason", "expired")
    assert [last, other] == ids(pombo, "--newest", "--limit", "2")
    assert [] == ids(pombo, "--newest", "--user", "nobody")


def test_list_until(pombo: Cli, letters: list[str]) -> None:
    """`--until` leaves out what died at that moment or later."""
    assert letters == ids(pombo, "--until", "2100-01-01")
    assert [] == ids(pombo, "--until", "2h")
    answer = pombo("dead", "list", "--until", "soon")
    assert (2, True) == (answer.code, "--until 'soon' is no moment" in said(answer))


def test_groups(pombo: Cli, letters: list[str], sync_redis: Redis) -> None:
    """Letters that died alike are counted together, over all sources, and filtered by the group's name."""
    more = bury(sync_redis, "bot", "m4", user="u7")
    document = pombo("dead", "groups", "--json").json
    assert {
        "source", "group", "reason", "status", "type", "event", "answer", "count", "first_at", "last_at", "redrivable",
    } == set(document[0])  # fmt: skip
    first = document[0]
    assert ("bot", "rejected_by_segment", 400, "Message Sent", "no such event", 2, True) == tuple(
        first[key] for key in ("source", "reason", "status", "event", "answer", "count", "redrivable")
    )
    assert [letters[0], more] == ids(pombo, "--group", first["group"])
    assert first["group"] == pombo("dead", "show", more, "--json").json["group"]
    table = pombo("dead", "groups", "--source", "bot").out
    assert (True, True) == (first["group"] in table, "400 no such event" in table)


def test_no_groups(pombo: Cli, bot: str) -> None:
    """Without letters there are none; a source that is not there is told."""
    assert ("No dead letters.\n", 0) == ((answer := pombo("dead", "groups")).out, answer.code)
    assert "no source is called 'bto'" in said(pombo("dead", "groups", "--source", "bto"))


@pytest.mark.parametrize("reason", REASONS)
def test_show_says_what_to_do(pombo: Cli, bot: str, sync_redis: Redis, reason: str) -> None:
    """Each reason has its remedy, in words, under the history."""
    text = pombo("dead", "show", bury(sync_redis, bot, "m1", reason)).out
    assert f"What to do\n{remedy(reason).typed}\n" in text


def test_redrive_leaves_older_letters(pombo: Cli, letters: list[str], sync_redis: Redis) -> None:
    """What was accepted more than 24 h ago stays, and is told, until `--yes-older` lets it go."""
    old = bury(sync_redis, "bot", "m4", hours=25)
    answer = pombo("dead", "redrive", "--source", "bot")
    assert "redriving 2 dead letters of bot" in answer.out
    assert "1 dead letter of bot: accepted more than 24 h ago" in answer.out
    assert "--yes-older redrives them too" in answer.out
    do_jobs(sync_redis)
    assert [letters[2], old] == ids(pombo)
    assert (1, 1) == ((again := pombo("dead", "redrive", "--source", "bot", "--json")).code, again.json["older"])
    document = pombo("dead", "redrive", "--source", "bot", "--yes-older", "--json").json
    assert (1, 1, {"bot": 1}) == (document["letters"], document["older"], document["sources"])
    do_jobs(sync_redis)
    assert [letters[2]] == ids(pombo)


def test_redrive_with_a_rate(pombo: Cli, letters: list[str], sync_redis: Redis) -> None:
    """The job knows how fast it may be."""
    (job,) = pombo("dead", "redrive", "--source", "bot", "--rate", "5", "--json").json["jobs"]
    stored = queue(sync_redis).fetch_job(job["id"])
    assert 5 == (stored and stored.kwargs["rate"])
    assert 2 == pombo("dead", "redrive", "--rate", "0").code


EVENT = {"type": "track", "userId": "u1", "event": "Message Sent"}


def test_edit_from_standard_input(pombo: Cli, letters: list[str], sync_redis: Redis) -> None:
    """The repaired event is shown as a difference and redriven, under its own messageId."""
    given = orjson.dumps({**EVENT, "event": "Message Seen"}).decode()
    answer = pombo("dead", "edit", letters[0], "-", "--yes", stdin=given)
    assert 0 == answer.code
    assert '-  "event": "Message Sent"' in answer.out
    assert '+  "event": "Message Seen",' in answer.out
    assert letters[1:] == ids(pombo)
    (place,) = pombo("trace", "m1", "--json").json["places"]
    assert ("queued", "bot") == (place["state"], place["source"])


def test_edit_makes_an_invalid_event_sound(pombo: Cli, bot: str, sync_redis: Redis, place: Path) -> None:
    """What died as invalid can be sent once it is repaired; a dry run only shows it."""
    odd = bury(sync_redis, bot, "m1", "invalid", event="")
    (place / "event.json").write_bytes(orjson.dumps(EVENT))
    document = pombo("dead", "edit", odd, "event.json", "--dry-run", "--json").json
    assert ("m1", 0, "Message Sent") == (document["message_id"], document["redriven"], document["payload"]["event"])
    assert [odd] == ids(pombo)
    assert 1 == pombo("dead", "edit", odd, "event.json", "--yes", "--json").json["redriven"]
    assert [] == ids(pombo)


@pytest.mark.parametrize(
    ("given", "code", "expected"),
    [
        ("{", 2, "that is no JSON"),
        ("[]", 2, "that is no JSON object"),
        ('{"type":"track","userId":"u1","event":""}', 1, "event is empty"),
        ('{"type":"track","userId":"u1","event":"E","messageId":"m2"}', 1, "messageId must stay 'm1'"),
    ],
)
def test_edit_refuses(pombo: Cli, letters: list[str], given: str, code: int, expected: str) -> None:
    """What is no event, or another one, is told in one line; nothing is done."""
    answer = pombo("dead", "edit", letters[0], "-", "--yes", stdin=given)
    assert (code, True) == (answer.code, expected in said(answer))
    assert letters == ids(pombo)


def test_edit_asks(pombo: Cli, letters: list[str], place: Path) -> None:
    """Nothing is redriven without a yes, and without a terminal there is no editor."""
    (place / "event.json").write_bytes(orjson.dumps({**EVENT, "event": "Message Seen"}))
    assert 1 == pombo("dead", "edit", letters[0], "event.json", stdin="no\n").code
    assert "an editor needs a terminal" in said(pombo("dead", "edit", letters[0]))
    assert letters == ids(pombo)
    assert 0 == pombo("dead", "edit", letters[0], "event.json", stdin="y\n").code
    assert "no dead letter has the id" in said(pombo("dead", "edit", letters[0], "event.json"))


def test_edit_in_an_editor(pombo: Cli, letters: list[str], place: Path) -> None:
    """On a terminal the event opens in EDITOR; what is wrong is told, and may be edited again."""
    program = place / "editor.py"
    program.write_text(
        "import json, pathlib, sys\n"
        "path = pathlib.Path(sys.argv[1])\n"
        "assert path.stat().st_mode & 0o777 == 0o600\n"
        "event = json.loads(path.read_text())\n"
        "event['event'] = '' if event['event'] == 'Message Sent' else 'Message Seen'\n"
        "path.write_text(json.dumps(event))\n"
    )
    answer = at_terminal(
        ["dead", "edit", letters[0]],
        typed="y\ny\n",
        environment={"EDITOR": f"{sys.executable} {program}", "VISUAL": ""},
    )
    assert (0, True, True) == (answer.code, "event is empty" in answer.out, "Message Seen" in answer.out)
    assert letters[1:] == ids(pombo)


def test_edit_without_an_editor(pombo: Cli, letters: list[str], place: Path) -> None:
    """An editor that is not there, or fails, is told, and nothing is done."""
    none = at_terminal(["dead", "edit", letters[0]], environment={"EDITOR": "no-such-editor", "VISUAL": ""})
    assert (2, True) == (none.code, "EDITOR names another editor" in none.out)
    failing = at_terminal(["dead", "edit", letters[0]], environment={"EDITOR": "false", "VISUAL": ""})
    assert (1, True) == (failing.code, "false ended with 1; nothing was done" in failing.out)
    assert letters == ids(pombo)


def test_import_what_was_exported(pombo: Cli, letters: list[str], place: Path) -> None:
    """Discarded letters come back with what they were; a second run puts nothing back twice."""
    before = [pombo("dead", "show", one, "--json").json for one in letters]
    pombo("dead", "export", "out.ndjson")
    pombo("dead", "discard", "--yes")
    planned = "would put 3 dead letters back into bot, without those that are there or were put back before\n"
    assert planned == pombo("dead", "import", "out.ndjson", "--dry-run").out
    assert [] == ids(pombo)
    assert "3 dead letters put back into bot\n" == pombo("dead", "import", "out.ndjson").out
    assert pombo("dead", "import", "out.ndjson").out.startswith(
        "0 dead letters put back into bot\n3 had been put back from this file before, and were not put back again"
    )
    after = [pombo("dead", "show", one, "--json").json for one in ids(pombo)]
    kept = ("reason", "message_id", "payload", "payload_encoding", "accepted_at", "attempts", "answer", "group")
    assert [[one[key] for key in kept] for one in before] == [[one[key] for key in kept] for one in after]
    assert [f"as {one}; put back from an export" for one in letters] == [one["history"][-1]["note"] for one in after]
    assert pombo("audit", "--json").json["balanced"]


def test_import_from_standard_input_into_another_source(program: Cli, letters: list[str], place: Path) -> None:
    """`-` reads NDJSON, and --source says where all of it goes."""
    program("sources", "add", "other", "--write-key", "x" * 32)
    exported = program("dead", "export", "-").out
    document = program("dead", "import", "-", "--source", "other", "--json", stdin=exported).json
    assert {
        "letters": 3, "restored": 3, "present": 0, "before": 0, "bad": 0, "sources": {"other": 3},
        "dry_run": False,
    } == document  # fmt: skip
    assert ["m1", "m2", None] == [
        row["message_id"] for row in program("dead", "list", "--source", "other", "--json").json
    ]


def test_import_of_what_never_left(pombo: Cli, letters: list[str], place: Path) -> None:
    """Letters that are there are passed over and told."""
    pombo("dead", "export", "out.ndjson")
    told = "0 dead letters put back into bot; 3 were there already\n"
    assert told == pombo("dead", "import", "out.ndjson").out
    assert letters == ids(pombo)


def test_import_of_what_was_discarded_since(pombo: Cli, letters: list[str], place: Path) -> None:
    """Nothing is said to be back that is not; who wants it once more says so."""
    pombo("dead", "export", "out.ndjson")
    pombo("dead", "discard", "--yes", "--limit", "2")
    told = "2 dead letters put back into bot; 1 were there already\n"
    assert told == pombo("dead", "import", "out.ndjson").out
    pombo("dead", "discard", "--yes")
    document = pombo("dead", "import", "out.ndjson", "--json").json
    assert (1, 0, 2) == (document["restored"], document["present"], document["before"])
    assert 1 == len(ids(pombo))
    assert "3 dead letters put back into bot\n" == pombo("dead", "import", "out.ndjson", "--again").out
    assert 4 == len(ids(pombo))
    assert pombo("audit", "--json").json["balanced"]


def test_import_passes_over_what_is_no_letter(pombo: Cli, letters: list[str], place: Path) -> None:
    """Lines of no use are told by their numbers, with exit code 1; the others come back."""
    pombo("dead", "export", "out.ndjson", "--limit", "1")
    pombo("dead", "discard", "--yes", "--limit", "1")
    (place / "bad.ndjson").write_text('{"a"\n\n[]\n{"id":"x"}\n' + (place / "out.ndjson").read_text())
    answer = pombo("dead", "import", "bad.ndjson")
    assert (1, "1 dead letter put back into bot\n3 lines without a dead letter, passed over\n") == (
        answer.code,
        answer.out,
    )
    assert ["line 1: it is no JSON", "line 3: it is no JSON object"] == answer.err.splitlines()[:2]
    assert (1, "no dead letter in there\n") == ((none := pombo("dead", "import", "-", stdin="\n")).code, none.out)


def test_import_that_cannot_be(pombo: Cli, letters: list[str], place: Path) -> None:
    """A file, or a source, that is not there is told before anything is put back."""
    assert (2, True) == ((answer := pombo("dead", "import", "none")).code, "No such file" in said(answer))
    pombo("dead", "export", "out.ndjson")
    text = (place / "out.ndjson").read_text().replace('"bot/', '"bto/')
    (place / "out.ndjson").write_text(text)
    assert (2, True) == (
        (answer := pombo("dead", "import", "out.ndjson")).code, "no source is called 'bto'" in said(answer),
    )  # fmt: skip
