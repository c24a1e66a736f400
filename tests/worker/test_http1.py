"""The parser of HTTP/1.1 answers, beside h11's wherever both have to agree."""

import gzip
import zlib
from collections.abc import Sequence

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pombo.worker.http1 import MAX_ANSWER_BYTES, MAX_HEAD_BYTES, ProtocolError, ResponseParser

OK = b"HTTP/1.1 200 OK\r\n"


def parsed(*pieces: bytes, ends: bool = False) -> ResponseParser:
    """A parser that was fed these."""
    parser = ResponseParser()
    for piece in pieces:
        parser.feed(piece)
    if ends:
        parser.end()
    return parser


def seen(parser: ResponseParser) -> tuple[int | None, bytes, bool, bool]:
    """Status, body, whether it wants no more, and whether the connection goes on."""
    return parser.status, bytes(parser.body), parser.done, parser.reusable


# -- what ends a body ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (OK + b"Content-Length: 4\r\n\r\ntrue", (200, b"true", True, True)),
        (OK + b"Content-Length: 4, 4\r\n\r\ntrue", (200, b"true", True, True)),
        (OK + b"Content-Length: 0\r\n\r\n", (200, b"", True, True)),
        (OK + b"Content-Length: 5\r\n\r\ntrue", (200, b"true", False, False)),
        (OK + b"Content-Length: 4\r\n\r\ntrueHTTP/1.1 200 OK\r\n\r\n", (200, b"true", True, False)),
        (OK + b"\r\ntrue", (200, b"true", False, False)),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\ntr\r\n2;x=y\r\nue\r\n0\r\n\r\n", (200, b"true", True, True)),
        (OK + b"Transfer-Encoding: Chunked\r\n\r\n4\r\ntrue\r\n0\r\nX: y\r\nZ: 0\r\n\r\n", (200, b"true", True, True)),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\ntrue\r\n", (200, b"true", False, False)),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\ntrue\r\n0\r\n", (200, b"true", False, False)),
        (OK + b"Transfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n0\r\n\r\n", (200, b"", True, False)),
        (b"HTTP/1.1 204 No\r\nContent-Length: 9\r\n\r\n", (204, b"", True, False)),
        (b"HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n", (204, b"", True, False)),
        (b"HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n", (204, b"", True, True)),
        (b"HTTP/1.1 304 Same\r\n\r\n", (304, b"", True, True)),
        (b"HTTP/1.1 100 Go on\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\n" + OK + b"Content-Length: 0\r\n\r\n",
         (200, b"", True, True)),
        (b"HTTP/1.1 100 Go on\r\n\r\n", (None, b"", False, False)),
        (OK + b"Connection: x, Close\r\nContent-Length: 0\r\n\r\n", (200, b"", True, False)),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", (200, b"", True, False)),
        (b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", (200, b"", True, True)),
        (b"HTTP/1.1 200 OK\nContent-Length: 4\n\ntrue", (200, b"true", True, True)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("at_once", [True, False])
def test_a_body_ends_where_its_head_says(
    answer: bytes, expected: tuple[int | None, bytes, bool, bool], at_once: bool
) -> None:
    """By its length, its last chunk, its status or the connection's end; however it is cut on its way."""
    pieces = [answer] if at_once else [answer[at : at + 1] for at in range(len(answer))]
    if not at_once and b"trueHTTP" in answer:
        pieces = [answer[:-20], answer[-20:]]
        expected = (200, b"true", True, False)
    assert expected == seen(parsed(*pieces))


@pytest.mark.parametrize("head", [b"\r\n", b"Content-Length: 9\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n9\r\n"])
def test_the_end_of_the_connection_ends_any_body(head: bytes) -> None:
    """What came until then is the body, and its status stands."""
    assert (200, b"tru", True, False) == seen(parsed(OK + head + b"tru", ends=True))


def test_the_end_of_the_connection_makes_no_answer() -> None:
    """A head that breaks off has no status."""
    assert (None, b"", False, False) == seen(parsed(b"HTTP/1.1 200 OK\r\nX: ", ends=True))


@pytest.mark.parametrize(
    "chunk", [b"not a size\r\n", b"-1\r\n", b"4\r\ntrueX\r\n", b"0x4\r\n", b"\r\n", b"1" * 20 + b"\r\n"]
)
def test_broken_chunks_end_the_body(chunk: bytes) -> None:
    """A body whose chunks are no chunks breaks off there, and the connection with it."""
    parser = parsed(OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunk)
    assert (200, True, False) == (parser.status, parser.done, parser.reusable)


# -- heads ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "head",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 099 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\n\r\n",
        OK + b"no header\r\n\r\n",
        OK + b"X : y\r\n\r\n",
        OK + b": y\r\n\r\n",
        OK + b" folded: y\r\n\r\n",
        OK + b"X: a\0b\r\n\r\n",
        OK + b"Content-Length: many\r\n\r\n",
        OK + b"Content-Length: -1\r\n\r\n",
        OK + b"Content-Length: 1, 2\r\n\r\n",
        OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
        OK + b"X: " + b"x" * MAX_HEAD_BYTES,
    ],
)
def test_what_is_no_answer(head: bytes) -> None:
    """Anything else than a head of HTTP/1, or one that does not tell where its body ends, is an error."""
    with pytest.raises(ProtocolError):
        parsed(head)


def test_headers_as_they_are_read() -> None:
    """Names in lower case; values of one name joined, folded ones unfolded, strange bytes taken as they can be."""
    lines = b"RETRY-After:  7 \r\nX: a\r\nx: b\r\nFold: a\r\n\t b \r\nE:\r\nU: \xc3\xa9\r\nL: \xe9\r\n\r\n"
    expected = {"retry-after": "7", "x": "a, b", "fold": "a b", "e": "", "u": "é", "l": "é"}
    assert expected == parsed(OK + lines).headers


# -- codings -------------------------------------------------------------------------------------------------

DEFLATE = zlib.compressobj(wbits=-15)
CODED = {
    b"gzip": gzip.compress(b"true"),
    b"x-gzip": gzip.compress(b"true"),
    b"GZIP": gzip.compress(b"true"),
    b"deflate": zlib.compress(b"true"),
    b"Deflate": DEFLATE.compress(b"true") + DEFLATE.flush(),
    b"identity": b"true",
    b"unknown": b"true",
}


@pytest.mark.parametrize("coding", CODED)
@pytest.mark.parametrize("step", [1, 1000])
def test_bodies_are_unpacked(coding: bytes, step: int) -> None:
    """What is packed in a way that is known is unpacked, also deflate without its frame, as it comes."""
    body = CODED[coding]
    head = OK + b"Content-Encoding: %s\r\nContent-Length: %d\r\n\r\n" % (coding, len(body))
    pieces = [body[at : at + step] for at in range(0, len(body), step)]
    assert (200, b"true", True, True) == seen(parsed(head, *pieces))


@pytest.mark.parametrize("coding", [b"gzip", b"deflate"])
def test_what_cannot_be_unpacked_is_left_out(coding: bytes) -> None:
    """Noise leaves an empty body, and nothing behind it is taken for more."""
    head = OK + b"Content-Encoding: %s\r\nContent-Length: %d\r\n\r\n" % (coding, 12 + len(CODED[coding]))
    assert (200, b"", True, True) == seen(parsed(head, b"no gzip here", CODED[coding]))


@pytest.mark.parametrize(
    "length", [MAX_ANSWER_BYTES - 1, MAX_ANSWER_BYTES, MAX_ANSWER_BYTES + 1, 10 * MAX_ANSWER_BYTES]
)
@pytest.mark.parametrize("packed", [False, True])
def test_no_more_is_kept_than_is_wanted(length: int, packed: bool) -> None:
    """A longer body is cut there, and its connection is not used again."""
    body = b"x" * length
    sent = gzip.compress(body) if packed else body
    head = b"Content-Encoding: gzip\r\n" if packed else b""
    parser = parsed(OK + head + b"Content-Length: %d\r\n\r\n" % len(sent), sent)
    expected = (200, body[:MAX_ANSWER_BYTES], True, length < MAX_ANSWER_BYTES)
    assert expected == seen(parser)


@pytest.mark.parametrize(
    "start", [b"Transfer-Encoding: chunked\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: "]
)
def test_an_endless_line_ends(start: bytes) -> None:
    """Between chunks and among trailers nobody waits for the end of an endless line."""
    parser = parsed(OK + start, *[b"1" * 10_000] * 11)
    assert (200, True, False) == (parser.status, parser.done, parser.reusable)


# -- beside h11 ----------------------------------------------------------------------------------------------


def by_h11(pieces: Sequence[bytes]) -> tuple[int, list[tuple[str, str]], bytes, bool] | None:
    """Status, headers, body and whether the answer is whole, as h11 reads them; None: it is no answer."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="POST", target="/", headers=[("Host", "x"), ("Content-Length", "0")]))
    connection.send(h11.EndOfMessage())
    status, headers, body = 0, [], b""
    try:
        for piece in filter(None, pieces):
            connection.receive_data(piece)
            while (event := connection.next_event()) is not h11.NEED_DATA:
                if isinstance(event, h11.Response):
                    status = event.status_code
                    headers = [(name.decode(), value.decode("latin-1")) for name, value in event.headers]
                elif isinstance(event, h11.Data):
                    body += event.data
                elif isinstance(event, h11.EndOfMessage):
                    return status, headers, body, True
    except h11.RemoteProtocolError:
        return (status, headers, body, False) if status else None
    return (status, headers, body, False) if status else None


def by_ours(pieces: Sequence[bytes]) -> tuple[int, list[tuple[str, str]], bytes, bool] | None:
    parser = ResponseParser()
    try:
        for piece in pieces:
            parser.feed(piece)
    except ProtocolError:
        return None
    if parser.status is None:
        return None
    return parser.status, list(parser.headers.items()), bytes(parser.body), parser.reusable


_token = st.text(st.sampled_from("abcXYZ019-_"), min_size=1, max_size=8)
_value = st.text(st.sampled_from("abc 019;=/\"'"), max_size=12).map(str.strip)
_FRAMING = {"transfer-encoding", "content-length"}
_chunks = st.lists(st.binary(min_size=1, max_size=40), max_size=4)


@st.composite
def answers(draw: st.DrawFn) -> list[bytes]:
    """A sound answer, in pieces."""
    status = draw(st.sampled_from([200, 204, 304, 400, 429, 503, 999]))
    fields = {
        name.lower(): f"{name}: {value}\r\n" for name, value in draw(st.lists(st.tuples(_token, _value), max_size=4))
    }
    chunks = draw(_chunks)
    if draw(st.booleans()):
        body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
        fields["transfer-encoding"] = "Transfer-Encoding: chunked\r\n"
    else:
        body = b"".join(chunks)
        fields["content-length"] = f"Content-Length: {len(body)}\r\n"
    if status in {204, 304}:
        # With either field these are read the same, but their connection does not go on.
        body, fields = b"", {name: line for name, line in fields.items() if name not in _FRAMING}
    whole = f"HTTP/1.1 {status} Word\r\n{''.join(fields.values())}\r\n".encode() + body
    cuts = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=5)))
    return [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]


@settings(deadline=None, max_examples=300)
@given(answers())
def test_sound_answers_are_read_as_h11_reads_them(pieces: list[bytes]) -> None:
    """Whatever a sound answer looks like and wherever it is cut, both read the same."""
    assert by_h11(pieces) == by_ours(pieces)


@settings(deadline=None, max_examples=500)
@given(answers(), st.data())
def test_damaged_answers_mean_nothing_else_than_to_h11(pieces: list[bytes], data: st.DataObject) -> None:
    """One byte changed on the way: what both take for a whole answer has one status and one body."""
    whole = b"".join(pieces)
    at = data.draw(st.integers(0, len(whole) - 1))
    damaged = whole[:at] + bytes([data.draw(st.integers(0, 255))]) + whole[at + 1 :]
    ours, theirs = by_ours([damaged]), by_h11([damaged])
    if theirs is not None and theirs[3] and ours is not None and ours[3]:
        assert (theirs[0], theirs[2]) == (ours[0], ours[2])


@settings(deadline=None, max_examples=300)
@given(st.lists(st.binary(max_size=200), max_size=5))
def test_noise_raises_nothing_else(pieces: list[bytes]) -> None:
    """Any bytes, with or without a sound head before them, are an answer or a ProtocolError."""
    by_ours(pieces)
    by_ours([OK, b"\r\n", *pieces])
    by_ours([OK, b"Transfer-Encoding: chunked\r\n\r\n", *pieces])
    by_ours([OK, b"Content-Encoding: gzip\r\n\r\n", *pieces])
