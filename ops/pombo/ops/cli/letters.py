"""Dead letters of one source or of all, as the commands read them."""

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from pombo.ops.cli.session import Session
from pombo.ops.cli.tablemaking import make_told
from pombo.shared import deadletters
from pombo.shared.deadletters import DeadLetter, Filter, Page, pages

AT_ONCE = 100
"""Letters of a source that are read in one step, the newest first."""


@dataclass
class Matches:
    """How many letters a filter means, by source."""

    redrivable: Counter[str] = field(default_factory=Counter)
    stuck: Counter[str] = field(default_factory=Counter)
    """Those that hold no event which could be sent again."""
    older: Counter[str] = field(default_factory=Counter)
    """Of the redrivable, those accepted longer ago than Segment remembers their messageIds."""

    @property
    def letters(self) -> int:
        """All of them."""
        return self.redrivable.total() + self.stuck.total()


async def source_names(session: Session, wanted: Filter) -> list[str]:
    """The source that the filter names, else all.

    Raises:
        UnknownSourceError: there is no such source.
    """
    if wanted.source is not None:
        return [(await session.sources.get(wanted.source)).name]
    return [source.name for source in await session.sources.list()]


async def read_pages(session: Session, wanted: Filter) -> AsyncIterator[Page]:
    """Read all that match, a source after the other, oldest first."""
    for name in await source_names(session, wanted):
        async for page in pages(session.redis, session.keys, name, wanted, make=make_told):
            yield page


async def read_letters(
    session: Session, wanted: Filter, limit: int | None, unreadable: list[str]
) -> AsyncIterator[DeadLetter]:
    """Read those that match, at most `limit`; stream ids of what cannot be read are put into `unreadable`."""
    left = limit
    async for page in read_pages(session, wanted):
        unreadable += page.unreadable
        for letter in page.letters[:left]:
            yield letter
        left = None if left is None else left - len(page.letters)
        if left is not None and left <= 0:
            return


async def read_newest(session: Session, wanted: Filter, limit: int | None) -> AsyncIterator[DeadLetter]:
    """Read those that match, at most `limit`, the newest of all sources first."""
    readers = [_newest_of(session, name, wanted) for name in await source_names(session, wanted)]
    heads = [(letter, reader) for reader in readers if (letter := await anext(reader, None))]
    left = limit
    while heads and left != 0:
        newest = max(heads, key=lambda head: head[0].died_at)
        yield newest[0]
        heads.remove(newest)
        following = await anext(newest[1], None)
        heads += [(following, newest[1])] if following else []
        left = None if left is None else left - 1


async def _newest_of(session: Session, source: str, wanted: Filter) -> AsyncIterator[DeadLetter]:
    before: str | None = None
    while True:
        found = await deadletters.search(
            session.redis, session.keys, source, wanted, before=before, count=AT_ONCE, make=make_told
        )
        for letter in found.letters:
            yield letter
        if found.next is None:
            return
        before = found.next


async def count(session: Session, wanted: Filter) -> Matches:
    """Count those that match; a source without any is left out."""
    matches = Matches()
    for name in await source_names(session, wanted):
        counts = await deadletters.count(session.redis, session.keys, name, wanted, make=make_told)
        for counter, number in (
            (matches.redrivable, counts.redrivable), (matches.stuck, counts.stuck), (matches.older, counts.older),
        ):  # fmt: skip
            if number:
                counter[name] = number
    return matches


async def discard(session: Session, wanted: Filter, limit: int | None) -> int:
    """Delete those that match, at most `limit` letters; return the events discarded."""
    discarded, left = 0, limit
    async for page in read_pages(session, wanted):
        letters = page.letters[:left]
        if letters:
            discarded += await deadletters.discard(session.redis, session.keys, letters[0].source, letters)
        left = None if left is None else left - len(letters)
        if left == 0:
            break
    return discarded
