from datetime import UTC, datetime, timedelta

import pytest

from pombo.ops.amounts import parse_since
from pombo.ops.cli.output import brief, local
from pombo.ops.wording import age, plural, size
from pombo.shared.errors import ConfigurationError

NOW = datetime(2026, 11, 21, 19, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("45m", NOW - timedelta(minutes=45)),
        ("2h", NOW - timedelta(hours=2)),
        ("1.5 d", NOW - timedelta(hours=36)),
        ("1w", NOW - timedelta(days=7)),
        ("30s", NOW - timedelta(seconds=30)),
        ("2026-11-20T10:00:00Z", datetime(2026, 11, 20, 10, tzinfo=UTC)),
        ("2026-11-20T10:00:00-03:00", datetime(2026, 11, 20, 13, tzinfo=UTC)),
        ("2026-11-20", datetime(2026, 11, 20).astimezone(UTC)),
    ],
)
def test_since(text: str, expected: datetime) -> None:
    """Spans count back from now; moments without a zone are this machine's."""
    assert expected == parse_since(text, NOW)


@pytest.mark.parametrize("text", ["", "soon", "2", "h", "-2h", "2 parsecs", "2026-13-01", "999999999999w"])
def test_since_that_is_none(text: str) -> None:
    """Anything else is wrong usage."""
    with pytest.raises(ConfigurationError, match="is no moment"):
        parse_since(text, NOW)


def test_spans_and_sizes_for_people() -> None:
    """Numbers are short and carry their unit."""
    assert ["0.4 s", "12 s", "3 min", "5.2 h", "9 d"] == [age(s) for s in (0.4, 12, 180, 18_720, 777_600)]
    assert ["0 B", "812 B", "1.4 MB", "2000.0 GB"] == [size(n) for n in (0, 812, 1_400_000, 2e12)]
    assert ["0 events", "1 event", "2,000 events"] == [plural(n, "event") for n in (0, 1, 2000)]


def test_moments_for_people() -> None:
    """Moments are in this machine's zone, texts that are none stay, nothing stays nothing."""
    there = NOW.astimezone()
    assert there.strftime("%Y-%m-%d %H:%M:%S") == local(NOW.isoformat())
    assert there.strftime("%m-%d %H:%M") == brief(NOW)
    assert ("whenever", None) == (local("whenever"), local(None))
