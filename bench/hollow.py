"""The gateway's limit: its HTTP server with its connections, and an application that reads bodies and says success.

`python -m bench.hollow` prints its port, and ends when standard input does.
"""

import asyncio
import sys
from functools import partial
from typing import Any

import uvloop
from prometheus_client import CollectorRegistry, Counter
from starlette.types import Receive, Scope, Send
from uvicorn import Config

from pombo.gateway.process import GatewayServer, listen
from pombo.gateway.protocol import Protocol
from pombo.gateway.traffic import Traffic

_ANSWER = b'{"success": true}'
_HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(_ANSWER))]


async def application(_scope: Scope, receive: Receive, send: Send) -> None:
    """Read the body to its end, and answer."""
    while (await receive()).get("more_body", False):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": _ANSWER})


async def _serve() -> None:
    traffic = Traffic(Counter("requests", "unused", ["status"], registry=CollectorRegistry()))
    protocol: Any = partial(Protocol, traffic=traffic, most_connections=1_000)
    config = Config(
        application, http=protocol, ws="none", interface="asgi3", lifespan="off", log_config=None, access_log=False,
        proxy_headers=False, server_header=False,
    )  # fmt: skip
    server = GatewayServer(config)
    with listen("127.0.0.1", 0) as listener:
        sys.stdout.write(f"listens on http://127.0.0.1:{listener.getsockname()[1]}\n")
        sys.stdout.flush()
        await server.serve(sockets=[listener])


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve())
