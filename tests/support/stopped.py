"""A Redis whose clock stands still, so that a test's figures do not depend on how fast the machine is."""

from functools import cache
from importlib.resources import files
from typing import Any, Self

from redis.asyncio import Redis

from pombo.shared.scripts import script
from support.virtualscript import VirtualScript


class StoppedRedis(Redis):
    """A client of a real server. Our scripts, and who asks for the time, get the one of its beginning.

    It goes on by what is added to `now_us`, microseconds since 1970. Lifetimes of keys and ids of streams are still
    the server's.
    """

    now_us: int

    @classmethod
    async def of(cls, redis: Redis) -> Self:
        """A client beside another one, from that server's time on."""
        made = cls(connection_pool=redis.connection_pool)
        seconds, micro = await redis.time()
        made.now_us = int(seconds) * 1_000_000 + int(micro)
        return made

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Run a command; one that would look at the clock looks at ours."""
        name, *words = args
        if name == "TIME":
            return divmod(self.now_us, 1_000_000)
        if name in ("EVALSHA", "EVAL") and (made := _known().get(words[0])):
            words[0] = made.sha if name == "EVALSHA" else made.text
            if made.told:
                words[1] += 1
                seconds, micro = divmod(self.now_us, 1_000_000)
                words.insert(1 + words[1], f"virtual:{seconds}.{micro:06}")
        return await super().execute_command(name, *words, **options)  # type: ignore[no-untyped-call]


@cache
def _known() -> dict[str, VirtualScript]:
    """Our scripts, by hash and by text."""
    names = [path.name.removesuffix(".lua") for path in files("pombo.shared").joinpath("lua").iterdir()]
    scripts = [(script(name), VirtualScript(name, heard=True)) for name in names if name]
    return {key: made for ours, made in scripts for key in (ours.sha, ours.text)}
