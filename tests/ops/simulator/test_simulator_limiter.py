from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import httpx
from hypothesis import given, settings
from hypothesis import strategies as st

from pombo.ops.simulator import Simulator, Switches
from pombo.ops.simulator.limiter import Limiter

Post = Callable[..., Awaitable[httpx.Response]]
Advance = Callable[[timedelta], None]


def track(message_id: str) -> dict[str, Any]:
    return {"type": "track", "userId": "u", "event": "E", "messageId": message_id}


async def statuses(post: Post, *keys: str) -> list[int]:
    return [(await post(track("a"), track("b"), key=key)).status_code for key in keys]


async def test_off(post: Post) -> None:
    """Unless switched on there is no rate limit."""
    assert set(await statuses(post, *["k"] * 20)) == {200}


async def test_limit(post: Post, sim: Simulator, advance: Advance) -> None:
    """Above the limit of a second the answer is 429 with the seconds to wait, and nothing is kept."""
    sim.set_switches(Switches(rate_limit=2))
    assert await statuses(post, "k", "k") == [200, 200]
    answer = await post(track("c"))
    assert (answer.status_code, answer.headers["retry-after"], answer.headers["x-ratelimit-reset"]) == (
        429,
        "1",
        "1",
    )
    assert "c" not in {row["message_id"] for row in sim.events()}
    advance(timedelta(seconds=1))
    assert await statuses(post, "k") == [200]


async def test_no_limit_headers_below_it(post: Post, sim: Simulator) -> None:
    """Answers within the limit carry no header about it, as the real ones."""
    sim.set_switches(Switches(rate_limit=2))
    assert not {"retry-after", "x-ratelimit-reset"} & set((await post(track("a"))).headers)


async def test_events_are_counted(post: Post, sim: Simulator) -> None:
    """With the switch the limit counts events."""
    sim.set_switches(Switches(rate_limit=5, rate_limit_counts="events"))
    assert await statuses(post, "k", "k", "k") == [200, 200, 429]


async def test_scope(post: Post, sim: Simulator) -> None:
    """A limit is the workspace's, or each key's if so switched."""
    sim.set_switches(Switches(rate_limit=1))
    assert await statuses(post, "one", "two") == [200, 429]
    sim.set_switches(Switches(rate_limit=1, rate_limit_scope="key"))
    assert await statuses(post, "one", "two", "one") == [200, 200, 429]


@settings(deadline=None)
@given(st.integers(1, 50), st.lists(st.tuples(st.integers(1, 80), st.floats(0, 3))))
def test_no_second_exceeds_the_limit(limit: int, steps: list[tuple[int, float]]) -> None:
    """What is admitted in a second stays within the limit, but for a request that alone exceeds it."""
    limiter = Limiter(Switches(rate_limit=limit, rate_limit_counts="events"))
    now, admitted = 0.0, dict[int, list[int]]()
    for events, pause in steps:
        now += pause
        if limiter.admits("k", events, now):
            admitted.setdefault(int(now), []).append(events)
    assert all(sum(found) <= limit or len(found) == 1 for found in admitted.values())
