import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Self
from urllib.parse import parse_qsl

import orjson

GZIP = 16 + zlib.MAX_WBITS


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, whole: header names are in lower case, `body` is as sent (up to a cap).

    `at` and `monotonic` say when its head was received; `wire_bytes` counts the body even where it was cut.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    wire_bytes: int
    at: datetime
    monotonic: float

    @property
    def path(self) -> str:
        """The path without its query."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> dict[str, str]:
        """The query's parameters; of a repeated one the last."""
        return dict(parse_qsl(self.target.partition("?")[2], keep_blank_values=True))

    @property
    def cut(self) -> bool:
        """Whether the body was longer than what is held."""
        return self.wire_bytes > len(self.body)

    @property
    def gzipped(self) -> bool:
        """Whether the body says to be gzip."""
        return self.headers.get("content-encoding", "").strip().lower() in ("gzip", "x-gzip")

    def sealed(self) -> Self:
        """Return the same request with its body gzipped, to be kept at about a tenth of the size."""
        if self.gzipped:
            return self
        body = zlib.compress(self.body, level=1, wbits=GZIP)
        return replace(self, body=body, wire_bytes=len(body), headers={**self.headers, "content-encoding": "gzip"})


@dataclass(frozen=True, slots=True)
class Response:
    """One HTTP response; a body that comes in pieces is written as it is made."""

    status: int
    body: bytes | Iterator[bytes] = b""
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})


def pretty(value: object) -> bytes:
    """Serialise as Segment's edge does, indented by two spaces."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2)
