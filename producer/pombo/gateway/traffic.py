"""What went through the gateway: a counter and a line for each request."""

import re
from typing import Any

from pombo.gateway.exchange import Exchange
from pombo.shared.logs import get_quick_logger

_KEYLIKE = re.compile(r"pik_[\w-]+|(?<![A-Za-z0-9])[A-Za-z0-9]{32}(?![A-Za-z0-9])")


def shown(raw_path: bytes) -> str:
    """A path for the log: its start, without what looks like a key that somebody took for a part of it."""
    path = raw_path.decode("ascii", "replace")
    return path if len(path) < 32 else _KEYLIKE.sub("***", path)[:100]


class Traffic:
    """Count and log requests; neither a key nor anything of a body is in there, and paths are cut."""

    def __init__(self, requests: Any) -> None:
        self._requests = requests
        """A counter of prometheus-client, labelled by status."""
        self._by_status: dict[int, Any] = {}
        self._log = get_quick_logger("pombo.gateway.access")

    def note(self, exchange: Exchange, status: int, seconds: float) -> None:
        """Note an answer; 499 is nginx's word for a client that went away."""
        counter = self._by_status.get(status)
        if counter is None:
            counter = self._by_status[status] = self._requests.labels(str(status))
        counter.inc()
        self._log.info(
            "request",
            method=exchange.method,
            path=shown(exchange.raw_path),
            status=status,
            source=exchange.source,
            events=exchange.events,
            rejected=exchange.rejected,
            bytes=exchange.size,
            ms=round(seconds * 1000, 2),
            **exchange.notes,
        )

    def refused(self, status: int, code: str) -> None:
        """Note a refusal of what is no HTTP, or too slow for it."""
        self._requests.labels(str(status)).inc()
        self._log.info("request", status=status, code=code)
