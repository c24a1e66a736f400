"""The table of dead letters as a command makes it: the command waits, and says for what."""

from typing import Final

from redis.asyncio import Redis

from pombo.ops.cli import output
from pombo.shared.deadletters import make_now, rebuilt
from pombo.shared.keys import SourceKeys

QUIETLY: Final = 20_000
"""Letters whose table is made without a word: within a second or so."""


async def make_told(redis: Redis, of: SourceKeys, source: str, letters: int) -> None:
    """Make a source's table, with its progress on stderr."""
    if letters <= QUIETLY:
        await make_now(redis, of, source, letters)
        return
    what = f"making the index of {source}'s {letters:,} dead letters"
    if not output.on_terminal():
        output.note(f"{what}: once after an upgrade or a loss; up to {letters * 65 // 1_000_000 + 1} s")
    with output.progress(lambda done: f"{done:,.0f}") as bar:
        task = bar.add_task(what, total=letters)

        async def told(read: int) -> None:
            bar.advance(task, read)

        await rebuilt(redis, of, source, told)
