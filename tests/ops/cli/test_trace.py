from pathlib import Path

import pytest
from redis import Redis

from ops.cli.commands import WRITE_KEY, Cli, bury, events, said
from support.spooling import spool_events


def test_where_an_event_is(pombo: Cli, bot: str) -> None:
    """A queued event is told for people and as JSON, with exit code 0."""
    pombo("send", "--source", bot, stdin=events("m1", "m2"))
    answer = pombo("trace", "m2", "--json")
    assert (0, "") == (answer.code, answer.err)
    document = answer.json
    (place,) = document.pop("places")
    assert {"message_id": "m2", "found": True} == document
    assert ("bot", "queued", 1) == (place["source"], place["state"], place["ahead"])
    lines = [line.split() for line in pombo("trace", "m2").out.splitlines()]
    assert ["state", "queued"] in lines
    assert ["events", "before", "it", "1"] in lines


def test_an_event_of_which_nothing_is_known(pombo: Cli, bot: str) -> None:
    """An unknown id is exit code 1, and it is said what that can mean."""
    assert pombo("trace", "no\udcffbody").code == 1
    answer = pombo("trace", "nobody", "--json")
    assert (1, {"message_id": "nobody", "found": False, "places": []}) == (answer.code, answer.json)
    text = pombo("trace", "nobody")
    assert (1, "") == (text.code, text.err)
    assert "never accepted here" in text.out


def test_every_source_that_has_it(pombo: Cli, bot: str, sync_redis: Redis) -> None:
    """All sources are looked through, unless one is named; a dead one shows its letter and Segment's answer."""
    pombo("sources", "add", "other", "--write-key", WRITE_KEY)
    pombo("send", "--source", bot, stdin=events("m1"))
    letter = bury(sync_redis, "other", "m1")
    found = pombo("trace", "m1", "--json").json["places"]
    assert [("bot", "queued"), ("other", "dead")] == [(place["source"], place["state"]) for place in found]
    assert (letter, "rejected_by_segment", 400, "no such event") == tuple(
        found[1][name] for name in ("letter", "reason", "status", "answer")
    )
    assert ["other"] == [p["source"] for p in pombo("trace", "m1", "--source", "other", "--json").json["places"]]
    assert pombo("trace", "m1", "--source", "othr").code == 2


def test_a_spooled_event_while_redis_is_away(pombo: Cli, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is on this machine's disk is found without Redis; what is not is Redis' to tell."""
    spool_events(place / "spool", "bot", "m1")
    monkeypatch.setenv("POMBO_SPOOL_DIR", str(place / "spool"))
    monkeypatch.setenv("POMBO_REDIS_URL", "redis://127.0.0.1:1")
    answer = pombo("trace", "m1", "--json")
    assert (0, ["spooled"]) == (answer.code, [one["state"] for one in answer.json["places"]])
    assert "only the spool folder was looked into" in answer.err
    assert "no Redis answers" in said(pombo("trace", "m2"))


def test_a_spool_that_cannot_be_read(pombo: Cli, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A damaged spool is said on stderr, and Redis is searched all the same."""
    (place / "spool").mkdir()
    (place / "spool" / "pombo.sqlite3").write_bytes(b"no database at all " * 100)
    monkeypatch.setenv("POMBO_SPOOL_DIR", str(place / "spool"))
    answer = pombo("trace", "m1", "--json")
    assert (1, False) == (answer.code, answer.json["found"])
    assert answer.err.startswith("warning: the spool ")
