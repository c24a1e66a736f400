"""`pombo worker` as a real process."""

import os
import signal
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from urllib.request import urlopen

import pytest
from redis import Redis

from pombo.shared.connection import connect
from pombo.shared.flow import pause
from pombo.shared.keys import Keys
from pombo.shared.secrets import new_secret
from support.programs import SECRET, Program, program
from support.servers import free_port
from support.waiting import until
from support.world import World, body

Start = Callable[..., AbstractContextManager[Program]]


@pytest.fixture
def start(redis_url: str, tmp_path: Path) -> Start:
    """Start `pombo worker` with these words, and `env` on top of what it needs."""

    def run(*words: str, **env: str) -> AbstractContextManager[Program]:
        given = {"POMBO_REDIS_URL": redis_url, "POMBO_SECRET_KEY": SECRET, "POMBO_METRICS_PORT": "0"} | env
        given |= {"POMBO_HOME": str(tmp_path / "home")}
        return program("worker", *words, folder=tmp_path, **{k: v for k, v in given.items() if v})

    return run


def in_fleet(redis: Redis, worker: Program) -> bool:
    """Whether a worker has joined the fleet."""
    stored = redis.hgetall(Keys().workers)
    assert isinstance(stored, dict)
    return any(f'"pid":{worker.pid},'.encode() in text for text in stored.values())


async def test_drain_ends_well_when_all_is_delivered(world: World, start: Start) -> None:
    """`--drain` delivers what is there, and ends with 0 without a word."""
    source = await world.add()
    await world.append(source, 0, [body(f"m{n}") for n in range(3)])
    with start("--no-jobs", "--drain", POMBO_LOG_LEVEL="error") as worker:
        await world.until(lambda: not worker.lives, "the drain")

        assert (0, "", "") == (worker.ends(), worker.out, worker.err)
    assert ["m0", "m1", "m2"] == world.kept()


async def test_drain_names_what_it_cannot_deliver(world: World, start: Start) -> None:
    """With a source that is paused and one that is parked, `--drain` ends with 1 and a line for each."""
    await world.append(await world.add("paused"), 0, [body("m1")])
    await pause(world.redis, world.keys, "paused")
    world.sim.set_plan([{"when": {"key": "p" * 32}, "answer": {"status": 401}}])
    await world.append(await world.add("parked", "p" * 32), 0, [body("m1"), body("m2")])
    await world.append(await world.add("well", "w" * 32), 0, [body("m1")])
    with start("--no-jobs", "--drain", POMBO_LOG_LEVEL="error") as worker:
        await world.until(lambda: not worker.lives, "the drain")
        parked, paused = sorted(line for line in worker.err.splitlines() if line.startswith("not drained"))

        assert 1 == worker.ends()
    assert "not drained: paused: 1 events, paused: `pombo sources resume` ends it" == paused
    assert parked.startswith("not drained: parked: 2 events, parked: ")
    assert ["m1"] == world.kept("w" * 32)


async def test_a_drain_that_is_stopped_is_not_well(world: World, start: Start) -> None:
    """SIGTERM in the middle of a drain ends it with 1, and it says so."""
    world.sim.set_plan([{"when": {}, "answer": {"status": 503}}])
    await world.append(await world.add(), 0, [body("m1")])
    with start("--no-jobs", "--drain", POMBO_LOG_LEVEL="error") as worker:
        await world.until(world.sim.requests, "a request")
        worker.send(signal.SIGTERM)
        await world.until(lambda: not worker.lives, "the end")

        assert 1 == worker.ends()
        assert "not drained: stopped before all was delivered\n" == worker.err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_an_idle_worker_ends_at_once(sync_redis: Redis, start: Start, number: int) -> None:
    """A stop and a closed terminal end it with 0, and it leaves the fleet."""
    with start("--no-jobs") as worker:
        until(lambda: in_fleet(sync_redis, worker), "worker in the fleet")
        worker.send(number)

        assert 0 == worker.ends()
        assert "worker.stopped_hard" not in worker.err
    assert 0 == sync_redis.hlen(Keys().workers)


def test_jobs_run_beside_it_and_end_with_it(sync_redis: Redis, start: Start) -> None:
    """Without `--no-jobs` a process for jobs is there, and gone at the end."""
    with start() as worker:
        until(lambda: sync_redis.scard("rq:workers:pombo-jobs"), "worker of jobs")
        worker.send(signal.SIGTERM)

        assert 0 == worker.ends()
    assert 0 == sync_redis.scard("rq:workers:pombo-jobs")


def test_a_metrics_port_in_use_is_a_warning(sync_redis: Redis, start: Start) -> None:
    """The worker works without its metrics, and the log says what to do; on a free port it shows them."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with start("--no-jobs", POMBO_METRICS_PORT=str(port)) as worker:
            until(lambda: in_fleet(sync_redis, worker), "worker in the fleet")
            assert "set POMBO_METRICS_PORT to a free port, or 0" in worker.err
    port = free_port()
    with start("--no-jobs", POMBO_METRICS_PORT=str(port)) as worker:
        until(lambda: in_fleet(sync_redis, worker), "worker in the fleet")
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
            assert b"pombo_build_info{" in answer.read()


@pytest.mark.parametrize(
    ("secret", "expected"),
    [
        ("", "POMBO_SECRET_KEY is not set, and with POMBO_REDIS_URL it must be"),
        ("short", "secret 1 of POMBO_SECRET_KEY has 5 characters"),
        (new_secret(), "the write key of source 'bot' cannot be decrypted with POMBO_SECRET_KEY"),
    ],
)
async def test_a_wrong_secret_is_one_line(world: World, start: Start, secret: str, expected: str) -> None:
    """Without the secret, and with another one, the worker says what is wrong and ends with 2."""
    await world.add()
    with start("--no-jobs", POMBO_SECRET_KEY=secret) as worker:
        assert 2 == worker.ends()
        (line,) = worker.err.splitlines()
    assert line.startswith(f"pombo: {expected}")


async def test_one_source_under_another_secret_stops_no_other(world: World, start: Start) -> None:
    """A worker that can read one key delivers for that source, and logs the other."""
    await world.append(await world.add("mine"), 0, [body("m1")])
    world.registry._secrets = type(world.registry._secrets)([new_secret(), SECRET])
    await world.append(await world.add("theirs", "t" * 32), 0, [body("m1")])
    with start("--no-jobs") as worker:
        await world.drained("mine")
        await world.until(lambda: "source.unusable" in worker.err, "the log line")
    assert ["m1"] == world.kept()
    assert [] == world.kept("t" * 32)


def test_a_redis_that_is_away_is_waited_for(server_url: str, redis_url: str, start: Start, tmp_path: Path) -> None:
    """A worker that starts before its Redis says so, and joins the fleet once it is there."""
    later = tmp_path / "later"
    with start("--no-jobs", POMBO_REDIS_URL=f"unix://{later}") as worker:
        worker.says("waiting for it")
        with connect(server_url) as redis:
            with suppress(FileExistsError):
                os.symlink(server_url.removeprefix("unix://"), later)
            until(lambda: in_fleet(redis, worker), "worker in the fleet")
        worker.send(signal.SIGTERM)

        assert 0 == worker.ends()
        assert "Traceback" not in worker.err
