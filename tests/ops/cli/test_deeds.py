"""Each command that changes something leaves its line in the trail, and nothing that should stay in."""

import asyncio
from typing import Any

import pytest
from redis import Redis

from ops.cli.commands import WRITE_KEY, Cli, bury
from pombo.ops.cli.app import command
from pombo.ops.cli.deeds import CHANGES, READS, deed, leaves, whoami
from pombo.shared.connection import aconnect
from pombo.shared.keys import Keys
from pombo.shared.trail import Deed, read_trail


def trail(url: str) -> list[Deed]:
    """What was noted, oldest first."""

    async def read() -> list[Deed]:
        redis = aconnect(url)
        try:
            return (await read_trail(redis, Keys()))[::-1]
        finally:
            await redis.aclose()

    return asyncio.run(read())


def test_every_command_is_a_change_or_a_look() -> None:
    """Whoever adds a command says which."""
    names = {name for name, _ in leaves(command())}
    assert set() == names - CHANGES - READS
    assert set() == CHANGES & READS


def test_changes_are_noted(pombo: Cli, redis_url: str) -> None:
    """Who, by user and host; what, by the command's name; to what; and how."""
    pombo("sources", "add", "bot", "--write-key", WRITE_KEY, "--rate", "50")
    pombo("sources", "set", "bot", "--rate", "70")
    pombo("sources", "pause", "bot")
    pombo("sources", "resume", "bot")
    pombo("sources", "rotate-key", "bot", "--intake")
    pombo("sources", "list")
    pombo("sources", "remove", "bot", "--yes")
    found = trail(redis_url)
    assert [
        ("sources.add", "bot", {"rate": 50.0, "partitions": 8, "write_key": "given"}),
        ("sources.set", "bot", {"rate": 70.0}),
        ("sources.pause", "bot", {}),
        ("sources.resume", "bot", {}),
        ("sources.rotate-key", "bot", {"intake": True, "write_key": "given"}),
        ("sources.remove", "bot", {}),
    ] == [(one.what, one.subject, one.detail) for one in found]
    assert {(whoami(), "shell")} == {(one.who, one.role) for one in found}


def test_no_secret_and_nobody_is_in_it(pombo: Cli, sync_redis: Redis, redis_url: str) -> None:
    """Of a filter by user or messageId it is told that there was one."""
    pombo("sources", "add", "bot", "--write-key", WRITE_KEY, "--rate", "0")
    bury(sync_redis, "bot", "secret-message", userId="secret-user")
    pombo("dead", "discard", "--source", "bot", "--user", "secret-user", "--message-id", "secret-message", "--yes")
    added, discarded = trail(redis_url)
    assert (0, {"user": "given", "message_id": "given"}) == (added.detail["rate"], discarded.detail)
    for secret in (WRITE_KEY, "secret-user", "secret-message"):
        assert secret not in f"{added}{discarded}"


def test_what_was_not_done_is_not_noted(pombo: Cli, redis_url: str) -> None:
    """Neither a refusal nor a dry run nor a look."""
    pombo("sources", "pause", "nobody")
    pombo("sources", "add", "b!d", "--write-key", WRITE_KEY)
    pombo("dead", "discard", "--dry-run")
    pombo("audit")
    assert [] == trail(redis_url)


def test_a_trail_that_cannot_be_written_stops_no_repair(pombo: Cli, sync_redis: Redis) -> None:
    """A source can be paused while Redis is full; standard error says that it is not in the trail."""
    pombo("sources", "add", "bot", "--write-key", WRITE_KEY)
    sync_redis.config_set("maxmemory", 1)
    try:
        answer = pombo("sources", "pause", "bot")
    finally:
        sync_redis.config_set("maxmemory", 0)
    assert (0, "source bot is paused; `pombo sources resume bot`\n") == (answer.code, answer.out)
    assert sync_redis.hexists(Keys().of("bot").flow, "paused")


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("jobs.cancel", {"job_id": "5f0c"}, ("5f0c", {})),
        ("dead.redrive", {"source": "bot", "reason": "poison", "limit": 5}, ("bot", {"reason": "poison", "limit": 5})),
        ("dead.redrive", {"source": "bot", "dry_run": True}, None),
        ("dead.redrive", {"source": None, "user": "u1"}, ("", {"user": "given"})),
        ("audit", {"acknowledge": False}, None),
        ("audit", {"acknowledge": True, "yes": True}, ("", {"acknowledge": True})),
        ("sources.set", {"name": "bot", "never_heard_of": "secret"}, ("bot", {})),
    ],
)
def test_a_deed(name: str, given: dict[str, Any], expected: object) -> None:
    """Only options that are known to be harmless are told."""
    assert expected == deed(name, given)
