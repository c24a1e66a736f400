"""Reading dead letters in their order, a page at a time, so that a job can go on where another was cut off."""

from collections.abc import AsyncIterator

from redis.asyncio import Redis

from pombo.shared.deadletters.filter import ALL, Filter
from pombo.shared.deadletters.letter import DeadLetter, is_id, letter_of, order
from pombo.shared.deadletters.reader import Page, Place, Reader, fetch_each
from pombo.shared.deadletters.rebuild import Make, make_now
from pombo.shared.deadletters.table import Table, TableMovedError
from pombo.shared.errors import UnknownLetterError
from pombo.shared.keys import Keys

PAGE = 500
"""Letters read, or moved, in one step."""


async def pages(
    redis: Redis, keys: Keys, source: str, wanted: Filter = ALL, *, start: str = "-", make: Make = make_now
) -> AsyncIterator[Page]:
    """Read a source's dead letters, oldest first, a page for every `PAGE` letters looked at.

    A filter by more than time looks only at what the source's table names for it. Letters that die meanwhile are read
    too; letters may be moved or discarded while this runs. `make` is what is done about a table that does not tell all.
    """
    way = _chosen if wanted.ids is not None else _tabled if wanted.sparse else _streamed
    reader = Reader.of_source(redis, keys, source, wanted, make)
    async for page in way(reader, wanted.start if start == "-" else start):
        yield page


async def read(
    redis: Redis, keys: Keys, source: str, wanted: Filter = ALL, *, start: str = "-", count: int | None = None
) -> AsyncIterator[DeadLetter]:
    """Read a source's dead letters that match, oldest first, at most `count`."""
    left = count
    async for page in pages(redis, keys, source, wanted, start=start):
        for letter in page.letters[:left]:
            yield letter
        left = None if left is None else left - len(page.letters)
        if left is not None and left <= 0:
            return


async def find(redis: Redis, keys: Keys, letter_id: str) -> DeadLetter:
    """The dead letter of an id as `dead list` shows it.

    Raises:
        UnknownLetterError: there is none.
        StoredVersionError: it is stored in a form that this pombo does not know.
    """
    source, _, stream_id = letter_id.rpartition("/")
    if source and is_id(stream_id):
        found = await redis.xrange(keys.of(source).dead, stream_id, stream_id)
        if found:
            return letter_of(source, found[0])
    raise UnknownLetterError(
        f"no dead letter has the id {letter_id!r}: redriven or discarded, perhaps; "
        "`pombo dead list` shows those that are there"
    )


async def _streamed(reader: Reader, position: str) -> AsyncIterator[Page]:
    while entries := await reader.range(position, reader.wanted.end, PAGE):
        page = reader.page(entries, f"({entries[-1][0].decode()}")
        yield page
        position = page.next


async def _chosen(reader: Reader, position: str) -> AsyncIterator[Page]:
    ids = reader.ids
    if position != "-":
        inclusive = not position.startswith("(")
        ids = [one for one in ids if order(one) > order(position) or (inclusive and order(one) == order(position))]
    for at in range(0, len(ids), PAGE):
        chunk = ids[at : at + PAGE]
        yield reader.page(await fetch_each(reader.redis, reader.of, chunk), f"({chunk[-1]}")


async def _tabled(reader: Reader, position: str) -> AsyncIterator[Page]:
    """By the table, up to the letters there were; again for those that came since; by the stream if there is none."""
    while True:
        table = await reader.table()
        if table is None:
            async for page in _streamed(reader, position):
                yield page
            return
        try:
            first, last = await table.span(position, reader.wanted.end)
            if first >= last:
                return
            end = (await table.rows(last - 1, 1)).id(0)
            async for page in _by_table(reader, table, first, last):
                yield page
                position = page.next
        except TableMovedError:
            continue
        position = f"({end}"


async def _by_table(reader: Reader, table: Table, first: int, last: int) -> AsyncIterator[Page]:
    narrow, reader = reader.wanted, reader.by_table
    narrowed, _ = table.narrowed(narrow)
    places: list[Place] = []
    async for place in table.forwards(narrowed, first, last):
        places.append(place)
        if len(places) == PAGE:
            yield reader.page(await reader.fetch(places), f"({places[-1][1]}")
            places = []
    if places:
        yield reader.page(await reader.fetch(places), f"({places[-1][1]}")
