"""Requests, and their way over a real network."""

import asyncio
import base64
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from importlib.metadata import version

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pombo.worker.answers import Answer
from pombo.worker.direct import DirectTransport
from pombo.worker.http1 import MAX_ANSWER_BYTES
from pombo.worker.proxied import HttpxTransport
from pombo.worker.transport import REFRESH_S, Request, Transport, make_request

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
HASTE_S = 0.2
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntrue"

# -- requests ------------------------------------------------------------------------------------------------


def test_body_is_the_events_as_they_are() -> None:
    """The events' bytes go into the body untouched, however they were written."""
    bodies = [
        b'{"messageId":"a","n":1.0}',
        b'{ "messageId" : "b" , "t":"\xc3\xa9\\u00e9\\n,\\"" }',
        b'{"n":1e2}',
    ]
    request = make_request("http://x/v1/batch", "key", bodies, sends=0, now=NOW)
    expected = b'{"batch":[' + b",".join(bodies) + b'],"sentAt":"2026-03-01T12:00:00.123Z","writeKey":"key"}'
    assert expected == gzip.decompress(request.body)


_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(deadline=None)
@given(
    st.lists(_values, min_size=1, max_size=5),
    st.text(st.characters(codec="utf-8")),
    st.datetimes(timezones=st.timezones()),
)
def test_body_is_exact_json(events: list[object], key: str, now: datetime) -> None:
    """Whatever events and key hold, the body is one JSON document with batch, sentAt and writeKey."""
    request = make_request("http://x", key, [orjson.dumps(event) for event in events], sends=0, now=now)
    body = orjson.loads(gzip.decompress(request.body))
    assert ["batch", "sentAt", "writeKey"] == list(body)
    assert (events, key) == (body["batch"], body["writeKey"])
    assert abs(datetime.fromisoformat(body["sentAt"]) - now) < timedelta(milliseconds=1)


def test_sent_at_is_utc_whatever_the_clocks_zone() -> None:
    """`sentAt` is written in UTC, in milliseconds."""
    here = NOW.astimezone(timezone(timedelta(hours=-3)))
    assert b'"sentAt":"2026-03-01T12:00:00.123Z"' in gzip.decompress(make_request("u", "k", [], sends=0, now=here).body)


def test_headers_say_what_segment_wants_to_know() -> None:
    """Type, encoding, key and sender are in the headers; the first send carries no retry count."""
    request = make_request("http://x/v1/batch", "kéy:1", [b"{}"], sends=0, now=NOW)
    assert "http://x/v1/batch" == request.url
    assert {
        "Content-Type": "application/json",
        "Content-Encoding": "gzip",
        "Authorization": "Basic " + base64.b64encode("kéy:1:".encode()).decode(),
        "User-Agent": f"pombo/{version('pombo')}",
    } == request.headers


def test_retries_are_counted() -> None:
    """From the first retry on the header says how often the events were sent before."""
    counts = [make_request("u", "k", [b"{}"], sends=n, now=NOW).headers.get("X-Retry-Count") for n in (0, 1, 7)]
    assert [None, "1", "7"] == counts


# -- over the network ----------------------------------------------------------------------------------------

Kind = type[DirectTransport] | type[HttpxTransport]
Reply = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Server:
    """A TCP server that reads requests and answers as the test says: bytes, or what a function does."""

    reply: bytes | Reply = OK
    url: str = ""
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    connections: int = 0
    closed: int = 0
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while await self._answer(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            self.closed += 1
            async with self.changed:
                self.changed.notify_all()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        self.requests.append((headers | {"": lines[0]}, await reader.readexactly(int(headers["content-length"]))))
        async with self.changed:
            self.changed.notify_all()
        if isinstance(self.reply, bytes):
            writer.write(self.reply)
            await writer.drain()
        else:
            await self.reply(reader, writer)
        return not writer.is_closing()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10), self.changed:
            await self.changed.wait_for(condition)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    listening = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1/batch"
    async with listening:
        yield made


@dataclass
class Clock:
    """A monotonic clock that stands still until it is moved."""

    seconds: float = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=[DirectTransport, HttpxTransport])
def kind(request: pytest.FixtureRequest) -> Kind:
    """Both ways to send behave alike."""
    made: Kind = request.param
    return made


@pytest.fixture
async def hasty(kind: Kind) -> AsyncIterator[Transport]:
    """A transport that gives up soon."""
    made = kind(timeout_s=HASTE_S)
    yield made
    await made.close()


@pytest.fixture
async def transport(kind: Kind, clock: Clock) -> AsyncIterator[Transport]:
    made = kind(monotonic=clock)
    yield made
    await made.close()


def request(url: str) -> Request:
    return make_request(url, "key", [b'{"messageId":"a"}'], sends=0, now=NOW)


async def close_connection(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def reset_connection(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


async def test_answer_comes_back_whole(server: Server, transport: Transport) -> None:
    """Status, headers in lower case, and body of the answer are handed on."""
    server.reply = b"HTTP/1.1 429 Slow\r\nRETRY-AFTER: 7\r\nX-RateLimit-Reset: 8\r\nContent-Length: 4\r\n\r\nwait"
    answer = await transport.post(request(server.url))
    headers = {"retry-after": "7", "x-ratelimit-reset": "8", "content-length": "4"}
    assert Answer(429, headers, b"wait") == answer


async def test_request_arrives_as_it_was_made(server: Server, transport: Transport) -> None:
    """The body's bytes and every header reach the server, and its length is declared."""
    sent = make_request(server.url, "key", [b'{"messageId":"a"}'], sends=2, now=NOW)
    await transport.post(sent)
    ((headers, body),) = server.requests
    assert "POST /v1/batch HTTP/1.1" == headers[""]
    assert sent.body == body
    assert {name.lower(): value for name, value in sent.headers.items()}.items() <= headers.items()


async def test_connection_is_kept_alive(server: Server, transport: Transport) -> None:
    """Requests one after the other share a connection."""
    for _ in range(5):
        await transport.post(request(server.url))
    assert (5, 1) == (len(server.requests), server.connections)


async def test_requests_go_side_by_side(server: Server, transport: Transport) -> None:
    """A request never waits for another one's answer."""
    server.reply = never_answer
    tasks = [asyncio.create_task(transport.post(request(server.url))) for _ in range(150)]
    await server.until(lambda: len(server.requests) == 150)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(server: Server, transport: Transport, status: int) -> None:
    """A redirect is an answer like any other: the key goes nowhere else."""
    server.reply = b"HTTP/1.1 %d Moved\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % (
        status,
        server.url.encode(),
    )
    answer = await transport.post(request(server.url))
    assert (status, 1) == (answer.status, len(server.requests))


async def test_refused_connection_is_certainly_unsent(transport: Transport) -> None:
    """Where nobody listens nothing can have arrived."""
    listening = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    listening.close()
    await listening.wait_closed()
    answer = await transport.post(request(f"http://127.0.0.1:{port}/v1/batch"))
    assert (None, False) == (answer.status, answer.unknown)
    assert answer.failure.startswith("ConnectError")


async def test_unusable_certificate_is_certainly_unsent(server: Server, hasty: Transport) -> None:
    """A server that speaks no TLS gets nothing of the request."""
    answer = await hasty.post(request(server.url.replace("http:", "https:")))
    assert (None, False, []) == (answer.status, answer.unknown, server.requests)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/x", "no-url", "http://", "http://[::1"])
async def test_unusable_url_is_a_failure_not_an_exception(transport: Transport, url: str) -> None:
    """An endpoint that is no URL comes back as a failure that sent nothing."""
    answer = await transport.post(request(url))
    assert (None, False) == (answer.status, answer.unknown)
    assert answer.failure


@pytest.mark.parametrize("reply", [reset_connection, close_connection, b"nonsense\r\n\r\n", b""], ids=str)
async def test_lost_answer_is_an_unknown_outcome(server: Server, transport: Transport, reply: bytes | Reply) -> None:
    """When the connection ends after the request, Segment may have accepted it."""
    server.reply = reply if reply != b"" else close_connection
    answer = await transport.post(request(server.url))
    assert (None, True, 1) == (answer.status, answer.unknown, len(server.requests))
    assert answer.failure


async def connected(hasty: Transport, url: str) -> None:
    """Have a transport a connection at hand: to make one has its limit too, which a machine that stalls may meet."""
    while (await hasty.post(request(url))).status != 200:
        pass


async def test_silence_is_an_unknown_outcome(server: Server, hasty: Transport) -> None:
    """A request without an answer in time may have been accepted; the time is a setting of the transport."""
    await connected(hasty, server.url)
    before, server.reply = len(server.requests), never_answer
    answer = await hasty.post(request(server.url))
    await server.until(lambda: len(server.requests) > before)
    assert (None, True, before + 1) == (answer.status, answer.unknown, len(server.requests))
    # Where the machine stalls, the limit of the whole may be met first.
    assert answer.failure.startswith(("ReadTimeout", "no whole answer within "))


@pytest.mark.parametrize("start", [b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\n\r\n"], ids=["headers", "body"])
async def test_dripping_answer_ends_in_time(server: Server, hasty: Transport, start: bytes) -> None:
    """An answer that comes byte by byte keeps each step's limit, and ends by that of the whole."""
    leaving = asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left = asyncio.create_task(reader.read())
        writer.write(start)
        while not left.done():
            writer.write(b"x")
            await asyncio.wait([left], timeout=HASTE_S / 10)
        leaving.set()
        writer.close()

    await connected(hasty, server.url)
    server.reply = drip
    async with asyncio.timeout(50 * HASTE_S):
        answer = await hasty.post(request(server.url))
        await leaving.wait()
    # On a machine that stalls, a step's own limit may come first; then the status that came is kept.
    assert answer.status == 200 or (None, True) == (answer.status, answer.unknown)


async def test_connection_closed_while_idle_is_made_anew(server: Server, transport: Transport) -> None:
    """A kept-alive connection that the server closed costs no failed request."""

    async def answer_and_close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        await writer.drain()
        writer.close()

    server.reply = answer_and_close
    first = await transport.post(request(server.url))
    await server.until(lambda: server.closed == 1)
    assert [200, 200] == [first.status, (await transport.post(request(server.url))).status]
    assert 2 == server.connections


async def test_bodies_in_any_encoding_are_read(server: Server, transport: Transport) -> None:
    """A compressed answer is unpacked before it is judged."""
    body = gzip.compress(b'{"success": false}')
    head = b"HTTP/1.1 400 Bad\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)
    server.reply = head + body
    assert b'{"success": false}' == (await transport.post(request(server.url))).body


@pytest.mark.parametrize("status", [200, 400, 503])
@pytest.mark.parametrize("body", [b"this is no gzip", gzip.compress(b"x" * 1000)[:20]], ids=["noise", "broken"])
async def test_unreadable_body_leaves_the_status(
    server: Server, transport: Transport, status: int, body: bytes
) -> None:
    """An answer whose body cannot be unpacked, or breaks off, is judged by its status and headers."""

    async def answer_and_close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"HTTP/1.1 %d X\r\nContent-Encoding: gzip\r\nContent-Length: 99\r\nRetry-After: 7\r\n\r\n" % status
        )
        writer.write(body)
        await writer.drain()
        writer.close()

    server.reply = answer_and_close
    answer = await transport.post(request(server.url))
    assert (status, "7", "") == (answer.status, answer.headers["retry-after"], answer.failure)


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
async def test_large_body_is_cut(server: Server, transport: Transport, encoding: str) -> None:
    """Of a body only the first 64 KB are kept, whatever its sender declares, and its connection is given up."""
    body = b"0123456789abcdef" * (MAX_ANSWER_BYTES // 4)
    sent = gzip.compress(body) if encoding == "gzip" else body
    head = b"HTTP/1.1 400 Bad\r\nContent-Encoding: %s\r\nContent-Length: %d\r\n\r\n"
    server.reply = head % (encoding.encode(), len(sent) + 1) + sent
    answer = await transport.post(request(server.url))
    assert (400, body[:65_536]) == (answer.status, answer.body)
    await server.until(lambda: server.closed == 1)


async def test_endless_body_ends(server: Server, transport: Transport) -> None:
    """A body that never ends is not waited for."""

    async def flood(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 10_000)
            await writer.drain()

    server.reply = flood
    answer = await transport.post(request(server.url))
    assert (200, MAX_ANSWER_BYTES) == (answer.status, len(answer.body))
    await server.until(lambda: server.closed == 1)


async def test_cookies_are_not_kept(server: Server, transport: Transport) -> None:
    """What an answer sets as a cookie goes into no later request: it may be another source's."""
    server.reply = (
        b"HTTP/1.1 200 OK\r\nSet-Cookie: lb=1; Path=/\r\nSet-Cookie: x=2; Domain=127.0.0.1\r\n"
        b"Content-Length: 4\r\n\r\ntrue"
    )
    for _ in range(2):
        await transport.post(request(server.url))
    assert [False, False] == ["cookie" in headers for headers, _ in server.requests]


# -- connections ---------------------------------------------------------------------------------------------


async def test_connections_are_made_anew_hourly(server: Server, transport: Transport, clock: Clock) -> None:
    """After an hour the next request resolves and connects anew, and the idle connection is closed."""
    await transport.post(request(server.url))
    clock.seconds += REFRESH_S
    await transport.post(request(server.url))
    assert 1 == server.connections
    clock.seconds += 0.001
    await transport.post(request(server.url))
    await server.until(lambda: server.closed == 1)
    assert 2 == server.connections


async def test_renewing_disturbs_no_request(server: Server, transport: Transport, clock: Clock) -> None:
    """A request under way at the renewal gets its answer, and its connection is closed after it."""
    go = asyncio.Event()

    async def wait_and_answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go.wait()
        writer.write(OK)
        await writer.drain()

    server.reply = wait_and_answer
    early = asyncio.create_task(transport.post(request(server.url)))
    await server.until(lambda: len(server.requests) == 1)
    clock.seconds += REFRESH_S + 1
    server.reply = OK
    late = await transport.post(request(server.url))
    assert not early.done()
    go.set()
    assert [200, 200] == [late.status, (await early).status]
    await server.until(lambda: server.closed == 1)
    assert 2 == server.connections


async def test_renewal_under_load_makes_one_new_pool(server: Server, transport: Transport, clock: Clock) -> None:
    """Requests that find the hour over together all get their answer."""
    await transport.post(request(server.url))
    clock.seconds += REFRESH_S + 1
    answers = await asyncio.gather(*(transport.post(request(server.url)) for _ in range(20)))
    assert [200] * 20 == [answer.status for answer in answers]
    await server.until(lambda: server.closed == 1)


async def test_cancelled_request_leaves_the_transport_usable(server: Server, transport: Transport) -> None:
    """A request that was given up at shutdown or takeover harms no later one."""
    server.reply = never_answer
    task = asyncio.create_task(transport.post(request(server.url)))
    await server.until(lambda: len(server.requests) == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    server.reply = OK
    assert 200 == (await transport.post(request(server.url))).status


async def test_close_closes_all_connections(server: Server, kind: Kind) -> None:
    """After closing nothing is left open, and closing again harms nothing."""
    transport = kind()
    await transport.post(request(server.url))
    await transport.close()
    await server.until(lambda: server.closed == 1)
    await transport.close()


async def test_close_ends_requests_under_way(server: Server, kind: Kind) -> None:
    """Who waits for an answer when all is closed gets one: it may have arrived."""
    server.reply = never_answer
    transport = kind()
    task = asyncio.create_task(transport.post(request(server.url)))
    await server.until(lambda: len(server.requests) == 1)
    await transport.close()
    answer = await task
    assert (None, True) == (answer.status, answer.unknown)
    assert answer.failure
    await server.until(lambda: server.closed == 1)


async def test_nothing_is_sent_after_close(server: Server, kind: Kind) -> None:
    """A request that comes too late fails as certainly unsent, again and again."""
    transport = kind()
    await transport.close()
    for _ in range(2):
        answer = await transport.post(request(server.url))
        assert (None, False) == (answer.status, answer.unknown)
    assert [] == server.requests


async def test_close_ends_requests_of_old_connections_too(server: Server, kind: Kind, clock: Clock) -> None:
    """A request that was under way when connections were made anew ends with the rest."""
    server.reply = never_answer
    transport = kind(monotonic=clock)
    early = asyncio.create_task(transport.post(request(server.url)))
    await server.until(lambda: len(server.requests) == 1)
    clock.seconds += REFRESH_S + 1
    late = asyncio.create_task(transport.post(request(server.url)))
    await server.until(lambda: len(server.requests) == 2)
    await transport.close()
    assert [None, None] == [(await task).status for task in (early, late)]
    await server.until(lambda: server.closed == 2)
