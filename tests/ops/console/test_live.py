"""Server-sent events: one look for everyone, room for one message each, and nobody waits for the deaf."""

import asyncio
import socket
import time
from collections.abc import AsyncGenerator
from contextlib import ExitStack
from typing import Any

import orjson
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from ops.console.rig import OPERATOR, VIEWER, Ahead, Running, console, serving, token_of
from pombo.ops.console import live
from pombo.ops.console.live import WATCHERS, CrowdedError, EventStream, Hub, message
from pombo.ops.console.state import State
from support.waiting import until

BIG = b"x" * 262_144


def lines(client: Any, path: str) -> Any:
    """A stream's lines as they come."""
    with client.stream("GET", path, headers={"Accept": "text/event-stream"}) as answer:
        assert 200 == answer.status_code
        yield from answer.iter_lines()


def test_a_watcher_has_room_for_the_newest_message() -> None:
    """What was not taken in time is replaced: who is slow misses ticks, and fills no memory."""

    async def run() -> list[bytes]:
        hub = Hub()
        with hub.watcher() as quick, hub.watcher() as slow:
            hub.tell(b"1")
            found = [await quick.take()]
            hub.tell(b"2")
            return [*found, await quick.take(), await slow.take()]

    assert [b"1", b"2", b"2"] == asyncio.run(run())


def test_a_hub_has_so_many_places() -> None:
    """Beyond that it refuses; who leaves makes room, and nobody left means that nothing is looked for."""

    async def run() -> tuple[bool, bool]:
        hub = Hub()
        with ExitStack() as stack:
            for _ in range(WATCHERS):
                stack.enter_context(hub.watcher())
            with pytest.raises(CrowdedError), hub.watcher():
                pass
            watched = hub.watched.is_set()
        return watched, hub.watched.is_set()

    assert (True, False) == asyncio.run(run())


def test_a_message_of_several_lines_stays_one() -> None:
    """Line by line, as the format wants it; a name cannot be forged by what is in the data."""
    assert b"event: tick\nid: 7\ndata: a\ndata: event: b\n\n" == message("tick", b"a\nevent: b", "7")
    assert b"event: tick\ndata: \n\n" == message("tick", b"")


def test_a_stream_gives_its_place_back_at_its_end() -> None:
    """What was taken before the answer began, so that who gets none is told so, is free when the stream is over."""

    async def run() -> tuple[int, int]:
        hub, sent = Hub(), list[Any]()

        async def messages() -> AsyncGenerator[bytes, None]:
            yield b"%d" % len(hub)

        async def receive() -> Any:
            await asyncio.Event().wait()

        async def send(told: Any) -> None:
            sent.append(told.get("body"))

        place = ExitStack()
        place.enter_context(hub.watcher())
        await EventStream(messages(), asyncio.Event(), place=place)({"type": "http"}, receive, send)
        return sent.count(b"1"), len(hub)

    assert (1, 0) == asyncio.run(run())


def test_ticks_tell_how_it_goes(local: Running) -> None:
    """Each is a small JSON: the verdict, how bad it is, and since when Redis is away."""
    with local.client() as client:
        told = (line for line in lines(client, "/live") if line.startswith("data: "))
        tick = orjson.loads(next(told).removeprefix("data: "))
    assert ("The installation needs you", "warning", 1, None) == (
        tick["headline"], tick["severity"], tick["urgent"], tick["away"]
    )  # fmt: skip


def test_a_logout_ends_the_stream(guarded: Running) -> None:
    """What is open asks at each tick whether the session still lives."""
    with guarded.client(VIEWER) as client, guarded.client() as other:
        told = lines(client, "/live")
        next(line for line in told if line.startswith("data: "))
        copy = dict(client.cookies)
        other.cookies.update(copy)
        other.post("/logout", data={"csrf": token_of(other.get("/").text)})
        assert [] == [line for line in told if line.startswith("data: ")][1:]


def test_a_console_that_stops_ends_its_streams(server_url: str) -> None:
    """A stop does not wait for those who watch."""
    with ExitStack() as stack:
        running = stack.enter_context(console(server_url, console_token=OPERATOR))
        client = stack.enter_context(running.client(OPERATOR))
        told = lines(client, "/live")
        next(told)
        begun = time.monotonic()
        stop = stack.pop_all()
        running.state.stopping.set()
        assert "" == next(line for line in told if not line.startswith(("retry", "event", "data")))
        stop.close()
    assert time.monotonic() - begun < 20


def streaming(patience_s: float, ended: list[int]) -> Any:
    """A console's like whose one page sends big messages to whoever comes, as quickly as they are taken.

    When that is over, how many it was for at that time is noted in `ended`.
    """

    def create(settings: Any, secrets: Any, *, clock: Ahead) -> Starlette:
        state = State(settings, secrets, clock)

        async def flood(request: Request) -> EventStream:
            async def messages() -> AsyncGenerator[bytes, None]:
                with state.hub.watcher():
                    try:
                        while True:
                            yield BIG
                    finally:
                        ended.append(len(state.hub))

            return EventStream(messages(), state.stopping, patience_s=patience_s)

        app = Starlette(routes=[Route("/flood", flood)])
        app.state.console = state
        return app

    return create


def resident() -> int:
    """Bytes that this process has resident."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * 4096


def test_the_deaf_are_dropped(server_url: str) -> None:
    """Fifty clients that take nothing of an endless stream are gone soon, and cost some megabytes meanwhile."""
    ended: list[int] = []
    with serving(streaming(0.3, ended), server_url) as running, ExitStack() as stack:
        before = resident()
        for _ in range(50):
            deaf = stack.enter_context(socket.create_connection(("127.0.0.1", running.port)))
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.sendall(b"GET /flood HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until(lambda: len(ended) == 50, "end of all streams")
        grown = resident() - before
    # A message each, and what the server buffers of it; without a bound it would be gigabytes.
    assert grown < 50 * 3 * len(BIG)


def test_who_reads_is_served_beside_the_deaf(server_url: str) -> None:
    """A client that takes what it gets gets on, whoever else does not."""
    with serving(streaming(60, []), server_url) as running, ExitStack() as stack:
        for _ in range(5):
            deaf = stack.enter_context(socket.create_connection(("127.0.0.1", running.port)))
            deaf.sendall(b"GET /flood HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with running.client() as client, client.stream("GET", "/flood") as answer:
            taken = 0
            for chunk in answer.iter_raw():
                taken += len(chunk)
                if taken > 40 * len(BIG):
                    break
    assert taken > 40 * len(BIG)


def test_a_silent_stream_says_that_it_lives() -> None:
    """A comment after so many seconds without a message; a stream that ends, ends."""
    sent: list[bytes] = []

    async def run() -> None:
        async def messages() -> AsyncGenerator[bytes, None]:
            while b": still here\n\n" not in sent:
                await asyncio.sleep(0)
            yield message("tick", b"1")

        async def receive() -> Any:
            await asyncio.Event().wait()

        async def send(told: Any) -> None:
            sent.append(told.get("body", b""))

        await EventStream(messages(), asyncio.Event(), beat_s=0.001)({"type": "http"}, receive, send)

    asyncio.run(run())
    assert [b"event: tick\ndata: 1\n\n", b""] == sent[-2:]


def test_a_stream_ends_after_a_while() -> None:
    """Browsers open another one, and are asked again who they are."""
    sent: list[Any] = []

    async def run() -> None:
        async def messages() -> AsyncGenerator[bytes, None]:
            await asyncio.Event().wait()
            yield b""

        async def receive() -> Any:
            await asyncio.Event().wait()

        async def send(told: Any) -> None:
            sent.append(told)

        await EventStream(messages(), asyncio.Event(), life_s=0.001)({"type": "http"}, receive, send)

    asyncio.run(run())
    assert {"type": "http.response.body", "body": b"", "more_body": False} == sent[-1]
    assert live.LIFE_S > live.BEAT_S
