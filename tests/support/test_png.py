"""Pictures keep their pixels when they are packed anew."""

import struct
import zlib
from random import Random

import pytest

from support.png import SIGNATURE, squeezed

WIDTH, HEIGHT = 7, 6


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(lines: list[bytes], colour: int) -> bytes:
    """A picture of filtered lines, in two pieces, with a remark."""
    packed = zlib.compress(b"".join(lines), 1)
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, colour, 0, 0, 0)
    parts = [(b"IHDR", header), (b"tEXt", b"Remark\0x"), (b"IDAT", packed[:9]), (b"IDAT", packed[9:]), (b"IEND", b"")]
    return SIGNATURE + b"".join(chunk(*part) for part in parts)


def filtered(kind: int, line: bytes, above: bytes, step: int) -> bytes:
    """A line as an encoder filters it, straight from the specification."""

    def guess(i: int) -> int:
        a, b, c = (line[i - step] if i >= step else 0), above[i], (above[i - step] if i >= step else 0)
        p = a + b - c
        paeth = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
        return (0, a, b, (a + b) // 2, paeth)[kind]

    return bytes([kind]) + bytes((line[i] - guess(i)) % 256 for i in range(len(line)))


@pytest.mark.parametrize(("colour", "step"), [(2, 3), (6, 4)])
def test_pixels_are_kept(colour: int, step: int) -> None:
    """Whatever filters the lines have, and in however many pieces they are."""
    rng = Random(colour)
    lines = [rng.randbytes(WIDTH * step) for _ in range(HEIGHT)]
    above = [bytes(WIDTH * step), *lines]
    kinds = [1, 2, 3, 4, 0, 4]
    made = squeezed(png([filtered(*one, step) for one in zip(kinds, lines, above, strict=False)], colour))
    data = made[made.index(b"IDAT") + 4 :]
    assert b"".join(b"\0" + line for line in lines) == zlib.decompressobj().decompress(data)
    assert made == squeezed(made)
    assert b"tEXt" not in made
