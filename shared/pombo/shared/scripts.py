"""The Lua scripts: loading them, and calling them by hash.

Each file in `lua/` opens with its contract: KEYS, ARGV, what it returns, its cost. A line `--include NAME` is
replaced by `lua/NAME.lua`. Every script is idempotent and does all its checks before its first write, because a
Lua error does not roll back; the one check that writes, a claim's addition of ids, takes back what it wrote.
"""

import hashlib
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from redis.asyncio import Redis as AsyncRedis
from redis.client import Redis
from redis.exceptions import NoScriptError

Argument = str | bytes | int | float

_INCLUDE = re.compile(r"^--include (\w+)\n", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Script:
    """One Lua script, called by its SHA-1 and loaded again when the server does not know it."""

    name: str
    text: str
    sha: str

    def call(self, redis: Redis, keys: Sequence[str], args: Sequence[Argument]) -> Any:
        """Run the script over a blocking client; raises what the client raises."""
        execute: Callable[..., Any] = redis.execute_command
        try:
            return execute("EVALSHA", self.sha, len(keys), *keys, *args)
        except NoScriptError:
            return execute("EVAL", self.text, len(keys), *keys, *args)

    async def acall(self, redis: AsyncRedis, keys: Sequence[str], args: Sequence[Argument]) -> Any:
        """Run the script over an asyncio client; raises what the client raises."""
        execute: Callable[..., Awaitable[Any]] = redis.execute_command
        try:
            return await execute("EVALSHA", self.sha, len(keys), *keys, *args)
        except NoScriptError:
            return await execute("EVAL", self.text, len(keys), *keys, *args)

    async def aeach(self, redis: AsyncRedis, all_keys: Sequence[Sequence[str]]) -> list[Any]:
        """Run the script for each of these keys, without arguments, in one round trip; raises what the client does."""
        async with redis.pipeline(transaction=False) as pipe:
            execute: Callable[..., object] = pipe.execute_command
            for keys in all_keys:
                execute("EVALSHA", self.sha, len(keys), *keys)
            try:
                return await pipe.execute()
            except NoScriptError:
                return [await self.acall(redis, keys, ()) for keys in all_keys]


def paired(told: Any) -> dict[bytes, bytes]:
    """Fields with their values, of a hash or an entry, as a dict: a script tells them in one flat list."""
    return told if isinstance(told, dict) else dict(zip(told[::2], told[1::2], strict=True))


def _read(name: str) -> str:
    return files("pombo.shared").joinpath("lua", f"{name}.lua").read_text("utf-8")


@cache
def script(name: str) -> Script:
    """Load `lua/<name>.lua` with its includes."""
    text = _INCLUDE.sub(lambda match: _read(match[1]), _read(name))
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())
