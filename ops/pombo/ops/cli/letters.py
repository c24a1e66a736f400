"""Dead letters of one source or of all, as the commands read them."""

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from pombo.ops.cli.session import Session
from pombo.shared import deadletters
from pombo.shared.deadletters import DeadLetter, Filter, Page, pages


@dataclass
class Matches:
    """How many letters a filter means, by source."""

    redrivable: Counter[str] = field(default_factory=Counter)
    stuck: Counter[str] = field(default_factory=Counter)
    """Those that hold no event which could be sent again."""

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
        async for page in pages(session.redis, session.keys, name, wanted):
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


async def count(session: Session, wanted: Filter, limit: int | None = None) -> Matches:
    """Count those that match, until `limit` that can be redriven were found."""
    matches = Matches()
    async for letter in read_letters(session, wanted, None, []):
        if limit is not None and matches.redrivable.total() >= limit:
            break
        (matches.redrivable if letter.redrivable else matches.stuck)[letter.source] += 1
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
