"""Connections of our own: whom they trust, when they are used again, and what they leave unknown."""

import asyncio
import random
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pombo.worker.answers import Answer
from pombo.worker.direct import DirectTransport, Place, open_transport, read_url
from pombo.worker.proxied import HttpxTransport
from pombo.worker.transport import KEEP_ALIVE, Request, make_request
from support.certificates import Certificate, make_certificate

HASTE_S = 0.3
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntrue"
Reply = Callable[["Peer", asyncio.StreamWriter], None]


@dataclass
class Peer:
    """A server that reads requests, unless it is deaf, and lets the test answer them."""

    reply: Reply = lambda _, writer: writer.write(OK)
    deaf: bool = False
    heads: list[bytes] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    closed: int = 0
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    url: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            while not self.deaf:
                head = await reader.readuntil(b"\r\n\r\n")
                size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                await reader.readexactly(size)
                self.heads.append(head)
                self.reply(self, writer)
                await self.tell()
            await asyncio.Event().wait()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # The client, or the test, has gone.
        finally:
            writer.transport.abort()
            self.closed += 1
            await self.tell()

    async def tell(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10), self.changed:
            await self.changed.wait_for(condition)


@asynccontextmanager
async def peer(host: str = "127.0.0.1", tls: ssl.SSLContext | None = None, name: str = "") -> AsyncIterator[Peer]:
    """A peer that listens, on its way by TLS if a context is given."""
    made = Peer()
    server = await asyncio.start_server(made.serve, host, 0, ssl=tls)
    named = name or (f"[{host}]" if ":" in host else host)
    made.url = f"{'https' if tls else 'http'}://{named}:{server.sockets[0].getsockname()[1]}/v1/batch"
    try:
        yield made
    finally:
        server.close()
        ours = asyncio.current_task()
        serving = [task for task in asyncio.all_tasks() if task is not ours and "serve" in repr(task.get_coro())]
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        await asyncio.sleep(0)


@pytest.fixture
async def transport() -> AsyncIterator[DirectTransport]:
    made = DirectTransport()
    yield made
    await made.close()


@pytest.fixture
async def hasty() -> AsyncIterator[DirectTransport]:
    made = DirectTransport(timeout_s=HASTE_S)
    yield made
    await made.close()


def request(url: str, body: bytes = b"") -> Request:
    made = make_request(url, "key", [b'{"messageId":"a"}'], sends=0, now=datetime(2026, 3, 1, tzinfo=UTC))
    return Request(url, made.headers, body or made.body)


async def connected(hasty: DirectTransport, url: str) -> None:
    """Have a transport a connection at hand: to make one has its limit too, which a machine that stalls may meet."""
    while (await hasty.post(request(url))).status != 200:
        pass


def outcome(answer: Answer) -> tuple[int | None, bool, bool, bool]:
    return answer.status, answer.unknown, answer.late, answer.unusable


UNKNOWN, UNSENT, UNUSABLE = (None, True, False, False), (None, False, False, False), (None, False, False, True)

# -- where requests go ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "place", "first"),
    [
        ("https://x/v1/batch", Place(True, "x", 443), "/v1/batch HTTP/1.1\r\nHost: x\r\n"),
        ("http://x:80/v1/batch", Place(False, "x", 80), "/v1/batch HTTP/1.1\r\nHost: x\r\n"),
        ("https://x:80/v1/batch", Place(True, "x", 80), "/v1/batch HTTP/1.1\r\nHost: x:80\r\n"),
        ("http://[::1]:8080/a", Place(False, "::1", 8080), "/a HTTP/1.1\r\nHost: [::1]:8080\r\n"),
        ("http://É.de/é%20 b", Place(False, "xn--9ca.de", 80), "/%C3%A9%20%20b HTTP/1.1\r\nHost: xn--9ca.de\r\n"),
        ("http://x", Place(False, "x", 80), "/ HTTP/1.1\r\nHost: x\r\n"),
    ],
)  # fmt: skip
def test_urls(url: str, place: Place, first: str) -> None:
    """Host, port and path are written as HTTP wants them."""
    found, head = read_url(url)
    assert (place, True) == (found, head.decode().startswith(f"POST {first}"))


@pytest.mark.parametrize(
    "url", ["ftp://x/", "x", "http://", "http://[::1", "http://x:99999/", "http://u:p@x/", "http://xn--.com", "http://a..b/",
            "http://" + "a" * 70 + ".com"],
)  # fmt: skip
async def test_what_is_no_url_cannot_be_used(transport: DirectTransport, url: str) -> None:
    """Where nothing can ever be sent the answer says so."""
    answer = await transport.post(request(url))
    assert UNUSABLE == outcome(answer)
    assert answer.failure


async def test_a_name_that_does_not_resolve(transport: DirectTransport) -> None:
    """Nothing was sent, and it may resolve later."""
    answer = await transport.post(request("http://nowhere.invalid/v1/batch"))
    assert UNSENT == outcome(answer)
    assert answer.failure.startswith("ConnectError: ")


async def test_ipv6(transport: DirectTransport) -> None:
    """Addresses of IPv6 are written in brackets, and reached."""
    try:
        listening: AbstractAsyncContextManager[Peer] = peer("::1")
        async with listening as there:
            assert 200 == (await transport.post(request(there.url))).status
    except OSError as error:
        pytest.skip(f"this machine has no IPv6: {error}")


@pytest.mark.parametrize(
    ("environment", "kind"),
    [
        ({}, DirectTransport),
        ({"NO_PROXY": "localhost"}, DirectTransport),
        ({"HTTPS_PROXY": "http://127.0.0.1:9"}, HttpxTransport),
        ({"http_proxy": "http://127.0.0.1:9"}, HttpxTransport),
        ({"ALL_PROXY": "http://127.0.0.1:9", "NO_PROXY": "*"}, HttpxTransport),
    ],
)
async def test_proxies_are_httpxs(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], kind: type[object]
) -> None:
    """Where the environment names a proxy httpx sends, which knows when to use it."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    made = open_transport()
    await made.close()
    assert kind is type(made)


# -- TLS -----------------------------------------------------------------------------------------------------


def serving(made: Certificate) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(made.certificate, made.key)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Certificate:
    """A certificate for localhost that SSL_CERT_FILE trusts."""
    made = make_certificate(tmp_path / "trusted")
    monkeypatch.setenv("SSL_CERT_FILE", str(made.certificate))
    return made


async def test_tls(transport: DirectTransport, trusted: Certificate) -> None:
    """A trusted server gets requests, several on a connection."""
    async with peer("127.0.0.1", serving(trusted), "localhost") as there:
        statuses = [(await transport.post(request(there.url))).status for _ in range(3)]
        assert ([200] * 3, 1) == (statuses, len(there.writers))
        assert "http/1.1" == there.writers[0].get_extra_info("ssl_object").selected_alpn_protocol()
        await transport.close()


@pytest.mark.parametrize("host", ["localhost", "segment.example"])
async def test_whom_nobody_vouches_for(
    transport: DirectTransport, trusted: Certificate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    """An unknown authority's certificate, or another host's, gets nothing of the request."""
    made = make_certificate(tmp_path / "other", host)
    if host != "localhost":
        monkeypatch.setenv("SSL_CERT_FILE", str(made.certificate))
    async with peer("127.0.0.1", serving(made), "localhost") as there:
        answer = await transport.post(request(there.url))
        assert (UNSENT, []) == (outcome(answer), there.heads)
        assert "CERTIFICATE_VERIFY_FAILED" in answer.failure


async def test_authorities_that_cannot_be_read(transport: DirectTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    """The failure names the file; nothing was sent."""
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/bundle.pem")
    answer = await transport.post(request("https://127.0.0.1:9/v1/batch"))
    assert UNSENT == outcome(answer)
    assert "/nowhere/bundle.pem" in answer.failure


# -- what may have arrived -----------------------------------------------------------------------------------


async def test_a_kept_connection_that_dies_under_a_request_leaves_it_unknown(transport: DirectTransport) -> None:
    """Whoever closes after the request came, on a new connection or a kept one, may have taken it: it goes once."""
    async with peer() as there:
        assert 200 == (await transport.post(request(there.url))).status
        there.reply = lambda _, writer: writer.close()
        answer = await transport.post(request(there.url))
        assert (UNKNOWN, 2, 1) == (outcome(answer), len(there.heads), len(there.writers))
        assert answer.failure.startswith("RemoteProtocolError: ")
        there.reply = lambda _, writer: writer.transport.abort()
        answer = await transport.post(request(there.url))
        assert (UNKNOWN, 3) == (outcome(answer), len(there.heads))


async def test_a_connection_closed_before_the_request_is_not_used(transport: DirectTransport) -> None:
    """An end that has come, but that the event loop has not told of yet, is seen before anything is sent."""
    async with peer() as there:
        await transport.post(request(there.url))
        sock = there.writers[0].get_extra_info("socket")
        sock.shutdown(1)
        assert (200, 2) == ((await transport.post(request(there.url))).status, len(there.writers))


async def test_a_cancelled_requests_answer_is_nobody_elses(transport: DirectTransport) -> None:
    """A connection that was used again is closed when its request is cancelled: its answer is still to come."""
    owed: list[tuple[asyncio.StreamWriter, bytes]] = []

    def reply(server: Peer, writer: asyncio.StreamWriter) -> None:
        owed.append((writer, b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % len(server.heads)))
        if len(server.heads) != 2:
            writer.write(b"".join(answer for whose, answer in owed if whose is writer))
            owed.clear()

    async with peer() as there:
        there.reply = reply
        await transport.post(request(there.url))
        cancelled = asyncio.create_task(transport.post(request(there.url)))
        await there.until(lambda: len(there.heads) == 2)
        cancelled.cancel()
        await asyncio.gather(cancelled, return_exceptions=True)
        assert (b"3", 2) == ((await transport.post(request(there.url))).body, len(there.writers))


@pytest.mark.parametrize("seed", range(5))
async def test_no_answer_is_another_requests(transport: DirectTransport, seed: int) -> None:
    """Requests side by side, some cancelled after they came, to a server of moods: each answer is its request's own."""
    rng = random.Random(seed)

    def reply(server: Peer, writer: asyncio.StreamWriter) -> None:
        mine = server.heads[-1].partition(b"X-Retry-Count: ")[2].partition(b"\r\n")[0]
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(mine), mine)
        mood = rng.randrange(8)
        if mood == 0:
            writer.close()
        elif mood == 1:
            writer.write(answer + OK)
        elif mood == 2:
            writer.write(answer[:-1])
            asyncio.get_running_loop().call_later(rng.random() / 100, writer.write, answer[-1:])
        elif mood == 3:
            asyncio.get_running_loop().call_later(rng.random() / 100, writer.write, answer)
        else:
            writer.write(answer)

    async def send(number: int, url: str) -> tuple[bytes, bytes]:
        made = make_request(url, "key", [b'{"messageId":"a"}'], sends=number, now=datetime(2026, 3, 1, tzinfo=UTC))
        return b"%d" % number, (await transport.post(made)).body

    async with peer() as there:
        there.reply = reply
        under_way: dict[asyncio.Task[tuple[bytes, bytes]], int] = {}
        heard: list[tuple[bytes, bytes]] = []
        for number in range(1, 301):
            under_way[asyncio.create_task(send(number, there.url))] = number
            if len(under_way) < 8:
                continue
            done, _ = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            heard += [task.result() for task in done if not task.cancelled()]
            under_way = {task: number for task, number in under_way.items() if task not in done}
            # Not while they connect, as Python may then leave a socket to its garbage collector.
            came = b"".join(there.heads)
            waiting = [task for task, number in under_way.items() if b"Retry-Count: %d\r" % number in came]
            if waiting and rng.random() < 0.5:
                rng.choice(waiting).cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
    answered = [(number, body) for number, body in heard if body]
    assert [] == [(number, body) for number, body in answered if number != body]
    assert len(answered) > 50


@pytest.mark.parametrize("extra", [b"HTTP/1.1 408 Request Timeout\r\n\r\n", b"x"])
@pytest.mark.parametrize("late", [False, True])
async def test_what_nobody_asked_for_ends_a_connection(transport: DirectTransport, extra: bytes, late: bool) -> None:
    """Bytes behind an answer, at once or later, are nobody's: the next request has a connection of its own."""
    async with peer() as there:
        there.reply = lambda _, writer: writer.write(OK if late else OK + extra)
        await transport.post(request(there.url))
        if late:
            there.writers[0].write(extra)
            await there.until(lambda: there.closed == 1)
        there.reply = lambda _, writer: writer.write(OK)
        assert (b"true", 2) == ((await transport.post(request(there.url))).body, len(there.writers))


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nConnection: close\r\n", b"HTTP/1.0 200 OK\r\n"])
async def test_who_wants_no_more_gets_no_more(transport: DirectTransport, head: bytes) -> None:
    """A connection that its server will close is not used again."""
    async with peer() as there:
        there.reply = lambda _, writer: writer.write(head + b"Content-Length: 4\r\n\r\ntrue")
        bodies = [(await transport.post(request(there.url))).body for _ in range(2)]
        assert ([b"true", b"true"], 2) == (bodies, len(there.writers))


async def test_informational_answers_are_none(transport: DirectTransport) -> None:
    """What comes before the answer is skipped, and the connection goes on."""
    async with peer() as there:
        there.reply = lambda _, writer: writer.write(
            b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Hints\r\nX: y\r\n\r\n" + OK
        )
        answers = [await transport.post(request(there.url)) for _ in range(2)]
        assert ([Answer(200, {"content-length": "4"}, b"true")] * 2, 1) == (answers, len(there.writers))


async def test_an_answer_before_the_whole_request(transport: DirectTransport) -> None:
    """A server that answers early, and reads no more, is heard; its connection is not used again."""
    async with peer() as there:
        there.deaf = True
        posted = asyncio.create_task(transport.post(request(there.url, bytes(16 << 20))))
        while not there.writers:
            await asyncio.sleep(0)
        there.writers[0].write(b"HTTP/1.1 413 Large\r\nContent-Length: 0\r\n\r\n")
        assert 413 == (await posted).status
        there.deaf = False
        assert (200, 2) == ((await transport.post(request(there.url))).status, len(there.writers))


def fall_deaf(there: Peer, writer: asyncio.StreamWriter) -> None:
    """Answer, and read no more."""
    there.deaf = True
    writer.write(OK)


@pytest.mark.parametrize("tls", [False, True])
async def test_a_request_that_is_not_taken_is_late(hasty: DirectTransport, trusted: Certificate, tls: bool) -> None:
    """Who reads nothing of a large request may have had the start of it; that is told from a missing answer."""
    async with peer("127.0.0.1", serving(trusted) if tls else None, "localhost") as there:
        there.reply = fall_deaf
        while (await hasty.post(request(there.url))).status != 200:
            there.deaf = False
        answer = await hasty.post(request(there.url, bytes(16 << 20)))
        assert (None, True, True, False) == outcome(answer)
        # By TLS all of it may be in a buffer that nobody tells of. A stall may have the limit of the whole met.
        assert tls or answer.failure.startswith(("WriteTimeout: ", "no whole answer within "))


async def test_garbage_is_an_unknown_outcome(transport: DirectTransport) -> None:
    """Whoever answers no HTTP may still have handed the request on."""
    async with peer() as there:
        there.reply = lambda _, writer: writer.write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
        answer = await transport.post(request(there.url))
        assert UNKNOWN == outcome(answer)
        assert answer.failure.startswith("RemoteProtocolError: ")


async def test_a_slow_body_keeps_its_status(hasty: DirectTransport) -> None:
    """A head that came in time stands, with what came of the body."""
    async with peer() as there:
        await connected(hasty, there.url)
        there.reply = lambda _, writer: writer.write(b"HTTP/1.1 503 No\r\nContent-Length: 9\r\n\r\nhalf")
        assert Answer(503, {"content-length": "9"}, b"half") == await hasty.post(request(there.url))


# -- keeping connections -------------------------------------------------------------------------------------


async def test_no_more_are_kept_than_may_be(transport: DirectTransport) -> None:
    """After many requests at a time only so many connections stay open."""
    async with peer() as there:
        waiting: list[asyncio.StreamWriter] = []
        there.reply = lambda _, writer: waiting.append(writer)
        posts = [asyncio.create_task(transport.post(request(there.url))) for _ in range(KEEP_ALIVE + 5)]
        await there.until(lambda: len(waiting) == KEEP_ALIVE + 5)
        for writer in waiting:
            writer.write(OK)
        assert {200} == {(await post).status for post in posts}
        await there.until(lambda: there.closed == 5)


async def test_idle_connections_are_closed(transport: DirectTransport) -> None:
    """A connection that nobody needs for some seconds is closed, by this side, with no request to make it look."""
    async with peer() as there:
        await transport.post(request(there.url))
        await there.until(lambda: there.closed == 1)
        assert (200, 2) == ((await transport.post(request(there.url))).status, len(there.writers))


async def test_a_connection_that_comes_after_the_end_is_not_used(transport: DirectTransport) -> None:
    """Whoever is about to connect when all is closed sends nothing any more."""
    async with peer() as there:
        posted = asyncio.create_task(transport.post(request(there.url)))
        await asyncio.sleep(0)
        await transport.close()
        assert UNSENT == outcome(await posted)
        assert [] == there.heads


async def test_hosts_do_not_share_connections(transport: DirectTransport) -> None:
    """A connection belongs to its host, port and scheme."""
    async with peer() as one, peer() as other:
        for _ in range(2):
            for there in (one, other):
                await transport.post(request(there.url))
        assert ([2, 1], [2, 1]) == ([len(one.heads), len(one.writers)], [len(other.heads), len(other.writers)])
