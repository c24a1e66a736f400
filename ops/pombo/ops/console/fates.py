"""Fates: where the event of a letter is that was redriven."""

from dataclasses import dataclass
from typing import Final, Literal

from redis.asyncio import Redis

from pombo.ops.trace import Search
from pombo.shared.keys import Keys
from pombo.shared.sources import Source
from pombo.shared.trail import Deed, read_trail

Whereabouts = Literal["waiting", "in_flight", "delivered", "dead"]

LOOKED_THROUGH: Final = 500
"""Deeds in which the last one about a letter is looked for."""


@dataclass(frozen=True, slots=True)
class Fate:
    """Where it is now."""

    state: Whereabouts
    words: str
    letter: str | None = None
    """The id of the letter that it became again."""

    @property
    def final(self) -> bool:
        """Whether nothing more happens to it by itself."""
        return self.state in {"delivered", "dead"}


async def fate_of(redis: Redis, keys: Keys, source: Source, message_id: str) -> Fate:
    """Where a redriven event is, without a search of the queue: whatever is nowhere else waits there.

    Its id is forgotten when it dies and remembered from its claim on; the looks go the way that events go, so that one
    which moves meanwhile is not taken for delivered.
    """
    search = Search(redis, keys, source, message_id)
    memory = await search.memory()
    if flying := await search.in_flight():
        where = flying[0]
        words = f"with {where.worker or 'a worker'}, on its way to Segment"
        return Fate("in_flight", f"{words}; {where.note}" if where.note else words)
    async for place in search.dead():
        return Fate("dead", f"it died again ({place.reason})", place.letter)
    if memory is not None:
        return Fate("delivered", "Segment accepted it")
    return Fate("waiting", f"it waits in the queue of {source.name}, or was delivered longer ago than ids are kept")


async def last_deed(redis: Redis, keys: Keys, letter_id: str) -> Deed | None:
    """The last thing that somebody did to a letter, if that is not long ago."""
    deeds = await read_trail(redis, keys, count=LOOKED_THROUGH)
    return next((one for one in deeds if one.subject == letter_id and one.what != "dead.reveal"), None)
