"""The Lua scripts as files, and how they are called."""

import hashlib
import re
from importlib.resources import files

import pytest
from redis import Redis as BlockingRedis
from redis.asyncio import Redis
from redis.exceptions import NoScriptError, ResponseError

from pombo.shared.scripts import Script, script

LUA = files("pombo.shared").joinpath("lua")
NAMES = sorted(path.name.removesuffix(".lua") for path in LUA.iterdir())
SCRIPTS = [name for name in NAMES if LUA.joinpath(f"{name}.lua").read_text("utf-8").startswith("#!")]
PARTS = {*NAMES} - {*SCRIPTS}
"""Files that are included by others and are no scripts."""
REFUSED_WHEN_FULL = {"append", "dead_append", "dead_redrive", "dead_restore", "dead_draft", "sample", "tail", "watch"}
"""Scripts that a server at maxmemory refuses: those that add events to a queue, dead letters to the letters, make a
table anew that readers can do without, or fill what the console shows."""


def source_of(name: str) -> str:
    return LUA.joinpath(f"{name}.lua").read_text("utf-8")


def code_of(name: str) -> str:
    """A file without its comments."""
    return re.sub(r"--.*", "", source_of(name))


def contract_of(name: str) -> list[str]:
    """The comment that a file opens with."""
    lines = source_of(name).splitlines()
    start = lines[1:] if lines[0].startswith("#!") else lines
    until = next(
        (number for number, line in enumerate(start) if not line.startswith("-- ") and line != "--"),
        len(start),
    )
    return start[:until]


def test_folder_holds_lua_only() -> None:
    """Nothing else lies beside the scripts."""
    assert all(re.fullmatch(r"[a-z_]+", name) for name in NAMES), NAMES


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_opens_with_its_contract(name: str) -> None:
    """The first comment says what the script does, its KEYS, its ARGV, what it returns and its cost."""
    contract = "\n".join(contract_of(name))
    assert re.match(r"-- [A-Z].*[.:,\w]", contract)
    for word in ("Returns", "Cost"):
        assert re.search(rf"^--\s+{word}  ", contract, re.MULTILINE), word
    for word in ("KEYS", "ARGV"):
        used = re.search(rf"\b{word}\b", code_of(name))
        assert bool(used) == bool(re.search(rf"\b{word}\b", contract)), word


@pytest.mark.parametrize("name", sorted(PARTS))
def test_part_opens_with_what_it_is(name: str) -> None:
    """A file that others include says so, and is no script by itself."""
    assert source_of(name).startswith("-- ")
    assert re.search(r"\b(Included|Part of)\b", source_of(name).splitlines()[0])


@pytest.mark.parametrize("name", SCRIPTS)
def test_flags_say_what_a_full_redis_may_run(name: str) -> None:
    """At maxmemory everything still drains: only what adds events, or what is only looked at, is refused."""
    first = source_of(name).splitlines()[0]
    assert ("#!lua" == first) == (name in REFUSED_WHEN_FULL)
    assert first in {"#!lua", "#!lua flags=allow-oom", "#!lua flags=no-writes"}


@pytest.mark.parametrize("name", NAMES)
def test_no_key_name_is_made_in_lua(name: str) -> None:
    """Every key that a script touches comes from KEYS: Cluster cannot route one put together from text."""
    text = code_of(name)
    calls = re.findall(r"redis\.p?call\(\s*'(\w+)'\s*(?:,\s*([^,)]+(?:\[[^\]]*\])?))?", text)
    for command, first in calls:
        if command not in {"TIME", "PUBLISH", "XINFO"}:
            assert ".." not in first, (command, first)
            assert "ARGV" not in first, (command, first)
            assert not first.startswith(("'", '"')), (command, first)
    assert not re.search(r"['\"]\s*\.\.\s*\w+\s*\.\.\s*['\"]:|['\"]\w*:\{|\{@", text)


@pytest.mark.parametrize("name", NAMES)
def test_scripts_stay_deterministic_and_tame(name: str) -> None:
    """No script draws random numbers, scans the keyspace, or reads another clock than Redis'."""
    assert not re.search(r"math\.random|'(KEYS|SCAN|RANDOMKEY|FLUSH\w+|EVAL\w*)'|os\.", code_of(name))


@pytest.mark.parametrize("name", SCRIPTS)
async def test_script_loads(redis: Redis, name: str) -> None:
    """The server takes the script, includes and all, under the hash that we call it by."""
    made = script(name)
    assert "--include" not in made.text
    assert hashlib.sha1(made.text.encode()).hexdigest() == made.sha
    assert made.sha in (await redis.script_load(made.text), (await redis.script_load(made.text)).encode())


@pytest.mark.parametrize("name", ["claim", "attempt"])
def test_includes_are_resolved(name: str) -> None:
    """The gate's text stands in the place of its include."""
    assert source_of("gate") in script(name).text


def test_every_include_exists_and_none_is_left() -> None:
    """An include names a file of the folder, and included files include nothing."""
    for name in NAMES:
        assert set(re.findall(r"^--\s*include\s+(\S+)", source_of(name), re.MULTILINE)) <= PARTS
    assert all("--include" not in source_of(name) for name in PARTS)


def test_missing_script_is_told() -> None:
    """A name without a file is an error at once."""
    with pytest.raises(FileNotFoundError):
        script("no_such_script")


def test_script_is_read_once() -> None:
    """Loading the same script again gives the same object."""
    assert script("claim") is script("claim")


async def test_forgotten_script_is_sent_again(redis: Redis, sync_redis: BlockingRedis) -> None:
    """A server that lost its scripts gets the text, and knows it from then on, over both clients."""
    one = script("take")
    for _ in range(2):
        await redis.script_flush()
        assert [1, 0] == await one.acall(redis, ["rate"], [10, 10, 1, "id"])
        assert [True] == await redis.script_exists(one.sha)
        sync_redis.script_flush()
        assert [1, 0] == one.call(sync_redis, ["rate"], [10, 10, 1, "id"])
        assert [True] == sync_redis.script_exists(one.sha)


async def test_known_script_is_called_by_its_hash(redis: Redis) -> None:
    """Once the server knows a script, its text does not travel."""
    text = "#!lua\nreturn ARGV[1]"
    made = Script("echo", text, await redis.script_load(text))
    lying = Script("echo", "#!lua\nerror('the text was sent')", made.sha)
    assert b"x" == await lying.acall(redis, [], ["x"])


async def test_errors_of_scripts_are_handed_on(redis: Redis) -> None:
    """A script that fails is not sent a second time."""
    text = "#!lua\nredis.call('INCR', KEYS[1])\nreturn redis.error_reply('ERR no')"
    failing = Script("failing", text, hashlib.sha1(text.encode()).hexdigest())
    for _ in range(2):
        with pytest.raises(ResponseError) as raised:
            await failing.acall(redis, ["n"], [])
        assert not isinstance(raised.value, NoScriptError)
    assert b"2" == await redis.get("n")
