import pytest

from pombo.ops.top.blocks import BLOCKS, blocks


@pytest.mark.parametrize(
    ("values", "width", "expected"),
    [
        ([], 9, ""),
        ([0, 0], 9, "▁▁"),
        ([0, 1, 2, 3, 4, 5, 6, 7], 9, BLOCKS),
        ([1, 1000], 9, "▂█"),
        ([None, 0, 5, None], 9, " ▁█ "),
        ([None, None], 9, "  "),
        ([0, 9, 0, None, 3], 3, "▁█▃"),
        ([5.0] * 150, 75, "█" * 75),
    ],
)
def test_blocks(values: list[float | None], width: int, expected: str) -> None:
    """The newest is on the right, peaks survive being squeezed, what is not nothing is seen, and gaps stay gaps."""
    assert expected == blocks(values, width)


def test_blocks_of_a_scale() -> None:
    """Two lines with one scale can be compared."""
    assert "▂▅" == blocks([10, 50], 9, most=100)
