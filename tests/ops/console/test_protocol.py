"""Connections that keep a place and ask nothing."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from uvicorn import Config, Server

from pombo.ops.console.protocol import Protocol
from pombo.shared.listening import listen

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n"


class Hasty(Protocol):
    """Waits for a moment alone."""

    head_s = 0.05


async def home(request: Request) -> Response:
    """Answers."""
    return PlainTextResponse("home")


def served(work: Callable[[Server, Streams], Awaitable[None]], protocol: type[Protocol]) -> None:
    """Do something with a connection to a server of this protocol."""

    async def run() -> None:
        with listen("127.0.0.1", 0, "a server") as listener:
            app = Starlette(routes=[Route("/", home)])
            server = Server(Config(app, http=protocol, ws="none", log_config=None))
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            try:
                async with asyncio.timeout(30):
                    reader, writer = await asyncio.open_connection(*listener.getsockname())
                    await work(server, (reader, writer))
                    writer.close()
            finally:
                server.should_exit = True
                await serving

    # In this thread, as the server takes the signals.
    asyncio.run(run())


@pytest.mark.parametrize("begun", [b"", b"GET", GET])
def test_a_head_that_does_not_come_ends_the_connection(begun: bytes) -> None:
    """Whoever connects and says nothing, or half of it, keeps nobody else out."""

    async def work(_: Server, streams: Streams) -> None:
        reader, writer = streams
        writer.write(begun)
        assert b"" == await reader.read()

    served(work, Hasty)


def test_the_next_head_has_as_much_time() -> None:
    """A request that came is not hurried any more; what begins after it is."""

    async def work(server: Server, streams: Streams) -> None:
        reader, writer = streams
        writer.write(GET + b"\r\n")
        assert (await reader.readuntil(b"home")).startswith(b"HTTP/1.1 200")
        (connection,) = server.server_state.connections
        assert isinstance(connection, Protocol)
        assert connection._late is None
        connection.head_s = Hasty.head_s
        writer.write(GET)
        assert b"" == await reader.read()

    served(work, Protocol)
