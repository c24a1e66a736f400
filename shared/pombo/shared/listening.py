"""Listening sockets: made by a process itself, or by its parent, who keeps them open while the process is replaced."""

import os
import socket
from contextlib import suppress

from pombo.shared.errors import ConfigurationError

BACKLOG = 2048


def listen(host: str, port: int, who: str, *, shared: bool = False) -> socket.socket:
    """A listening socket; a `shared` one gets its part of the connections to all sockets of the address.

    Args:
        host: a name or an address.
        port: 0 takes a free one.
        who: whom the message is about, `the gateway`.
        shared: whether others may listen on the same address.

    Raises:
        ConfigurationError: the address cannot be listened on.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        made = socket.socket(family, kind, protocol)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shared:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            made.bind(address)
            made.listen(BACKLOG)
        except OSError:
            made.close()
            raise
    except OSError as error:
        raise ConfigurationError(
            f"{who} cannot listen on {host}:{port}: {error.strerror}; stop what uses it, or give another --port"
        ) from None
    return made


def inherited(variable: str) -> socket.socket | None:
    """The socket that the parent made, if it did: `variable` of the environment has its descriptor."""
    number = os.environ.pop(variable, "")
    if not number.isdigit():
        return None
    with suppress(OSError):
        made = socket.socket(fileno=int(number))
        made.set_inheritable(False)
        return made
    return None


def address_of(listener: socket.socket) -> str:
    """Where it listens, as URLs write it."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
