"""Secrets and people's data stay in: unique strings in their place, all goes wrong, and what is left is searched."""

import os
import re
import signal
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import orjson
import pytest
from prometheus_client import generate_latest
from redis import Redis

from pombo.ops.fleetmetrics import fleet_registry
from pombo.shared.deadletters import MAX_ANSWER, Filter
from pombo.shared.secrets import SECRET_FILE, Secrets, new_secret
from pombo.shared.settings import Settings
from pombo.worker.jobs import enqueue_redrive
from support.canary import Canary, Sighting, password, search, secret
from support.canaryroad import Road, as_given, at_home
from support.installation import until
from support.remains import Listener, Place, Watcher, file_places, log_events, redis_places
from support.results import record
from support.servers import free_port
from support.talker import good_event

Say = Callable[[str], None]

PEOPLE_MAY_BE = (
    r"key pombo:\{[\w]+\}:stream:\d+ field b",
    r"key pombo:\{[\w]+\}:dead field b",
    r"key pombo:\{[\w]+\}:dead field h",  # what Segment echoed is kept as its answer
    r"commands of Redis.*",
    r"answer to SLOWLOG GET",
    r"file home/data/.*",
    r"file spool/.*",
    r"file sent\.ndjson.*",
    r"file \d+-(dead|trace)-.*\.out",  # what these are for
    r"file exported\.ndjson",
)
"""Where people's data is by nature: in queue, dead letters and spool, and in what shows these to those who ask."""
SECRETS_MAY_BE = {"secret key": rf"file home/{SECRET_FILE}"}
"""Where a secret is at home; nothing else may be anywhere."""


@pytest.fixture
def road(tmp_path: Path) -> Iterator[Road]:
    with Road(tmp_path) as made:
        yield made


# -- what goes wrong ----------------------------------------------------------------------------------------------


def plan(road: Road, keys: Mapping[str, Canary]) -> list[dict[str, Any]]:
    """Segment refuses one event, fails twice, resets, asks to wait; other sources it refuses wholly, or redirects."""
    key, said = keys["bot"].text, road.echo(keys["bot"])
    cut = "x" * (MAX_ANSWER - 16) + key
    refusing = {"status": 400, "body": road.echo(keys["refused"])}
    return [
        {"when": {"message_id": "b-1"}, "answer": {"status": 400, "body": said}},
        {"when": {"message_id": "b-a1"}, "answer": {"status": 400, "body": cut}},
        {
            "when": {"key": keys["turned"].text},
            "answer": {"status": 400, "delay_s": 3, "body": road.echo(keys["turned"])},
        },
        {"when": {"key": key}, "answer": {"status": 500, "body": said}, "times": 2},
        {"when": {"key": key}, "answer": {"action": "reset_before"}, "times": 1},
        {"when": {"key": key}, "answer": {"status": 429, "headers": {"Retry-After": 1}}, "times": 1},
        {"when": {"key": keys["refused"].text}, "answer": refusing},
        {"when": {"key": keys["revoked"].text}, "answer": {"status": 401, "body": road.echo(keys["revoked"])}},
        {
            "when": {"key": keys["moved"].text},
            "answer": {"status": 302, "headers": {"Location": f"http://127.0.0.1:1/{keys['moved'].text}"}},
        },
    ]  # fmt: skip


def start(road: Road, ports: Sequence[int], *, given: bool) -> None:
    """Start what does the jobs: `up`, or where the embedded server runs already, a crew of workers."""
    worker, crew = ports
    road.carrier("worker", "--processes", "2", POMBO_METRICS_PORT=str(crew))
    if given:
        key = road.secret("write key of the default source")
        road.carrier("up", POMBO_METRICS_PORT=str(worker), POMBO_SEGMENT_WRITE_KEY=key.text, POMBO_LOG_FORMAT="console")
    else:
        road.carrier("worker", POMBO_METRICS_PORT=str(worker))
    until(lambda: len(road.fleet()) >= 3, "workers")


def deliver(road: Road) -> None:
    """Bots talk, a worker is killed and one aborted in the middle, and every source comes to its end."""
    for name in ("kept", "refused"):
        road.run("sources", "pause", name)
    road.redis.set("pombo:{crash}:ids", "no hash")
    workers = [
        road.carrier("worker", "--no-jobs", POMBO_LOG_FORMAT=form) for form in ("json", "console", "json")
    ]  # fmt: skip
    bots = [road.talker(name, name[0]) for name in ("bot", "refused", "revoked", "moved", "kept", "crash")]
    until(lambda: road.fleet().keys() >= {one.pid for one in workers}, "workers")
    workers[0].kill()
    os.kill(workers[1].pid, signal.SIGABRT)
    workers[1].process.wait(60)
    assert b"Fatal Python error: Aborted" in workers[1].log.read_bytes()
    for bot in bots:
        road.said(bot)
    road.run("sources", "resume", "refused")  # All its events in one request, as few alone would die.
    for name in ("refused", "revoked", "moved"):
        until(partial(road.redis.hexists, road.keys.of(name).flow, "parked"), f"park of {name}")
    road.drained("bot")
    until(partial(_crashed, road), "crash")
    assert 2 == len(road.dead("bot"))


def turn(road: Road) -> None:
    """Segment refuses an event, and repeats the key that it came with, when the source has another one already."""
    event = good_event({name: one.text for name, one in road.people.items()}, "t-1")
    worker = road.carrier("worker", "--no-jobs", POMBO_LOG_FORMAT="console")
    road.run("send", "-", "--source", "turned", given=orjson.dumps(event).decode())
    until(lambda: road.in_flight("turned", 1), "request")
    key = road.secret("write key of turned, rotated")
    road.run("sources", "rotate-key", "turned", "--write-key", "-", given=f"{key.text}\n")
    until(lambda: road.ledger("turned")["dead"], "dead letter")
    worker.ask_to_end()
    worker.finish()


def _crashed(road: Road) -> bool:
    return bool({"lane.crashed", "delivery.crashed"} & log_events(road.folder))


def spool(road: Road) -> None:
    """A bot whose Redis is away keeps its events on the disk; one that may not log in says so."""
    word = road.secret("", password("password of a Redis that is away")).text
    away = f"redis://:{quote(word, safe='')}@127.0.0.1:1/0"
    for prefix, url in (("s", away), ("w", road.wrong_url)):
        road.said(road.talker("bot", prefix, POMBO_REDIS_URL=url, POMBO_SPOOL_DIR=str(road.folder / "spool")))


def commands(road: Road) -> None:
    """Every command that looks, in both forms; `up` beside it."""
    looks = [
        "status", "audit", "doctor", "top --once", "config", "sources list", "sources show bot", "sources show refused",
        "dead list", "jobs list", "trace b-1", "trace k-1", "trace s-1",
    ]  # fmt: skip
    for look in looks:
        road.run(*look.split(), code=None)
        if "top" not in look:
            road.run(*look.split(), "--json", code=None)
    road.run("dead", "show", road.dead("bot")[0]["id"])
    road.run("dead", "export", "exported.ndjson")
    events = [good_event({name: one.text for name, one in road.people.items()}, f"sent-{n}") for n in range(3)]
    bad = [{**event, "type": event["userId"]} for event in events]
    lines = b"".join(orjson.dumps(one, option=orjson.OPT_APPEND_NEWLINE) for one in (*events, *bad))
    (road.folder / "sent.ndjson").write_bytes(lines + b"no JSON: " + lines[:200])
    road.run("send", "sent.ndjson", "--source", "kept", code=1)
    key = road.secret("write key after the rotation")
    road.run("sources", "rotate-key", "revoked", "--write-key", "-", given=f"{key.text}\n")
    road.run("sources", "test", "bot", code=None)


def mistakes(road: Road) -> None:
    """Commands and processes with a wrong secret, a wrong password, and URLs that are none."""
    other = f"pbs_{road.secret('another secret key').text}"
    url = road.url
    rotate = ("sources", "rotate-key", "bot", "--write-key", "-")
    for words in (("sources", "show", "bot"), ("worker", "--drain"), ("doctor",), rotate):
        road.run(*words, code=None, given="k" * 32 + "\n", POMBO_REDIS_URL=url, POMBO_SECRET_KEY=other)
    short = Canary("a secret key that is too short", secret("", 20).text)
    road.run("status", code=None, POMBO_SECRET_KEY=road.secret("", short).text)
    road.run("sources", "list", code=None, POMBO_REDIS_URL=url, POMBO_SECRET_KEY=short.text)
    word = road.secret("password in a wrong URL")
    odd = road.secret("", password("password with what a URL must encode"))
    wrong = (
        "redis://:{}@127.0.0.1:1/0", "redis://u:{}@127.0.0.1:1", "redis://127.0.0.1:1/0?password={}", "redis:{}@host",
        "http://:{}@host", "redis://:{}@[::1", "redis://:{}@host:port", "redis://:{}/x@127.0.0.1:1", "redis://:a@{}@127.0.0.1:1",
        "unix://:{}@/nowhere/s", "redis://:{}#x@127.0.0.1:1", "redis+sentinel://:{}@127.0.0.1:1/main/0",
        "redis+sentinel://127.0.0.1:1/main/0?sentinel_password={}", "redis+cluster://:{}@127.0.0.1:1", "rediss://:{}@127.0.0.1:1",
        "redis://:{}", "redis://:%ZZ{}@127.0.0.1:1/nonumber",
    )  # fmt: skip
    given_urls = [*(form.format(word.text) for form in wrong), f"redis://:{odd.text}@127.0.0.1:1/0", road.wrong_url]
    for number, given in enumerate(given_urls):
        for line in ("status", "config") if number else ("status", "config", "doctor", "worker --drain"):
            road.run(*line.split(), code=None, POMBO_REDIS_URL=given, POMBO_SECRET_KEY=other)
        road.run("jobs", "list", code=None, POMBO_REDIS_URL=url, POMBO_JOBS_REDIS_URL=given)


def background(road: Road, jobs: Redis) -> None:
    """A redrive of somebody's letters by a job, one that fails, and what RQ says of them."""
    wanted = Filter(user=road.people["user"].text)
    done = enqueue_redrive(jobs, "bot", wanted, namespace="pombo")
    failed = enqueue_redrive(jobs, "nobody", wanted, namespace="pombo")
    until(lambda: done.get_status() == "finished" and failed.get_status() == "failed", "end of the jobs")
    for job in (done, failed):
        road.run("jobs", "show", job.id)
        road.run("jobs", "show", job.id, "--json")
    road.run("jobs", "list", "--json")
    assert "pombo-jobs" in road.rq("info")


# -- the search ---------------------------------------------------------------------------------------------------


def pages(road: Road, ports: Sequence[int]) -> Iterator[Place]:
    """The metrics of workers and of the fleet."""
    for port in ports:
        text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
        assert "pombo_" in text
        yield f"page of {port}", text.encode()
    settings = Settings(redis_url=road.url)
    fleet = generate_latest(fleet_registry(settings, Secrets([new_secret()])))
    assert b'pombo_queue_events{source="kept"}' in fleet
    yield "page of the fleet", fleet


def misplaced(road: Road, found: set[Sighting]) -> list[Sighting]:
    """The sightings where nobody's data and no secret may be."""
    return sorted(one for one in found if not _at_home(road, one))


def _at_home(road: Road, one: Sighting) -> bool:
    if one.canary in road.people:
        return any(re.fullmatch(place, one.place) for place in PEOPLE_MAY_BE)
    home = SECRETS_MAY_BE.get(one.canary)
    return home is not None and re.fullmatch(home, one.place) is not None


def assert_found_where_they_are(road: Road, found: set[Sighting]) -> None:
    """The search sees what it must: people's data in queue, dead letters, spool, commands, and the server's files."""
    places = (
        r"key pombo:\{kept\}:stream:0 field b", r"key pombo:\{bot\}:dead field b", r"file spool/.*",
        r"commands of Redis.*", r"file home/data/.*", r"file \d+-dead-show.out",
    )  # fmt: skip
    for place in places:
        seen = {one.canary for one in found if re.fullmatch(place, one.place)}
        assert road.people.keys() <= seen, (place, seen)


def assert_found_when_planted(road: Road, jobs: Redis) -> None:
    """Every secret, and everybody's data, is found when it lies in Redis, a log, a temporary file or a command line."""
    canaries = [*road.secrets, *road.people.values()]
    text = "\n".join(one.text for one in canaries)
    planted = {"log": road.folder / "worker-0.log", "temporary": road.folder / "tmp" / "planted"}
    for path in planted.values():
        with path.open("a") as file:
            file.write(text)
    jobs.hset("rq:job:planted", "data", zlib.compress(text.encode()))
    with Listener(road.redis) as listener, Watcher() as watcher:
        road.redis.set("planted", text)
        with subprocess.Popen([sys.executable, "-c", "input()", text], stdin=subprocess.PIPE) as process:
            until(lambda: any(text.encode() in words for _, words in watcher.places()), "process")
            process.communicate(b"\n")
    for places in (
        file_places(planted["log"].parent, road.home, road.folder / "tmp"), file_places(road.folder / "tmp"),
        redis_places(road.redis), redis_places(jobs), listener.places(), watcher.places(),
    ):  # fmt: skip
        assert {one.name for one in canaries} == {one.canary for one in search(places, canaries)}


@pytest.mark.e2e
@pytest.mark.timeout(600)
@pytest.mark.parametrize("prepared", [at_home, as_given])
def test_canaries_stay_in(road: Road, say: Say, prepared: Callable[[Road], Redis]) -> None:
    """No secret is found in anything that a troubled run leaves, and people's data only where events are."""
    road.redis.config_set("rdbcompression", "no")  # Its compression cuts strings in pieces.
    jobs = prepared(road)
    with ExitStack() as stack:
        watcher = stack.enter_context(Watcher())
        listener = stack.enter_context(Listener(road.redis))
        keys = {name: road.source(name) for name in ("bot", "refused", "revoked", "moved", "kept", "crash", "turned")}
        road.segment.set_plan(plan(road, keys))
        ports = [free_port(), free_port()]
        start(road, ports, given=prepared is as_given)
        deliver(road)
        spool(road)
        turn(road)
        background(road, jobs)
        commands(road)
        mistakes(road)
        road.redis.save()
        live = [*pages(road, ports), *redis_places(road.redis), *redis_places(jobs)]
    for child in road.children:
        child.kill()
    places = [*live, *watcher.places(), *listener.places(), *file_places(road.folder)]
    found = search(places, [*road.secrets, *road.people.values()])

    wrong = misplaced(road, found)
    seen = (
        f"{len(road.secrets)} secrets and {len(road.people)} of people's data, in {len(places):,} places of "
        f"{sum(len(data) for _, data in places) / 1e6:.1f} MB: {len(wrong)} where they must not be"
    )
    say(f"{seen}; people's data in {Counter(one.place.split()[0] for one in found)}")
    record("Secrets", "canaries in all that a run leaves behind", seen, places=len(places), went_wrong=len(wrong))
    assert_found_where_they_are(road, found)
    assert [] == wrong, "\n".join(map(str, wrong))
    assert_found_when_planted(road, jobs)
