"""Canaries: random strings in the place of secrets and of people's data, and the search that finds them again.

A canary is looked for as it is and as programs write it: in Base64 at any alignment (Basic auth is that), in
hex, percent-encoded, escaped as JSON or as Python does. What is compressed is looked into too: gzip, zlib (RQ's jobs)
and zstd (record batches), at any place in the data and one in the other. Both ends of a canary are looked for, so that
one that was cut is found while `ENDS` characters of it are left.
"""

import base64
import gzip
import json
import random
import string
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from urllib.parse import quote, quote_plus

import zstandard

ENDS = 12
"""Characters of an end: enough that no other data has them by chance."""
MAX_VIEW = 64 << 20
_DEPTH = 4
_MAGICS = {
    "gzip": (b"\x1f\x8b\x08",),
    "zstd": (b"\x28\xb5\x2f\xfd",),
    "zlib": (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda"),
}


@dataclass(frozen=True)
class Canary:
    """One of them: what it stands for, and its text."""

    name: str
    text: str

    @cached_property
    def needles(self) -> Mapping[bytes, str]:
        """What is looked for, and in which writing that would be."""
        found: dict[bytes, str] = {}
        for part in (self.text[:ENDS], self.text[-ENDS:]):
            for writing, needle in _writings(part):
                found.setdefault(needle, writing)
        return found


@dataclass(frozen=True, order=True, slots=True)
class Sighting:
    """Where a canary was."""

    place: str
    canary: str
    writing: str


def _writings(text: str) -> Iterator[tuple[str, bytes]]:
    raw = text.encode()
    escaped = json.dumps(text)[1:-1]
    yield "as it is", raw
    yield "JSON", escaped.encode()
    yield "JSON", json.dumps(text, ensure_ascii=False)[1:-1].encode()
    yield "JSON in JSON", json.dumps(escaped)[1:-1].encode()
    yield "percent", quote(text, safe="").encode()
    yield "percent", quote_plus(text).encode()
    yield "hex", raw.hex().encode()
    yield "hex", raw.hex().upper().encode()
    yield "Python", repr(raw)[2:-1].encode()
    for needle in _base64(raw):
        yield "Base64", needle


def _base64(raw: bytes) -> Iterator[bytes]:
    """The characters that these bytes have in any Base64 around them: without those they share with a neighbour."""
    for before in range(3):
        whole = base64.b64encode(bytes(before) + raw)
        bits = 8 * (before + len(raw))
        inner = whole[-(-8 * before // 6) : bits // 6]
        yield inner
        yield inner.translate(bytes.maketrans(b"+/", b"-_"))


def views(data: bytes, depth: int = _DEPTH) -> Iterator[tuple[str, bytes]]:
    """The data, and all that is compressed somewhere in it; each with how it was reached."""
    yield "", data
    if not depth:
        return
    for kind, magics in _MAGICS.items():
        for at in (at for magic in magics for at in _places(data, magic)):
            inner = _inflated(kind, data[at:])
            if inner:
                yield from ((f" > {kind}{rest}", view) for rest, view in views(inner, depth - 1))


def _places(data: bytes, magic: bytes) -> Iterator[int]:
    at = data.find(magic)
    while at >= 0:
        yield at
        at = data.find(magic, at + 1)


def _inflated(kind: str, data: bytes) -> bytes:
    """What a member that begins here holds, as far as it is whole; nothing when none does."""
    if kind == "zstd":
        return next(filter(None, (_unzstd(data, one) for one in (_batches(), None))), b"")
    with suppress(zlib.error):
        return zlib.decompressobj(31 if kind == "gzip" else 15).decompress(data, MAX_VIEW)
    return b""


def _unzstd(data: bytes, dictionary: zstandard.ZstdCompressionDict | None) -> bytes:
    with suppress(zstandard.ZstdError):
        made = zstandard.ZstdDecompressor(dict_data=dictionary) if dictionary else zstandard.ZstdDecompressor()
        return made.decompressobj().decompress(data)
    return b""


def _batches() -> zstandard.ZstdCompressionDict:
    """The dictionary of record batches."""
    return zstandard.ZstdCompressionDict(files("pombo.shared").joinpath("dictionary_1.zstd").read_bytes())


def search(places: Iterable[tuple[str, bytes]], canaries: Iterable[Canary]) -> set[Sighting]:
    """Look for canaries in places, which are a name and data each."""
    wanted = list(canaries)
    return {
        Sighting(place, canary.name, f"{writing}{way}")
        for place, data in places
        for way, view in views(data)
        for canary in wanted
        for needle, writing in canary.needles.items()
        if needle in view
    }


# -- making them --------------------------------------------------------------------------------------------------


def secret(name: str, length: int = 32) -> Canary:
    """A key or token of letters and digits."""
    return Canary(name, "".join(_rng.choices(string.ascii_letters + string.digits, k=length)))


def password(name: str) -> Canary:
    """A password with characters that a URL must encode, at both ends."""
    return Canary(name, f"p/@:{secret('', 24).text}?&#w")


def people() -> dict[str, Canary]:
    """Somebody's data, by what it is, in the form that its like has: also beyond ASCII, and with what JSON escapes."""
    digits = "".join(_rng.choices(string.digits, k=19))
    words = [secret("", 14).text for _ in range(7)]
    texts = {
        "user": f"user-{words[0]}",
        "email": f"{words[1]}@{words[2]}.br",
        "phone": f"+55119{digits[:9]}",
        "cpf": f"9{digits[9:11]}.{digits[11:14]}.{digits[14:17]}-{digits[17:]}",
        "name": f"Ção {words[3]} de {words[4]}ã",
        "text": f'"“{words[5]}\n olá {words[6]}\\é',
    }
    return {name: Canary(name, text) for name, text in texts.items()}


def zipped(raw: bytes) -> dict[str, bytes]:
    """Bytes in every compression that is looked into: for those who test the search."""
    batch = zstandard.ZstdCompressor(dict_data=_batches(), write_dict_id=False, write_content_size=False)
    return {
        "gzip": gzip.compress(raw), "zlib": zlib.compress(raw), "zstd": zstandard.compress(raw),
        "record batch": bytes((1, 1)) + batch.compress(raw),
    }  # fmt: skip


_rng = random.SystemRandom()
