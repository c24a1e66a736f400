import tracemalloc
from datetime import UTC, datetime

from pombo.producer.buffer import Buffer, Offer, Pending
from pombo.producer.options import Options
from pombo.shared.prepared import Prepared, prepare
from producer.rig import FakeClock


def made(size: int = 10) -> Pending:
    return Pending(Prepared("m", "track", "u1", b"x" * size))


def buffer(**options: float) -> Buffer:
    return Buffer(Options("bot", **options), FakeClock(), lambda: None)  # type: ignore[arg-type]


def test_bounded_by_events() -> None:
    """The buffer refuses the event beyond its number."""
    bounded = buffer(buffer_events=2)
    offers = [bounded.offer(made()) for _ in range(3)]
    assert [Offer.TAKEN, Offer.TAKEN, Offer.FULL] == offers


def test_bounded_by_bytes() -> None:
    """The buffer refuses the event beyond its bytes, and takes a smaller one."""
    bounded = buffer(buffer_bytes=100)
    offers = [bounded.offer(made(size)) for size in (60, 60, 40)]
    assert [Offer.TAKEN, Offer.FULL, Offer.TAKEN] == offers


def test_taken_events_keep_their_room() -> None:
    """Room comes back with the outcome, not when the flusher takes an event out."""
    bounded = buffer(buffer_events=1)
    bounded.offer(made())
    taken: list[Pending] = []
    bounded.take(10, taken)
    before = bounded.offer(made())
    bounded.release(taken)
    assert (Offer.FULL, Offer.TAKEN) == (before, bounded.offer(made()))


def test_memory_of_waiting_events() -> None:
    """A waiting event takes little more memory than its own bytes."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    bounded = buffer()
    tracemalloc.start()
    try:
        for _ in range(1000):
            event = prepare({"type": "track", "userId": "u1", "event": "A"}, now=now)
            bounded.offer(Pending(event))
        assert tracemalloc.get_traced_memory()[0] < bounded.bytes + 1000 * 600
    finally:
        tracemalloc.stop()


def test_tells_of_room() -> None:
    """Who was refused is told once when room may be there."""
    bounded = buffer(buffer_events=1)
    told: list[str] = []
    first = made()
    bounded.offer(first)
    bounded.offer(made(), lambda: told.append("room"))
    bounded.release([first])
    bounded.release([])
    assert ["room"] == told


def test_closing_tells_the_waiting() -> None:
    """Who waits for room in a buffer that closes is told, and refused as closed."""
    bounded = buffer(buffer_events=1)
    told: list[str] = []
    bounded.offer(made())
    bounded.offer(made(), lambda: told.append("room"))
    bounded.close()
    assert (["room"], Offer.CLOSED) == (told, bounded.offer(made()))
