"""How long to wait before the same events go again."""

import random

BASE_S = 0.5
CAP_S = 60.0


def backoff(attempt: int, rng: random.Random) -> float:
    """Seconds to wait after failed attempt number `attempt` (1 is the first): full jitter below 0.5 s × 2ⁿ, cap 60 s.

    The figures are those of Segment's own SDKs of 2026; full jitter spreads a fleet that failed together.
    """
    ceiling = min(CAP_S, BASE_S * 2.0 ** min(attempt - 1, 30))
    return rng.uniform(0, ceiling)
