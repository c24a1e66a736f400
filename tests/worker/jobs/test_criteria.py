"""Words for a filter, as jobs, pages and the trail have them."""

from datetime import UTC, datetime

from pombo.shared.deadletters import Filter
from pombo.worker.jobs.criteria import words


def test_moments_are_for_people() -> None:
    """To the second, and in a zone that is named; who is looked for is not."""
    at = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)
    assert " (since 2026-01-02 03:04:05 UTC, until 2026-01-02 03:04:05 UTC, one user)" == words(
        Filter(since=at, until=at, user="u1")
    )
    assert "" == words(Filter())
