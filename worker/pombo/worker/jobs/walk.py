"""A walk over one source's dead letters in steps that may be cut off anywhere."""

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pombo.shared.clock import moment
from pombo.shared.deadletters import Counts, DeadLetter, Filter, Page, count, pages, read
from pombo.shared.errors import UnknownSourceError
from pombo.shared.flow import redis_now
from pombo.shared.sources import Source
from pombo.worker.jobs.frame import Desk, Task

LAST = (1 << 64) - 1
"""The highest sequence of a stream id."""


class Step(NamedTuple):
    """One step of a walk."""

    chosen: list[DeadLetter]
    """Those that something is done with."""
    passed: Mapping[str, int]
    """How many were passed over, by the count that says why."""
    next: str
    """Where the next step starts."""


class Walk(Task):
    """Do something with each dead letter that is wanted, oldest first.

    Its life, as kept in the job's meta:

    1. `end`: the last letter there was when it began. Those that die later are left for the next job.
    2. `pending`, stored before something is done with the letters of a step: their stream ids, the events in them,
       and what the meta will be then.
    3. `next`, stored after: where to read on; and the counts.

    A run that finds `pending` follows one that was cut off between 2 and 3. It counts those of them that are gone
    as done, so that counts and a limit hold whatever happens, and does the rest.
    """

    deed: str
    """Name in the meta of the count of events that something was done with."""

    def __init__(
        self, desk: Desk, kind: str, source: str, wanted: Filter, *,
        limit: int | None = None, rate: float | None = None, fresh: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        begun = {"next": "-", "pending": None, "end": None, **(fresh or {})}
        super().__init__(desk, kind, source, rate, begun)
        self.start = begun["next"]
        self.wanted = wanted
        self.limit = limit

    async def work(self) -> None:
        """Go on from where the meta says."""
        source = await self.desk.registry.get(self.source)
        if self.meta["end"] is None:
            await self.begin(source)
        await self._settle(source)
        await self.walk(source)

    async def begin(self, source: Source) -> None:
        """Note how far to go, and how much that may be."""
        dead = self.desk.keys.of(source.name).dead
        found: Any = await self.desk.redis.xrevrange(dead, count=1)
        total = self.meta["total"]
        if total is None:
            total = await self.counted()
        self.note(
            end=found[0][0].decode() if found else "0-0", total=total if self.limit is None else min(total, self.limit)
        )

    async def counted(self) -> int:
        """How many letters it will probably handle."""
        return (await self.count()).letters

    async def count(self) -> Counts:
        """Count the letters that are wanted."""
        now = moment(await redis_now(self.desk.redis))
        return await count(self.desk.redis, self.desk.keys, self.source, self.wanted, now=now)

    async def walk(self, source: Source) -> None:
        """Take step after step until the end, or the limit.

        Raises:
            UnknownSourceError: the source was removed meanwhile, or made anew, and its letters with it.
        """
        await self._walk(source)
        if (await self.desk.registry.get(self.source)).incarnation != source.incarnation:
            raise UnknownSourceError(
                f"source {self.source!r} was removed meanwhile, with its dead letters, and made anew"
            )

    async def _walk(self, source: Source) -> None:
        while self.open:
            place = self.meta["next"]
            async for page in pages(self.desk.redis, self.desk.keys, source.name, self.wanted, start=place):
                await self._walk_page(source, page)
                if not self.open:
                    return
                if self.meta["next"] != page.next:
                    # The limit cut the page, and then some of its letters were gone: there is room for more of it.
                    break
            else:
                return

    @property
    def open(self) -> bool:
        """Whether there may be more to do."""
        return self.left != 0 and key(self.meta["next"]) < key(self.meta["end"])

    async def _walk_page(self, source: Source, page: Page) -> None:
        sort = await self.sorter(source, page)
        for step in steps(page, sort, end=self.meta["end"], size=self.pace.size, left=self.left):
            self.desk.look()
            await self.take(source, step)

    async def take(self, source: Source, step: Step) -> None:
        """Take one step."""
        then = {"next": step.next, **self.add(**step.passed)}
        if not step.chosen:
            self.note(**then)
            return
        await self.pace.turn()
        self._intend(step.chosen, then)
        await self._finish(source, step.chosen, then)

    @property
    def left(self) -> int | None:
        """How many letters more it may do something with; None is any number."""
        return None if self.limit is None else max(0, self.limit - self.meta["done"])

    @abstractmethod
    async def sorter(self, source: Source, page: Page) -> Callable[[DeadLetter], str | None]:
        """What says of a letter of the page which count to pass it over under; None when something is done with it."""

    @abstractmethod
    async def act(self, source: Source, letters: Sequence[DeadLetter]) -> int:
        """Do it with letters, some of which may be gone; return the events it was done with."""

    def _intend(self, letters: Sequence[DeadLetter], then: Mapping[str, Any]) -> None:
        ids = [letter.stream_id for letter in letters]
        self.note(pending={"ids": ids, "events": _events(letters), "then": then})

    async def _finish(self, source: Source, letters: Sequence[DeadLetter], then: Mapping[str, Any]) -> None:
        events = await self.act(source, letters)
        # Those that somebody else took meanwhile do not count.
        done = len(letters) if events == _events(letters) else min(len(letters), events)
        self.pace.spent(len(letters))
        self.progressed(**self.add(**{self.deed: events, "done": done}), pending=None, **then)

    async def _settle(self, source: Source) -> None:
        """Count what the last run did without having noted it, and do the rest of it."""
        pending = self.meta["pending"]
        if pending is None:
            return
        left = await self._still_there(source, pending)
        number, events = _size(pending)
        gone = self.add(**{self.deed: events - _events(left), "done": number - len(left)})
        if not left:
            self.note(**gone, pending=None, **pending["then"])
            return
        await self.pace.turn()
        ids = [letter.stream_id for letter in left]
        self.note(**gone, pending={"ids": ids, "events": _events(left), "then": pending["then"]})
        await self._finish(source, left, pending["then"])

    async def _still_there(self, source: Source, pending: Mapping[str, Any]) -> list[DeadLetter]:
        if "ids" not in pending:
            return await self._up_to(source, pending["last"])
        return await still_there(self.desk, source.name, pending["ids"])

    async def _up_to(self, source: Source, last: str) -> list[DeadLetter]:
        """Letters of a step that an older pombo noted by its last one alone."""
        found: list[DeadLetter] = []
        async for page in pages(self.desk.redis, self.desk.keys, source.name, self.wanted, start=self.meta["next"]):
            sort = await self.sorter(source, page)
            found += [one for one in page.letters if key(one.stream_id) <= key(last) and sort(one) is None]
            if key(page.next) >= key(last):
                break
        return found


async def still_there(desk: Desk, source: str, ids: Sequence[str]) -> list[DeadLetter]:
    """Those of some letters that are neither redriven nor discarded, in the order of their deaths."""
    chosen = Filter(ids=frozenset(f"{source}/{stream_id}" for stream_id in ids))
    return [letter async for letter in read(desk.redis, desk.keys, source, chosen)]


def steps(
    page: Page, sort: Callable[[DeadLetter], str | None], *, end: str, size: int, left: int | None
) -> Iterator[Step]:
    """Cut a page into steps: up to `size` letters each, `left` in all, none behind `end`.

    Behind the last letter that the limit lets through, nothing is looked at or counted.
    """
    chosen: list[DeadLetter] = []
    passed: Counter[str] = Counter()
    for stream_id, letter in _entries(page):
        if key(stream_id) > key(end):
            break
        why = "unreadable" if letter is None else sort(letter)
        if letter is None or why is not None:
            passed[why or ""] += 1
            continue
        chosen.append(letter)
        left = None if left is None else left - 1
        if len(chosen) == size or left == 0:
            yield Step(chosen, passed, f"({stream_id}")
            chosen, passed = [], Counter()
        if left == 0:
            return
    yield Step(chosen, passed, page.next)


def _entries(page: Page) -> list[tuple[str, DeadLetter | None]]:
    found: list[tuple[str, DeadLetter | None]] = [(letter.stream_id, letter) for letter in page.letters]
    found += [(stream_id, None) for stream_id in page.unreadable]
    return sorted(found, key=lambda entry: key(entry[0]))


def key(stream_id: str) -> tuple[int, int]:
    """A stream id, or a place to read from, in a form that compares; `-` is before all."""
    milliseconds, _, sequence = stream_id.removeprefix("(").partition("-")
    return int(milliseconds or 0), int(sequence or 0)


def _events(letters: Sequence[DeadLetter]) -> int:
    return sum(letter.events for letter in letters)


def _size(pending: Mapping[str, Any]) -> tuple[int, int]:
    """Letters and events of a step that was begun; an older pombo noted letters of one event each."""
    if "ids" not in pending:
        return int(pending["letters"]), int(pending["letters"])
    return len(pending["ids"]), int(pending["events"])
