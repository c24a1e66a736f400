"""The idempotency store's arithmetic, over days of a scripted clock."""

from collections import Counter
from dataclasses import dataclass, field
from math import exp, lgamma, log

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pombo.shared.errors import StoredVersionError
from pombo.worker.idempotency import (
    FIRST_BUCKETS,
    MAX_BUCKETS,
    MAX_GENERATIONS,
    MAX_MEAN,
    Generation,
    Table,
    cut_to,
    members,
    next_table,
)

HOUR = 3_600_000
WINDOW = 24 * HOUR
START = 1_800_000_000_000


def fake_ids(count: int) -> list[bytes]:
    return [b"message-%d" % number for number in range(count)]


# -- members -------------------------------------------------------------------------------------------------


def test_members_have_63_bits_and_spreads_32() -> None:
    """A member fits Redis' signed 64-bit integers, and both halves use their whole range."""
    hashed = members(fake_ids(2000))
    assert [2000, 2000] == [len(hashed.members), len(hashed.spreads)]
    assert 1 << 63 > max(hashed.members) > 1 << 62 > min(hashed.members) >= 0
    assert 1 << 32 > max(hashed.spreads) > 1 << 31 > min(hashed.spreads) >= 0


def test_members_are_the_same_for_good() -> None:
    """What a worker stores today another one finds tomorrow: pinned."""
    assert ([7678275404525491457], [2867264127]) == members([b"m1"])
    one, other = members([b"a"]), members([b"b"])
    assert ([*one.members, *other.members], [*one.spreads, *other.spreads]) == members([b"a", b"b"])
    assert ([], []) == members([])


def test_spread_is_not_part_of_the_member() -> None:
    """Bucket and member are independent: a bit of one agrees with a bit of the other half of the time."""
    hashed = members(fake_ids(1500))
    for low in range(0, 32, 3):
        for bit in range(0, 63, 7):
            agreed = sum((spread >> low & 1) == (member >> bit & 1) for member, spread in zip(*hashed, strict=True))
            assert 600 < agreed < 900, (low, bit, agreed)


@pytest.mark.parametrize("buckets", [64, 100, 2048])
def test_ids_spread_evenly_over_buckets(buckets: int) -> None:
    """With a mean of 100 no bucket comes near the 512 members up to which Redis packs."""
    filled = Counter(spread % buckets for spread in members(fake_ids(100 * buckets)).spreads)
    assert buckets == len(filled)
    assert max(filled.values()) < 160


@settings(deadline=None)
@given(st.sets(st.binary(max_size=40), max_size=50))
def test_members_tell_ids_apart(ids: set[bytes]) -> None:
    """Different ids have different members."""
    assert len(ids) == len({*members(sorted(ids)).members})


# -- the stored table ----------------------------------------------------------------------------------------

_generations = st.builds(Generation, *[st.integers(0, 1 << 50)] * 6)


@settings(deadline=None)
@given(st.lists(_generations, max_size=3))
def test_table_survives_storing(generations: list[Generation]) -> None:
    """What was dumped is loaded again, under its version."""
    table = Table("7", tuple(generations))
    assert table == Table.load(b"7", table.dump())


def test_nothing_stored_is_an_empty_table() -> None:
    """A source without generations starts with an empty table."""
    assert [Table()] * 4 == [Table.load(*stored) for stored in ((None, None), (b"", b""), (b"1", None), (None, b"{}"))]


@pytest.mark.parametrize("stored", [b'{"v":2,"generations":[]}', b'{"v":"1"}', b"{}"])
def test_table_of_another_version_is_left_alone(stored: bytes) -> None:
    """A table that another pombo wrote is told, and never taken for an empty one."""
    with pytest.raises(StoredVersionError, match="version"):
        Table.load(b"7", stored)


# -- generations ---------------------------------------------------------------------------------------------


def test_first_generation_begins_at_once() -> None:
    """An empty table gets its first generation whatever the count."""
    first = Generation(1, FIRST_BUCKETS, START, window=WINDOW)
    assert Table("1", (first,)) == next_table(Table(), now=START, count=0, window=WINDOW)


def test_young_generation_is_kept() -> None:
    """A generation that is neither old nor full stays."""
    table = Table("1", (Generation(1, 64, START),))
    assert None is next_table(table, now=START + WINDOW - 1, count=64 * MAX_MEAN - 1, window=WINDOW)


@pytest.mark.parametrize(
    ("before", "filled_ms", "limit", "buckets"),
    [
        (64, WINDOW - 1, 0, 96),  # As many again in the next window: at a mean of 256.
        (64, WINDOW // 10, 0, 960),
        (64, 5, 0, 15_625),  # Four million.
        (64, 0, 0, 15_625),
        (64, -HOUR, 0, 15_625),
        (15_625, WINDOW // 3, 0, 70_312),
        (15_625, 60_000, 0, 93_750),  # Four times as many.
        (15_625, 60_000, 20_000_000, 39_062),  # Half of the limit.
        (64, 5, 40_000, 96),
        (MAX_BUCKETS // 2, 60_000, 0, MAX_BUCKETS),
        (MAX_BUCKETS, 60_000, 0, MAX_BUCKETS),
    ],
)
def test_full_generation_is_followed_by_one_for_what_its_rate_brings(
    before: int, filled_ms: int, limit: int, buckets: int
) -> None:
    """A generation that filled up early is followed by one for a window at its rate, as far as that is believed."""
    table, now = Table("1", (Generation(1, before, START),)), START + filled_ms
    expected = Table(
        "2", (Generation(2, buckets, now, window=WINDOW), Generation(1, before, START, now, before * MAX_MEAN))
    )
    assert expected == next_table(table, now=now, count=before * MAX_MEAN, window=WINDOW, limit=limit)


@pytest.mark.parametrize(("count", "buckets"), [(0, 64), (12_000, 64), (128_000, 500), (10**12, MAX_BUCKETS)])
def test_aged_generation_is_followed_by_one_of_its_own_size(count: int, buckets: int) -> None:
    """After a window the next generation is sized by what the last one held."""
    table = Table("41", (Generation(9, 4096, START),))
    found = next_table(table, now=START + WINDOW, count=count, window=WINDOW)
    assert found is not None
    assert ("42", buckets) == (found.version, found.generations[0].buckets)


@pytest.mark.parametrize(("buckets", "follower"), [(64, 262_144), (2048, 262_144), (65_536, 393_216)])
def test_generation_that_none_can_follow_is_large(buckets: int, follower: int) -> None:
    """The fifth generation has room for what may come until the first one ends, as it is the last till then."""
    older = tuple(Generation(number, 64, START - WINDOW, START) for number in (3, 2, 1))
    table = Table("3", (Generation(4, buckets, START), *older))
    found = next_table(table, now=START, count=buckets * MAX_MEAN, window=WINDOW)
    assert found is not None
    assert [follower, buckets, 64, 64, 64] == [generation.buckets for generation in found.generations]
    assert None is next_table(found, now=START, count=10**12, window=WINDOW)


def test_generation_outlives_its_end_by_a_window() -> None:
    """An ended generation is asked until its last id is a window old, and dropped by the next change."""
    table = Table("3", (Generation(3, 64, START), Generation(2, 64, START - WINDOW, START)))
    for now, alive in ((START + WINDOW - 1, [4, 3, 2]), (START + WINDOW, [4, 3])):
        found = next_table(table, now=now, count=64 * MAX_MEAN, window=WINDOW)
        assert found is not None
        assert alive == [generation.number for generation in found.generations]


def test_a_longer_window_begins_a_generation() -> None:
    """Buckets keep the time to live that they were made with; a shorter window, or an unknown one, changes nothing."""
    table = Table("1", (Generation(1, 64, START, window=WINDOW),))
    found = next_table(table, now=START + 1, count=9, window=2 * WINDOW)
    assert found is not None
    assert [(2, 2 * WINDOW), (1, WINDOW)] == [(one.number, one.window) for one in found.generations]
    assert None is next_table(found, now=START + 2, count=0, window=2 * WINDOW)
    assert None is next_table(table, now=START + 1, count=9, window=WINDOW // 2)
    assert None is next_table(Table("1", (Generation(1, 64, START),)), now=START + 1, count=9, window=2 * WINDOW)


def test_the_longer_window_of_two_workers_counts() -> None:
    """A worker that has not heard of it yet makes no bucket that ends too early."""
    table = Table("1", (Generation(2, 64, START, window=2 * WINDOW), Generation(1, 64, START, window=WINDOW)))
    assert [4 * WINDOW, 4 * WINDOW, 6 * WINDOW] == [table.lifetime(n * WINDOW) for n in (1, 2, 3)]
    old = Table("1", (Generation(1, 64, START),))
    assert 2 * WINDOW == old.lifetime(WINDOW)


# -- days of traffic -----------------------------------------------------------------------------------------


@dataclass
class Store:
    """The store under traffic: a worker looks at the table, with the count of the last claim, before it claims.

    An id is forgotten when its generation leaves the table, or its bucket expires: twice the window after the
    bucket's first id. One bucket a generation stands for the oldest one.
    """

    window: int = WINDOW
    limit: int = 0
    now: int = START
    count: int = 0
    table: Table = field(default_factory=Table)
    most_generations: int = 0
    most_ids: int = 0
    worst_mean: float = 0.0
    since: int = START
    """When the window was changed last: what was claimed before is remembered for the window of then."""
    expires: dict[int, int] = field(default_factory=dict)
    last: dict[int, int] = field(default_factory=dict)
    total: int = 0

    def claim(self, ids: int) -> None:
        """Rotate if need be, then remember some ids."""
        self._rotate()
        newest = self.table.generations[0]
        self.count += ids
        self.total += ids
        self.expires.setdefault(newest.number, self.now + self.table.lifetime(self.window))
        self.last[newest.number] = self.now
        self.worst_mean = max(self.worst_mean, self.count / newest.buckets)
        self.most_ids = max(self.most_ids, self.count + sum(g.count for g in self.table.generations))
        if not self.limit:
            self._check()

    def _rotate(self) -> None:
        wanted = next_table(self.table, now=self.now, count=self.count, window=self.window, limit=self.limit)
        if wanted is not None:
            self.count = self.count if wanted.generations[:1] == self.table.generations[:1] else 0
            self.table = wanted
            self.most_generations = max(self.most_generations, len(wanted.generations))

    def _check(self) -> None:
        """Every id claimed less than a window ago is still found."""
        live = {generation.number for generation in self.table.generations}
        for number, last in self.last.items():
            if self.since <= last > self.now - self.window:
                assert number in live, f"generation {number} was dropped too early"
        for number, expires in self.expires.items():
            if self.last[number] >= self.since:
                assert self.last[number] + self.window <= expires, f"a bucket of {number} expires too early"


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 20_000_000), st.sampled_from([60_000, HOUR, WINDOW]))
def test_steady_traffic_keeps_buckets_small(ids_a_window: int, window: int) -> None:
    """Days of steady traffic forget no id early, with few generations and small buckets."""
    store = Store(window)
    steps = min(2000, ids_a_window)
    claim = ids_a_window // steps
    for _ in range(4 * steps):
        store.claim(claim)
        store.now += window // steps
    assert store.most_generations <= MAX_GENERATIONS
    assert store.worst_mean <= MAX_MEAN + claim / FIRST_BUCKETS


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.sampled_from([HOUR, 5 * HOUR, WINDOW, 3 * WINDOW]), st.integers(1, 60)), max_size=8))
def test_a_changed_window_holds_from_then_on(windows: list[tuple[int, int]]) -> None:
    """Whenever an operator makes it longer or shorter, no id that comes later is forgotten early."""
    store = Store(HOUR)
    for window, hours in [(HOUR, 1), *windows]:
        if window != store.window:
            store.window, store.since = window, store.now
        for _ in range(2 * hours):
            store.claim(100)
            store.now += HOUR // 2


def test_growth_from_nothing_to_five_million() -> None:
    """A new source may remember five million ids within an hour: two generations, buckets far from full."""
    store = Store()
    while store.total < 5_000_000:
        store.claim(1000)
        store.now += HOUR // 5000
    assert [15_625, 64] == [generation.buckets for generation in store.table.generations]
    assert store.worst_mean <= MAX_MEAN + 1000 / FIRST_BUCKETS


def bytes_an_id(store: Store) -> float:
    """Bytes of Redis for each remembered id: a bucket takes 120 B without its members, measured with Valkey 9.1.

    A member takes 8 B, and 9 % more for the allocator's size classes. A generation with few ids lacks some buckets.
    """
    newest, *older = store.table.generations
    filled = [(newest.buckets, store.count), *((g.buckets, g.count) for g in older)]
    buckets = sum(b * (1 - exp(-n / b)) for b, n in filled)
    ids = sum(n for _, n in filled)
    return 8 * 1.09 + 120 * buckets / ids


@pytest.mark.parametrize("quiet_days", [0, 2])
@pytest.mark.parametrize("rate", [20, 200, 1000, 10_000, 100_000])
def test_an_id_is_cheap_whatever_the_rate(rate: int, quiet_days: int) -> None:
    """From a million ids on, one takes 11 B at most, whatever came before; with five million it takes 10 B."""
    store, total = Store(), 0
    for _ in range(24 * quiet_days):
        store.claim(30)
        store.now += HOUR
    worst = 0.0
    while total < 100_000_000 and store.now < START + (quiet_days + 2) * WINDOW:
        store.claim(2000)
        total += 2000
        store.now += 2_000_000 // rate
        if total >= 1_000_000 and total % 100_000 == 0:
            worst = max(worst, bytes_an_id(store))
        if total == 5_000_000:
            assert 10 >= bytes_an_id(store)
    assert 11 >= worst > 8
    assert store.worst_mean <= MAX_MEAN + 2000 / FIRST_BUCKETS
    assert store.most_generations <= MAX_GENERATIONS


def test_a_full_generation_has_hardly_an_outgrown_bucket() -> None:
    """Of a million buckets with ids up to the mean at which a generation is full, 0.0003 pass 512: Poisson's tail."""
    tail = sum(exp(k * log(MAX_MEAN) - MAX_MEAN - lgamma(k + 1)) for k in range(513, 1024))
    assert tail * 1_000_000 < 0.0003


def test_a_crowded_generation_lacks_no_bucket() -> None:
    """With as many ids as make a generation crowded, the largest one lacks a bucket once in ten million times."""
    newest = Generation(1, MAX_BUCKETS, START)
    assert MAX_BUCKETS * exp(-newest.crowded / newest.buckets) < 1e-7
    assert newest.crowded < MAX_MEAN * newest.buckets


@pytest.mark.parametrize("trickle", [0, 1, 1000])
@pytest.mark.parametrize("burst_ms", [HOUR, WINDOW - HOUR, 3 * WINDOW])
def test_burst_after_quiet_days_keeps_buckets_packed(trickle: int, burst_ms: int) -> None:
    """Three quiet days, then five million ids: few generations, and 512 ids a bucket at most.

    An old generation is still alive then, and must not take away the room that the burst needs.
    """
    store = Store()
    store.claim(10)
    for _ in range(72):
        store.now += HOUR
        if trickle:
            store.claim(trickle)
    quiet = store.total
    while store.total - quiet < 5_000_000:
        store.claim(1000)
        store.now += burst_ms // 5000
    assert store.most_generations <= MAX_GENERATIONS
    assert store.worst_mean <= 512


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.integers(0, WINDOW // 3), st.integers(1, 400_000)), max_size=80))
def test_ids_are_remembered_for_the_window(steps: list[tuple[int, int]]) -> None:
    """Whatever the traffic, no id is forgotten within the window, and five generations are enough."""
    store = Store()
    for pause, ids in steps:
        store.now += pause
        store.claim(ids)
    assert store.most_generations <= MAX_GENERATIONS


def test_the_default_rate_from_nothing_on_keeps_buckets_packed() -> None:
    """Three days of 1,000 ids a second: no bucket passes 512, and the default limit cuts nothing."""
    store = Store(limit=200_000_000)
    step = 2000
    while store.now < START + 3 * WINDOW:
        store.claim(step)
        store._check()
        store.now += step
    assert 180_000_000 > store.most_ids > 2 * 86_000_000
    assert store.worst_mean <= 512
    assert store.most_generations <= MAX_GENERATIONS


@settings(deadline=None, max_examples=200)
@given(
    st.integers(1, 3_000_000),
    st.lists(st.tuples(st.integers(0, WINDOW // 3), st.integers(1, 400_000)), max_size=80),
)
def test_a_limit_is_kept(limit: int, steps: list[tuple[int, int]]) -> None:
    """Whatever the traffic, no more ids are remembered than the limit, and the newest half of it are; claims aside."""
    store = Store(limit=limit)
    claims: list[tuple[int, int]] = []
    for pause, ids in steps:
        store.now += pause
        store.claim(ids)
        claims.append((store.now, ids))
        largest = max(n for _, n in claims)
        assert store.most_ids <= limit + 2 * largest
        fresh = sum(n for at, n in claims if store.now - at < WINDOW)
        held = store.count + sum(g.count for g in store.table.generations)
        assert held >= min(fresh, limit // 2 - largest), (held, fresh)


def test_a_limit_that_cuts_says_how_far() -> None:
    """The oldest generation ends when there are too many ids, and those since the next one began are left."""
    older = (Generation(2, 64, START, START + HOUR, 500), Generation(1, 64, START - HOUR, START, 400))
    table = Table("5", (Generation(3, 64, START + HOUR), *older))
    now = START + 2 * HOUR
    assert None is next_table(table, now=now, count=99, window=WINDOW, limit=1000)
    cut = next_table(table, now=now, count=100, window=WINDOW, limit=1000)
    assert cut == Table("6", (table.generations[0], older[0]))
    assert 2 * HOUR == cut_to(table, cut, now=now, window=WINDOW)
    halved = next_table(cut, now=now, count=500, window=WINDOW, limit=1000)
    assert halved is not None
    assert [(4, 0), (3, 500)] == [(g.number, g.count) for g in halved.generations]
    assert HOUR == cut_to(cut, halved, now=now, window=WINDOW)
    assert None is cut_to(cut, halved, now=START + HOUR + WINDOW, window=WINDOW)


def test_a_table_without_counts_is_read() -> None:
    """What was stored before generations had counts has none."""
    found = Table.load(b"7", b'{"v":1,"generations":[[2,64,5,0],[1,64,1,5]]}')
    assert [0, 0] == [generation.count for generation in found.generations]


def test_versions_count_on() -> None:
    """Every change of the table has a version of its own, so that compare-and-set can tell them apart."""
    store, versions = Store(), []
    for _ in range(60):
        store.claim(30_000)
        store.now += HOUR
        versions.append(int(store.table.version))
    assert versions == sorted(versions)
    numbers = [generation.number for generation in store.table.generations]
    assert [versions[-1] - back for back in range(len(numbers))] == numbers
