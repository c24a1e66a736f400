"""Random lives of dead letters: what the table tells is what reading each letter tells, whatever happens."""

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from pombo.shared.audit import audit
from pombo.shared.deadletters import (
    Counts,
    DeadLetter,
    Filter,
    Numbered,
    compact,
    count,
    discard,
    groups,
    pages,
    read,
    rebuild,
    redrive_page,
    restore,
    search,
)
from pombo.shared.deadletters.rebuild import Draft, LostError
from pombo.shared.deadletters.table import look
from pombo.shared.keys import Keys
from pombo.shared.registry import Snapshot
from support.letters import SOURCE, Stored, letter, open_source, put, put_old, take_old

KINDS: list[Stored] = [
    letter("m1", "poison", event="Message Sent", user="u1"),
    letter("m2", "poison", event="Message Sent", user="u2", status=500, answer="try 17"),
    letter("m3", "expired", event="Message Read", user="u1"),
    letter("m1", "invalid", event="Message Read", user="u2", answer='event is "x"'),
    letter("m4", "rejected_by_segment", event="Ended", user="u3", accepted_at="2020-01-01T00:00:00Z"),
    (letter("m5", "corrupt")[0], b"\x01?", 7),
    (b'{"v":9}', b"of a newer pombo", 1),
]
READABLE = KINDS[:-1]
FILTERS = [
    Filter(), Filter(reason="poison"), Filter(event="Message Read"), Filter(user="u1"), Filter(message_id="m1"),
    Filter(reason="invalid", user="u2"), Filter(event="Ended", message_id="m4"), Filter(reason="policy"),
]  # fmt: skip
NOW = datetime(2026, 1, 3, tzinfo=UTC)


@dataclass
class Life:
    """A source's dead letters through their changes; the stream itself is the model."""

    redis: Redis
    keys: Keys = field(default_factory=Keys)
    draft: Draft | None = None
    exports: list[DeadLetter] = field(default_factory=list)
    imports: int = 0
    whole: bool = True
    """Whether only this pombo has touched the letters since there was a table."""

    # -- steps ----------------------------------------------------------------------------------------------------

    async def append(self, kinds: list[int]) -> None:
        """A worker or a gateway writes letters."""
        await put(self.redis, self.keys, *(READABLE[kind % len(READABLE)] for kind in kinds))

    async def append_old(self, kinds: list[int]) -> None:
        """An older pombo does."""
        await put_old(self.redis, self.keys, *(READABLE[kind % len(READABLE)] for kind in kinds))
        self.whole = False

    async def newer(self) -> None:
        """A newer pombo writes a letter that cannot be read here."""
        await self.redis.xadd(self.keys.of("bot").dead, {"h": KINDS[-1][0], "b": KINDS[-1][1]})
        for counter, more in (("accepted", 1), ("dead", 1), ("dead_bytes", len(KINDS[-1][0] + KINDS[-1][1]))):
            await self.redis.hincrby(self.keys.of("bot").ledger, counter, more)
        self.whole = False

    async def discard(self, picks: list[int]) -> None:
        """Somebody discards letters, some of them twice."""
        chosen = await self._pick(picks)
        self.exports += chosen
        await discard(self.redis, self.keys, "bot", [*chosen, *chosen[:1]])

    async def discard_old(self, picks: list[int]) -> None:
        """An older pombo does."""
        chosen = await self._pick(picks)
        await take_old(self.redis, self.keys, *(one.stream_id for one in chosen))
        self.whole &= not chosen

    async def redrive(self, picks: list[int]) -> None:
        """Letters go back into the queue."""
        await redrive_page(self.redis, self.keys, SOURCE, [one for one in await self._pick(picks) if one.redrivable])

    async def restore(self, picks: list[int]) -> None:
        """Letters come back from an export, and a lost answer makes somebody repeat that."""
        chosen = [self.exports[pick % len(self.exports)] for pick in picks] if self.exports else []
        self.imports += 1
        for _ in range(2 if chosen else 0):
            numbered = [Numbered(line, one) for line, one in enumerate(chosen, 1)]
            await restore(self.redis, self.keys, SOURCE, numbered, name=f"import{self.imports}", by="us")

    async def rebuild(self) -> None:
        """The table is made anew, unless somebody else is at it."""
        self.whole |= await rebuild(self.redis, self.keys, "bot")

    async def compact(self) -> None:
        """The table is made smaller, if there is reason to."""
        await compact(self.redis, self.keys, "bot")

    async def begin(self) -> None:
        """Somebody begins to make the table anew."""
        draft = Draft(self.redis, self.keys.of("bot"), f"{self.imports:032}")
        if await draft.begin():
            self.draft = draft

    async def step(self, page: int) -> None:
        """They read on."""
        try:
            await (self.draft.step(page) if self.draft else self._nothing())
        except LostError:
            self.draft = None

    async def swap(self) -> None:
        """They put it in place, having read the rest."""
        with suppress(LostError):
            self.whole |= await (self.draft.swap() if self.draft else self._nothing())
        self.draft = None

    async def die(self) -> None:
        """They are killed, and half a minute goes by."""
        await self.redis.delete(*self.keys.of("bot").dead_draft)
        self.draft = None

    async def _nothing(self) -> bool:
        return False

    async def _pick(self, picks: list[int]) -> list[DeadLetter]:
        there = await self._all()
        return (
            [*{there[pick % len(there)].stream_id: there[pick % len(there)] for pick in picks}.values()]
            if there
            else []
        )

    async def _all(self) -> list[DeadLetter]:
        return [one async for one in read(self.redis, self.keys, "bot")]

    # -- what must hold -------------------------------------------------------------------------------------------

    async def check(self) -> None:
        """Every question is answered as the letters themselves would."""
        state, _ = await look(self.redis, self.keys.of("bot"))
        assert state.complete or not self.whole, state
        before = await self._all()
        for wanted in FILTERS:
            await self._check(wanted, before)
        await self._check_groups(before)
        report = await audit(self.redis, self.keys, Snapshot(1, {"bot": SOURCE}))
        assert report.balanced, report.describe()

    async def _check(self, wanted: Filter, there: list[DeadLetter]) -> None:
        expected = [one.stream_id for one in there if wanted.matches(one)]
        paged = [one.stream_id async for page in pages(self.redis, self.keys, "bot", wanted) for one in page.letters]
        assert (wanted, expected) == (wanted, paged)
        found = await search(self.redis, self.keys, "bot", wanted, count=2)
        again = await search(self.redis, self.keys, "bot", wanted, before=found.next) if found.next else None
        newest = [*found.letters, *(again.letters if again else ())]
        assert (wanted, expected[::-1]) == (wanted, [one.stream_id for one in newest])
        able = [one for one in there if wanted.matches(one) and one.redrivable]
        counts = Counts(
            len(expected), len(able), len(expected) - len(able), sum(one.older_than_window(NOW) for one in able)
        )
        assert (wanted, counts) == (wanted, await count(self.redis, self.keys, "bot", wanted, now=NOW))

    async def _check_groups(self, there: list[DeadLetter]) -> None:
        found = await groups(self.redis, self.keys, "bot")
        assert Counter(one.fingerprint for one in there) == {group.fingerprint: group.count for group in found}
        assert sorted((group.count for group in found), reverse=True) == [group.count for group in found]
        for group in found:
            await self._check(Filter(group=group.fingerprint), there)


_some = st.lists(st.integers(0, 30), min_size=1, max_size=6)
_steps = st.one_of(
    st.tuples(st.just("append"), _some),
    st.tuples(st.just("append"), _some),
    st.tuples(st.sampled_from(["discard", "redrive", "restore", "append_old", "discard_old"]), _some),
    st.tuples(st.sampled_from(["rebuild", "compact", "begin", "swap", "die", "newer"])),
    st.tuples(st.just("step"), st.integers(1, 4)),
)


@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.lists(_steps, max_size=14), st.booleans())
async def test_the_table_tells_what_the_letters_tell(redis: Redis, steps: list[Any], looked: bool) -> None:
    """Through deaths, discards, redrives, imports, other pombos, and tables made anew in steps between them."""
    await redis.flushall()
    life = Life(redis)
    await open_source(redis, life.keys)
    for name, *arguments in steps:
        await getattr(life, name)(*arguments)
        if looked:
            await life.check()
    await life.check()
    state, _ = await look(redis, life.keys.of("bot"))
    assert state.complete or life.draft is not None


async def test_a_busy_maker_does_not_stand_in_the_way(redis: Redis) -> None:
    """While somebody makes the table anew, readers go by the stream."""
    life = Life(redis, whole=False)
    await open_source(redis, life.keys)
    await life.append_old([0, 1, 2, 3, 4])
    await life.begin()
    await life.step(2)
    await life.check()
    assert replace((await look(redis, life.keys.of("bot")))[0], letters=0).version == ""
    await life.append_old([5])
    await life.discard([0, 4])
    await life.swap()
    assert (await look(redis, life.keys.of("bot")))[0].complete
    await life.check()
