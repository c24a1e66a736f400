"""HTTP/1.1 answers: a parser that is fed bytes as they come, and knows nothing of sockets.

What is no HTTP is a `ProtocolError`, and so is a head that leaves open where its body ends. Once the head is there its
status stands, whatever becomes of the body.
"""

import re
import zlib
from collections.abc import Callable, Iterable
from typing import Any, Final

MAX_ANSWER_BYTES: Final = 64 << 10
"""Bytes of a body that are kept, unpacked."""
MAX_HEAD_BYTES: Final = 100 << 10
"""Bytes of a head, of a line between chunks or of one trailer, beyond which nobody is trusted to end it."""

_HEAD_END = re.compile(rb"\n\r?\n")
_STATUS = re.compile(rb"HTTP/1\.([0-9]) ([1-9][0-9]{2})(?: [^\r\n\0]*)?\r?")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\0\r]*?)[ \t]*\r?")
_LENGTH = re.compile(r"[0-9]{1,18}")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\0]*)?\r?\n")
_INFORMATIONAL = range(100, 200)
_SWITCHING = 101
_BODILESS = frozenset({204, 304})
_GZIP, _ZLIB, _DEFLATE = 31, 15, -15
_CODINGS: Final = {"gzip": [_GZIP], "x-gzip": [_GZIP], "deflate": [_ZLIB, _DEFLATE]}
"""How zlib reads each content coding: many send raw deflate for deflate."""


class ProtocolError(Exception):
    """What came is no HTTP/1.1 answer."""


class ResponseParser:
    """Read one answer.

    `feed` and `end` take in what comes. `status` is None until the whole head is there; informational answers before
    it are skipped. `headers` has names in lower case, and values of one name joined by a comma. `done` says that
    nothing more is wanted: the body is whole, has broken off, or is longer than what is kept. `reusable` says that
    the connection stands right behind a whole answer, and goes on.
    """

    __slots__ = ("_buffer", "_lasts", "_left", "_state", "_unpacker", "body", "done", "headers", "reusable", "status")

    def __init__(self) -> None:
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self.done = False
        self.reusable = False
        self._buffer = bytearray()
        self._left = 0
        self._lasts = False
        self._unpacker: _Unpacker | None = None
        self._state: Callable[[], bool] = self._read_head

    def feed(self, data: bytes) -> None:
        """Take in bytes.

        Raises:
            ProtocolError: they are no head of an answer.
        """
        self._buffer += data
        # Each state takes what it can, and says whether the next one may find something to do.
        while not self.done and self._state():
            pass
        self.reusable = self.reusable and not self._buffer

    def end(self) -> None:
        """Take in that nothing more comes; without a `status` there is no answer."""
        self.done = self.status is not None

    # -- the head -------------------------------------------------------------------------------------------------

    def _read_head(self) -> bool:
        end = _HEAD_END.search(self._buffer)
        if end is None:
            if len(self._buffer) > MAX_HEAD_BYTES:
                raise ProtocolError(f"a head of more than {MAX_HEAD_BYTES} bytes")
            return False
        first, *lines = bytes(self._buffer[: end.start()]).split(b"\n")
        del self._buffer[: end.end()]
        found = _STATUS.fullmatch(first)
        if found is None:
            raise ProtocolError("no status line of HTTP/1")
        status, headers = int(found[2]), _read_fields(lines)
        if status == _SWITCHING:
            raise ProtocolError("a switch to a protocol that nobody asked for")
        if status not in _INFORMATIONAL:
            self._state = self._body_of(status, headers)
            lasts = found[1] != b"0" and "close" not in _tokens(headers, "connection")
            self._lasts = lasts and not _doubtful(status, headers)
            self.status, self.headers = status, headers
        return True

    def _body_of(self, status: int, headers: dict[str, str]) -> Callable[[], bool]:
        """Find out how the body ends; raises ProtocolError when the head does not tell."""
        codings, lengths = _tokens(headers, "transfer-encoding"), set(_tokens(headers, "content-length"))
        if codings not in ([], ["chunked"]):
            raise ProtocolError("a transfer coding other than chunked")
        if len(lengths) > 1 or not all(map(_LENGTH.fullmatch, lengths)):
            raise ProtocolError("a length that is no number")
        known = _CODINGS.get(headers.get("content-encoding", "").strip().lower())
        self._unpacker = _Unpacker(known) if known else None
        if status in _BODILESS:
            return self._read_counted
        if codings:
            return self._read_size
        if not lengths:
            return self._read_endless
        self._left = int(lengths.pop())
        return self._read_counted

    # -- the body -------------------------------------------------------------------------------------------------

    def _read_counted(self) -> bool:
        self._take()
        if not self._left:
            self._whole()
        return False

    def _read_endless(self) -> bool:
        self._left = len(self._buffer)
        self._take()
        return False

    def _read_size(self) -> bool:
        line = self._line()
        if line is None:
            return False
        size = _CHUNK.fullmatch(line)
        if size is None:
            self.done = True
            return False
        self._left = int(size[1], 16)
        self._state = self._read_chunk if self._left else self._read_trailer
        return True

    def _read_chunk(self) -> bool:
        self._take()
        if self._left:
            return False
        self._state = self._read_chunk_end
        return True

    def _read_chunk_end(self) -> bool:
        line = self._line()
        if line is not None:
            self.done = bool(line.strip(b"\r\n"))
            self._state = self._read_size
        return line is not None

    def _read_trailer(self) -> bool:
        line = self._line()
        if line is not None and not line.strip(b"\r\n"):
            self._whole()
        return line is not None

    def _whole(self) -> None:
        self.reusable = self._lasts and not self.done
        self.done = True

    def _line(self) -> bytes | None:
        """The next line with its end, if it is there."""
        end = self._buffer.find(b"\n") + 1
        if not end:
            self.done = len(self._buffer) > MAX_HEAD_BYTES
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[:end]
        return line

    def _take(self) -> None:
        """Take what there is of the `_left` bytes of the body that come next."""
        piece = bytes(self._buffer[: self._left])
        del self._buffer[: self._left]
        self._left -= len(piece)
        room = MAX_ANSWER_BYTES - len(self.body)
        self.body += piece[:room] if self._unpacker is None else self._unpacker.unpack(piece, room)
        self.done = len(self.body) >= MAX_ANSWER_BYTES


class _Unpacker:
    """Unpack a coded body as it comes; what cannot be unpacked, and all behind it, is left out."""

    __slots__ = ("_begun", "_others", "_zlib")

    def __init__(self, windows: Iterable[int]) -> None:
        first, *self._others = windows
        self._begun = b""
        self._zlib: Any = zlib.decompressobj(first)

    def unpack(self, piece: bytes, room: int) -> bytes:
        """What `piece` holds, `room` bytes (1 or more) at most."""
        self._begun += piece if self._others else b""
        while self._zlib is not None:
            try:
                found: bytes = self._zlib.decompress(piece, room)
            except zlib.error:
                piece = self._begun
                self._zlib = zlib.decompressobj(self._others.pop()) if self._others else None
            else:
                if found:
                    self._others.clear()
                return found
        return b""


def _read_fields(lines: Iterable[bytes]) -> dict[str, str]:
    headers: dict[str, str] = {}
    name = ""
    for line in lines:
        if line[:1] in (b" ", b"\t") and name:
            # An obsolete way to go on with the value of the line before.
            headers[name] += " " + _text(line.strip())
            continue
        found = _FIELD.fullmatch(line)
        if found is None:
            raise ProtocolError("a header that is none")
        name, value = found[1].decode("ascii").lower(), _text(found[2])
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _doubtful(status: int, headers: dict[str, str]) -> bool:
    """Whether a head tells of two ends: what comes behind the one that counts may still be this answer's (RFC 9112)."""
    coded = bool(_tokens(headers, "transfer-encoding"))
    sized = any(length.strip("0") for length in _tokens(headers, "content-length"))
    return coded or sized if status in _BODILESS else coded and "content-length" in headers


def _tokens(headers: dict[str, str], name: str) -> list[str]:
    """The words of a header that lists some, in lower case."""
    return [word for word in (one.strip().lower() for one in headers.get(name, "").split(",")) if word]
