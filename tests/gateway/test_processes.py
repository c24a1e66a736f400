"""`pombo gateway` as real processes."""

import asyncio
import json
import os
import re
import signal
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from redis import Redis

from gateway.rig import KEYS, Keyed, basic, problems, track
from pombo.shared.connection import aconnect
from producer.rig import stored
from support.programs import SECRET, Program, exists, processes_with, program
from support.waiting import until


@pytest.fixture
def env(redis_url: str, tmp_path: Path) -> dict[str, str]:
    return {"POMBO_REDIS_URL": redis_url, "POMBO_SECRET_KEY": SECRET, "POMBO_HOME": str(tmp_path / "home")}


@contextmanager
def gateways(folder: Path, env: dict[str, str], *words: str) -> Iterator[tuple[Program, str]]:
    """Run `pombo gateway` on a free port; the program, and its URL."""
    with program("gateway", "--port", "0", *words, folder=folder, **env) as running:
        found = until(
            lambda: re.search(r"listens on (http://\S+)", running.out) or not running.lives, "word of the gateway"
        )
        assert isinstance(found, re.Match), running.err
        yield running, found[1]


def pids(home: str) -> set[int]:
    """The processes that answer requests."""
    return {pid for pid, words in processes_with(home).items() if "gateway --processes 1" in words}


def send(url: str, key: str, message_id: str) -> int:
    """Send one event on a connection of its own; the status, 0 when no answer came."""
    try:
        return httpx.post(f"{url}/v1/track", json=track(message_id), headers=basic(key), timeout=30).status_code
    except httpx.TransportError:
        return 0


async def audited(redis_url: str) -> tuple[str, ...]:
    """What the audit finds wrong."""
    async with aconnect(redis_url) as redis:
        return await problems(redis)


def test_one_process(tmp_path: Path, env: dict[str, str], bot: Keyed, sync_redis: Redis) -> None:
    """It says where it listens, takes events, and ends with 0 at SIGTERM; its log has a line for each request."""
    with gateways(tmp_path / "p", env) as (running, url):
        assert 200 == send(url, bot.intake_key, "m1")
        assert 401 == send(url, "wrong", "m2")
        running.send(signal.SIGTERM)
        assert 0 == running.ends()
        lines = [line for line in running.err.splitlines() if '"request"' in line]
        assert [200, 401] == [json.loads(line)["status"] for line in lines]
        assert "Traceback" not in running.err
        assert bot.intake_key not in running.err
    assert ["m1"] == [event["messageId"] for event in stored(sync_redis)]


def test_several_processes(tmp_path: Path, env: dict[str, str], bot: Keyed, sync_redis: Redis) -> None:
    """They share the work on one address, and whichever is asked for metrics shows the sums of all."""
    with gateways(tmp_path / "p", env, "--processes", "3") as (running, url):
        until(lambda: len(pids(env["POMBO_HOME"])) == 3, "three processes")
        sent = {f"m{number}" for number in range(60)}
        assert {200} == {send(url, bot.intake_key, message_id) for message_id in sent}
        for _ in range(6):
            metrics = httpx.get(f"{url}/metrics", timeout=30).text
            assert 'pombo_gateway_requests_total{status="200"}' in metrics
            assert 'pombo_event_bytes_count{source="bot"} 60.0' in metrics
            assert "pombo_spooled_events 0.0" in metrics
            assert metrics.count("pombo_spooled_events ") == 1 + metrics.count("# HELP pombo_spooled_events ") + (
                metrics.count("# TYPE pombo_spooled_events ")
            )
        running.send(signal.SIGTERM)
        assert 0 == running.ends()
    assert sent == {event["messageId"] for event in stored(sync_redis)}
    assert set() == pids(env["POMBO_HOME"])


def test_a_killed_process(tmp_path: Path, env: dict[str, str], bot: Keyed, sync_redis: Redis) -> None:
    """A process that is killed is started again; nobody is refused meanwhile, and what got a 200 is there."""
    with gateways(tmp_path / "p", env, "--processes", "2") as (_, url):
        until(lambda: len(pids(env["POMBO_HOME"])) == 2, "two processes")
        victim = min(pids(env["POMBO_HOME"]))
        statuses: Counter[int] = Counter()
        accepted = set()
        for number in range(60):
            if number == 20:
                os.kill(victim, signal.SIGKILL)
                until(lambda: not exists(victim), "end of the victim")
            status = send(url, bot.intake_key, f"m{number}")
            statuses[status] += 1
            accepted |= {f"m{number}"} if status == 200 else set()
        until(lambda: len(pids(env["POMBO_HOME"]) - {victim}) == 2, "its successor")
    assert {200: 60} == dict(statuses)
    assert accepted == {event["messageId"] for event in stored(sync_redis)}
    assert () == asyncio.run(audited(env["POMBO_REDIS_URL"]))


def test_a_port_in_use(tmp_path: Path, env: dict[str, str]) -> None:
    """It is one line that says what to do, for one process and for several."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for number, words in enumerate(((), ("--processes", "2"))):
            with program("gateway", "--port", port, *words, folder=tmp_path / str(number), **env) as running:
                assert 2 == running.ends()
                expected = f"pombo: the gateway cannot listen on 127.0.0.1:{port}: Address already in use"
                assert [expected] == [line.partition(";")[0] for line in running.err.splitlines()]


def test_a_wrong_secret(tmp_path: Path, env: dict[str, str], bot: Keyed) -> None:
    """A secret that opens no key ends it at once: it would answer every client that its key is unknown."""
    env = env | {"POMBO_SECRET_KEY": "another-secret-that-opens-nothing-at-all"}
    with program("gateway", "--port", "0", folder=tmp_path / "p", **env) as running:
        assert 2 == running.ends()
        assert "cannot be decrypted with POMBO_SECRET_KEY" in running.err.splitlines()[-1]


def test_keys_are_those_of_the_catalogue(tmp_path: Path, env: dict[str, str], bot: Keyed, sync_redis: Redis) -> None:
    """What a gateway writes is under the source's own hash tag, but for the hint to the workers, which may be lost."""
    with gateways(tmp_path / "p", env) as (_, url):
        body = {"batch": [track("m1"), {}]}
        answer = httpx.post(f"{url}/v1/batch", json=body, headers=basic(bot.intake_key), timeout=30)
        assert 200 == answer.status_code
    found = sync_redis.keys("*")
    assert isinstance(found, list)
    names = {name if isinstance(name, str) else name.decode() for name in found}
    elsewhere = {name for name in names if not name.startswith(KEYS.of("bot").prefix)}
    assert {KEYS.lookup, KEYS.secrets, KEYS.sources, KEYS.version} == elsewhere - {KEYS.active}
