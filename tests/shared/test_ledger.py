from redis.asyncio import Redis

from pombo.shared.keys import Keys
from pombo.shared.ledger import Ledger, read_ledger


def test_ledger_reads_its_hash() -> None:
    """Counters, families and incarnation come out typed, and unknown fields are passed over."""
    ledger = Ledger.parse(
        {
            b"incarnation": b"abc",
            b"accepted": b"9",
            b"accepted:track": b"7",
            b"accepted:page": b"2",
            b"delivered": b"5",
            b"dead": b"1",
            b"died:poison": b"3",
            b"queued": b"3",
            b"queued_bytes": b"412",
            b"tomorrow": b"x",
        }
    )

    assert ledger == Ledger(
        incarnation="abc",
        accepted=9,
        delivered=5,
        dead=1,
        queued=3,
        queued_bytes=412,
        accepted_by_type={"track": 7, "page": 2},
        died_by_reason={"poison": 3},
    )


async def test_ledger_is_read_from_redis(redis: Redis, keys: Keys) -> None:
    """The hash in Redis is what is read."""
    await redis.hset(keys.of("bot").ledger, mapping={"incarnation": "abc", "accepted": 2, "queued": 2})

    assert Ledger("abc", accepted=2, queued=2) == await read_ledger(redis, keys.of("bot"))


async def test_missing_ledger_is_empty(redis: Redis, keys: Keys) -> None:
    """A source without a ledger reads as zeros without an incarnation."""
    assert Ledger() == await read_ledger(redis, keys.of("bot"))


def test_balanced_ledger_has_no_problems() -> None:
    """The equation holds when the parts sum up to what was accepted."""
    ledger = Ledger(accepted=28, delivered=1, deduplicated=2, dead=3, discarded=4, erased=5, queued=6, in_flight=7)

    assert (True, ()) == (ledger.balanced, ledger.problems)


def test_imbalance_is_told_with_its_numbers() -> None:
    """An equation that fails is written out."""
    ledger = Ledger(accepted=10, delivered=4, queued=5)

    assert not ledger.balanced
    assert (
        "the ledger does not balance: 10 accepted, but 4 delivered + 0 deduplicated + 0 dead + 0 discarded "
        "+ 0 erased + 5 queued + 0 in flight = 9",
    ) == ledger.problems


def test_negative_counters_are_a_problem() -> None:
    """A counter below zero is told even where the equation holds."""
    ledger = Ledger(accepted=1, delivered=2, in_flight=-1)

    assert ("the ledger counts -1 in flight, below zero",) == ledger.problems


def test_ledger_describes_the_equation() -> None:
    """The JSON holds the eight counters of the equation."""
    described = Ledger(accepted=3, delivered=1, queued=2).describe()

    assert {
        "accepted": 3,
        "delivered": 1,
        "deduplicated": 0,
        "dead": 0,
        "discarded": 0,
        "erased": 0,
        "queued": 2,
        "in_flight": 0,
    } == described
