import re

import orjson
import pytest
from redis import Redis

from ops.cli.commands import Cli, bury, events
from pombo.shared.keys import Keys


def worker(redis: Redis, name: str, **fields: object) -> None:
    """Let a worker describe itself, once."""
    told = {"v": 1, "beat": 1, "host": "h", "pid": 7, "partitions": 3, "started": "2026-01-01T00:00:00+00:00"}
    redis.hset(Keys().workers, name, orjson.dumps({**told, "stopping": False, **fields}))


def test_status_of_an_empty_installation(pombo: Cli) -> None:
    """Without sources and workers it says how to make some."""
    answer = pombo("status")
    assert answer.code == 0
    assert "`pombo sources add NAME --write-key -` makes one" in answer.out
    assert "`pombo worker` starts one" in answer.out


def test_status_as_json(pombo: Cli, bot: str, sync_redis: Redis) -> None:
    """The document has what the contract names, for sources, workers and the server."""
    pombo("send", "--source", bot, stdin=events("m1", "m2"))
    bury(sync_redis, bot, "m3")
    worker(sync_redis, "w1")
    document = pombo("status", "--json").json
    source = document["sources"][bot]
    assert 0 <= source.pop("oldest_age_s") < 60
    assert source.pop("queued_bytes") > 0
    assert source.pop("dead_letter_bytes") > 0
    assert {
        "state": "active", "queued_events": 2, "in_flight": 0, "dead": 1, "remembered_s": 86_400,
        "hold_until": None, "reason": None,
        "rate_limit": 1000, "last_success": None,
    } == source  # fmt: skip
    (one,) = document["workers"]
    assert ("w1", "h", 7, 3, None) == (one["id"], one["host"], one["pid"], one["partitions"], one["silent"])
    assert {"product", "version", "used_memory", "maxmemory", "clients", "persistence", "eviction"} == set(
        document["redis"]
    )


def test_status_tells_why_a_source_does_not_send(pombo: Cli, bot: str, sync_redis: Redis) -> None:
    """Hold and park show in state, time and reason."""
    sync_redis.hset(Keys().of(bot).flow, "hold_until", "4102444800000")
    held = pombo("status", "--json").json["sources"][bot]
    assert ("held", "2100-01-01T00:00:00.000+00:00", None) == (
        held["state"],
        held["hold_until"],
        held["reason"],
    )
    assert "bot — held: Segment asked to wait" in pombo("status").out
    sync_redis.hset(Keys().of(bot).flow, "parked", "answer 404")
    parked = pombo("status", "--json").json["sources"][bot]
    assert ("parked", "answer 404") == (parked["state"], parked["reason"])
    assert "answer 404" in pombo("status").out


def test_status_for_people(pombo: Cli, bot: str, sync_redis: Redis) -> None:
    """The table has a line a source and a line a worker, and the server below."""
    pombo("send", "--source", bot, stdin=events("m1"))
    worker(sync_redis, "w1", stopping=True)
    lines = [line.split() for line in pombo("status").out.splitlines()]
    assert [["bot", "active", "1"]] == [line[:3] for line in lines if line[:1] == ["bot"]]
    assert [["w1", "7", "3", "stopping"]] == [line[:4] for line in lines if line[:1] == ["w1"]]
    assert ["redis", "no persistence"] == [lines[-2][0], " ".join(lines[-2]).split(" · ")[2]]
    assert ["ledger", "balanced", "·", "1", "accepted"] == lines[-1][:5]


def test_beats_tell_silent_workers(pombo: Cli, sync_redis: Redis) -> None:
    """`--beats` looks for a while and calls a worker silent whose beat did not move."""
    worker(sync_redis, "w1")
    assert [True] == [one["silent"] for one in pombo("status", "--beats", "0.2", "--json").json["workers"]]
    assert "silent" in pombo("status", "--beats", "0.2").out


def test_a_worker_that_was_killed_is_silent_at_one_look(pombo: Cli, sync_redis: Redis) -> None:
    """A worker whose last beat is long ago is called silent without `--beats`, and nobody is said to send."""
    worker(sync_redis, "w1", at=1_000_000)
    shown = pombo("status").out.splitlines()
    assert [["w1", "7", "3", "silent"]] == [line.split()[:4] for line in shown if line.startswith("w1")]
    assert "workers  none lives: nothing is sent; `pombo worker` starts one" in shown
    (told,) = (line for line in shown if line.startswith("! no worker lives: what is accepted will wait; "))
    assert re.search(r"the last one was heard \d+ d ago → start a worker$", told)


def test_why_a_source_does_not_send_is_whole(
    pombo: Cli, bot: str, sync_redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason stands above the table, broken into lines, so that a narrow terminal does not cut it."""
    monkeypatch.setenv("COLUMNS", "60")
    reason = "Segment refuses every request of this source: " + "404 not found, " * 8
    sync_redis.hset(Keys().of(bot).flow, "parked", reason.strip())
    assert f"✗ {bot} — parked: {reason.strip()}" in " ".join(pombo("status").out.split())


def test_status_says_what_to_type(pombo: Cli, bot: str, sync_redis: Redis) -> None:
    """The first line is the verdict, then comes each problem with its command; programs get the same."""
    reason = "Segment answered 401: the write key is refused; `pombo sources rotate-key`"
    sync_redis.hset(Keys().of(bot).flow, "parked", reason)
    worker(sync_redis, "w1")
    answer, document = pombo("status"), pombo("status", "--json").json
    assert (0, "1 source and the installation need you") == (answer.code, answer.out.splitlines()[0])
    assert "    pombo sources rotate-key bot --write-key -" in answer.out.splitlines()
    assert "1 source and the installation need you" == document["verdict"]
    first = document["problems"][0]
    assert ("critical", bot, "parked", "pombo sources rotate-key bot --write-key -") == (
        first["severity"], first["source"], first["what"], first["command"]
    )  # fmt: skip


def test_status_counts_jobs(pombo: Cli, bot: str, sync_redis: Redis) -> None:
    """A job that nobody does is told with the command that starts a worker for it."""
    bury(sync_redis, bot, "m1")
    pombo("dead", "redrive", "--source", bot, "--yes")
    out = pombo("status").out
    assert "! jobs wait: 1 job and no worker that does any → start a worker, without --no-jobs" in out
    assert "jobs     0 running · 1 queued · 0 failed · nobody does them" in out


def test_beats_bring_rates(pombo: Cli, bot: str, sync_redis: Redis) -> None:
    """Whoever watches for a while also sees how fast events come."""
    assert "in/s" in pombo("status", "--beats", "0.1").out
    assert "in/s" not in pombo("status").out


def test_audit_of_a_balanced_installation(pombo: Cli, bot: str, sync_redis: Redis) -> None:
    """Every accepted event is accounted for: exit code 0, and the numbers."""
    pombo("send", "--source", bot, stdin=events("m1", "m2"))
    bury(sync_redis, bot, "m3")
    answer = pombo("audit", "--json")
    assert (0, True) == (answer.code, answer.json["balanced"])
    counters = answer.json["sources"][bot]
    assert (3, 2, 1, True, []) == (
        counters["accepted"], counters["queued"], counters["dead"], counters["balanced"], counters["problems"],
    )  # fmt: skip
    assert "balanced" in pombo("audit").out


def test_audit_finds_what_redis_lost(pombo: Cli, bot: str, sync_redis: Redis) -> None:
    """Data that is gone makes exit code 1 and a sentence with the numbers."""
    pombo("send", "--source", bot, stdin=events("m1", "m2"))
    sync_redis.delete(*sync_redis.keys("*:stream:*"))
    answer = pombo("audit", "--json")
    assert (1, False) == (answer.code, answer.json["balanced"])
    assert "ledger says 2 queued, the streams hold 0" in answer.json["sources"][bot]["problems"]
    text = pombo("audit").out
    assert "NOT BALANCED" in text
    assert "bot: ledger says 2 queued, the streams hold 0" in text


def lose(redis: Redis, source: str) -> None:
    """Note that Redis forgot events of a source, and that it was emptied once."""
    of = Keys().of(source)
    redis.hset(of.ledger, "forgotten", 37)
    redis.xadd(of.losses, {"kind": "append", "session": "s", "forgotten": 37})
    redis.xadd(Keys().losses, {"kind": "emptied", "worker": "w"})


def test_audit_tells_what_redis_forgot(pombo: Cli, bot: str, sync_redis: Redis) -> None:
    """A noted loss is exit code 1 and a sentence, of the source or of the whole, until somebody acknowledges it."""
    lose(sync_redis, bot)
    answer = pombo("audit", "--json")
    told = answer.json["sources"][bot]
    assert (1, False, False) == (answer.code, answer.json["balanced"], told["balanced"])
    assert told["problems"][0].startswith("Redis forgot 37 accepted events of 1 producer at 20")
    assert answer.json["problems"][0].startswith("Redis was emptied at 20")
    text = pombo("audit").out
    assert "NOT BALANCED" in text
    assert "bot: Redis forgot 37" in text
    assert "\nRedis was emptied at" in text
    assert "`pombo audit --acknowledge` clears" in text


def test_audit_acknowledge(pombo: Cli, bot: str, sync_redis: Redis) -> None:
    """It shows the losses, asks, clears them and audits again; nobody to ask and no are no."""
    lose(sync_redis, bot)
    assert 2 == pombo("audit", "--acknowledge", stdin="").code
    refused = pombo("audit", "--acknowledge", stdin="n\n")
    assert (1, True) == (refused.code, "bot: Redis forgot 37" in refused.err)
    assert "Clear 2 notes of what Redis lost?" in refused.err
    assert not pombo("audit", "--json").json["balanced"]
    answer = pombo("audit", "--acknowledge", "--json", "--yes")
    assert (0, True, []) == (answer.code, answer.json["balanced"], answer.json["sources"][bot]["problems"])
    assert (0, True) == (pombo("audit").code, pombo("audit", "--json").json["balanced"])
    again = pombo("audit", "--acknowledge", "--yes")
    assert (1, True) == (again.code, "nothing to acknowledge" in again.err)


def test_acknowledging_mends_nothing_else(pombo: Cli, bot: str, sync_redis: Redis) -> None:
    """What does not balance stays so: only the notes are cleared."""
    lose(sync_redis, bot)
    sync_redis.hset(Keys().of(bot).ledger, "accepted", 3)
    answer = pombo("audit", "--acknowledge", "--yes")
    assert (1, True) == (answer.code, "the ledger does not balance" in answer.out)
    assert "forgot" not in answer.out


def test_audit_without_sources(pombo: Cli) -> None:
    """Nothing to audit is balanced."""
    assert {"sources": {}, "problems": [], "balanced": True} == pombo("audit", "--json").json
    assert pombo("audit").code == 0
