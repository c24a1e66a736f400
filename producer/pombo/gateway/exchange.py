"""One request and what is known of it, from its head to its line in the access log."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pombo.gateway.bodies import Receive


@dataclass(slots=True)
class Exchange:
    """What a handler reads of a request, and notes for the log: no key and nothing of a body."""

    scope: Mapping[str, Any]
    receive: Receive
    headers: dict[bytes, bytes]
    """Names in lower case; of a repeated one the last."""
    received_at: datetime
    source: str | None = None
    size: int = 0
    """Bytes of the body, inflated."""
    events: int = 0
    rejected: int = 0
    notes: dict[str, object] = field(default_factory=dict)

    @property
    def method(self) -> str:
        """Upper case."""
        method: str = self.scope["method"]
        return method

    @property
    def path(self) -> str:
        """The path, decoded."""
        path: str = self.scope["path"]
        return path

    @property
    def raw_path(self) -> bytes:
        """The path as it was sent, without a query: ASCII."""
        path: bytes = self.scope["raw_path"]
        return path

    def param(self, name: str) -> str:
        """A part of the path."""
        value: str = self.scope["path_params"][name]
        return value
