from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from hypothesis import given, settings
from hypothesis import strategies as st

from pombo.ops.simulator import Simulator, Switches
from pombo.ops.simulator.window import IdempotencyWindow

Post = Callable[..., Awaitable[httpx.Response]]
Advance = Callable[[timedelta], None]
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def track(message_id: Any = "m", **changes: Any) -> dict[str, Any]:
    return {"type": "track", "userId": "u", "event": "E", "messageId": message_id, **changes}


async def test_same_batch(post: Post, sim: Simulator) -> None:
    """The second copy of a messageId in one batch is a duplicate, whatever its content."""
    await post(track(), track(event="Other", userId="v"))
    assert [row["fate"] for row in sim.events()] == ["kept", "duplicate"]


async def test_across_keys(post: Post, sim: Simulator) -> None:
    """A messageId is remembered for everybody: under another write key it is a duplicate."""
    await post(track(), key="one")
    await post(track(), key="two")
    assert [(row["key"], row["fate"]) for row in sim.events()] == [("one", "kept"), ("two", "duplicate")]


async def test_window_ends(post: Post, sim: Simulator, advance: Advance) -> None:
    """A copy within 24 h is dropped and one after them is kept, counted from the copy that was kept."""
    await post(track())
    advance(timedelta(hours=24) - timedelta(microseconds=1))
    await post(track())
    advance(timedelta(microseconds=1))
    await post(track())
    assert [row["fate"] for row in sim.events()] == ["kept", "duplicate", "kept"]


async def test_window_switch(post: Post, sim: Simulator, advance: Advance) -> None:
    """The window's length is a switch, and 0 remembers nothing."""
    sim.set_switches(Switches(dedup_window_s=60))
    await post(track())
    advance(timedelta(seconds=60))
    await post(track())
    sim.set_switches(Switches(dedup_window_s=0))
    await post(track())
    assert [row["fate"] for row in sim.events()] == ["kept", "kept", "kept"]


async def test_dropped_events_are_not_remembered(post: Post, sim: Simulator) -> None:
    """An event that was dropped on ingest may come again, repaired, under its id."""
    await post(track(event=""))
    await post(track())
    assert [row["fate"] for row in sim.events()] == ["event_not_defined", "kept"]


async def test_refused_events_are_not_remembered(post: Post, sim: Simulator) -> None:
    """An event in a refused request may come again under its id."""
    sim.set_plan([{"answer": {"status": 500}, "times": 1}])
    await post(track())
    await post(track())
    assert [row["fate"] for row in sim.events()] == ["kept"]


async def test_missing_id_is_assigned(post: Post, sim: Simulator) -> None:
    """Without a usable messageId an event gets one of its own, so that its retry is no duplicate."""
    for missing in (None, "", 5):
        await post(track(missing))
    rows = sim.events()
    assert {"kept"} == {row["fate"] for row in rows}
    assert len({row["message_id"] for row in rows if row["message_id"].startswith("api-")}) == 3
    assert [row["message_ids"] for row in sim.requests(ids=True)] == [[]] * 3


async def test_assigned_ids_are_seeded(http: httpx.AsyncClient) -> None:
    """The ids that are assigned repeat with the seed."""

    async def assigned(seed: int) -> str:
        async with Simulator(seed=seed) as sim:
            await http.post(f"{sim.url}/v1/track", json={"userId": "u", "event": "E", "writeKey": "k"})
            return sim.events()[0]["message_id"]

    assert await assigned(1) == await assigned(1) != await assigned(2)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 15))))
def test_window_agrees_with_a_plain_search(steps: list[tuple[str, int]]) -> None:
    """The window admits an id exactly if it was not kept within the last ten seconds."""
    window, now, kept = IdempotencyWindow(timedelta(seconds=10)), NOON, list[tuple[str, datetime]]()
    for message_id, pause in steps:
        now += timedelta(seconds=pause)
        new = not any(found == message_id and now - at < window.length for found, at in kept)
        assert new == window.admit(message_id, now)
        if new:
            kept.append((message_id, now))


def test_window_forgets() -> None:
    """Ids past the window leave memory as later ones come."""
    window = IdempotencyWindow(timedelta(seconds=10))
    for second in range(1_000):
        window.admit(str(second), NOON + timedelta(seconds=second))
    assert len(window) == 10
