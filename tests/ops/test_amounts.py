import pytest
from hypothesis import given
from hypothesis import strategies as st

from pombo.ops.amounts import parse_size, parse_span, size, span
from pombo.shared.errors import ConfigurationError


@given(st.integers(min_value=0, max_value=10**9))
def test_what_is_written_is_read(amount: int) -> None:
    """Spans and sizes come back exactly as they were, whatever unit they were written in."""
    assert (amount, amount) == (parse_span(span(amount), "x"), parse_size(size(amount), "x"))


def test_units() -> None:
    """People give spans and sizes with units, decimal and binary, or plainly."""
    assert [2700.0, 7200.0, 1.5] == [parse_span(text, "x") for text in ("45m", "2h", "1.5")]
    assert [268_435_456, 1_000_000_000, 812] == [parse_size(text, "x") for text in ("256 MiB", "1GB", "812")]
    assert ["30d", "2h", "45m", "90", "0"] == [span(s) for s in (2_592_000, 7200, 2700, 90, 0)]
    assert ["256 MiB", "1 GiB", "1500", "0"] == [size(b) for b in (268_435_456, 1 << 30, 1500, 0)]


@pytest.mark.parametrize("text", ["", "soon", "-1", "nan", "1y", "1e999"])
def test_no_amounts(text: str) -> None:
    """What is no amount is refused, and the option is named."""
    with pytest.raises(ConfigurationError, match=r"^retention .* is no span"):
        parse_span(text, "retention")
    with pytest.raises(ConfigurationError, match=r"^backlog .* is no size"):
        parse_size(text, "backlog")
