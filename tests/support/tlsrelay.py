"""A relay that speaks TLS for a server that cannot, in a process of its own.

In a thread of the tests' process it had to wait for whatever else that computes, and clients gave it up.
Run as a program with a certificate, its key and a port of this machine, it prints the port that it listens on, and
goes on until its standard input ends.
"""

import asyncio
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def tls_relay(certificate: Path, key: Path, port: int) -> Iterator[int]:
    """Hand what comes by TLS on to a port of this machine; gives the port that it listens on."""
    words = [sys.executable, __file__, str(certificate), str(key), str(port)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


async def _serve(certificate: str, key: str, port: int) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):  # The server is down.
            there, back = await asyncio.open_connection("127.0.0.1", port)
            try:
                await asyncio.gather(_pour(reader, back), _pour(there, writer))
            finally:
                back.transport.abort()
        writer.transport.abort()

    server = await asyncio.start_server(relay, "127.0.0.1", 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.read)


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    with suppress(OSError):
        writer.close()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], sys.argv[2], int(sys.argv[3])))
