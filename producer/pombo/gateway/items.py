"""A request's items: which of them are sound, and what is told of the others.

Each is brought into the form that Segment would give it: what the batch has in common is merged beneath it, its
timestamp is corrected by the client's clock. Then it is prepared, or becomes a dead letter.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from pombo.gateway.answers import Refusal
from pombo.gateway.bugs import told
from pombo.gateway.documents import written
from pombo.gateway.letters import Letter
from pombo.gateway.skew import corrected, skew
from pombo.shared.deadletters import Reason
from pombo.shared.errors import InvalidEvent
from pombo.shared.logs import get_logger
from pombo.shared.prepared import Prepared, prepare
from pombo.shared.shapes import SHAPES

log = get_logger("pombo.gateway.items")

UNKNOWN_ITEM: Final = "unknown_item"
UNKNOWN_TYPE = "unknown"
"""Under which type the ledger counts an item that names none."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What all items of a request have in common."""

    received_at: datetime
    skew: timedelta | None = None
    context: Mapping[str, Any] | None = None
    integrations: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, document: Mapping[str, Any], received_at: datetime) -> "Frame":
        """Read it from a batch; what is of another type than it should be counts as absent."""
        return cls(
            received_at,
            skew(document.get("sentAt"), received_at),
            _object(document.get("context")),
            _object(document.get("integrations")),
        )

    def framed(self, item: dict[str, Any]) -> dict[str, Any]:
        """An item as Segment would take it; the item itself, changed."""
        if self.context is not None:
            _merge(item, "context", self.context)
        if self.integrations is not None:
            _merge(item, "integrations", self.integrations)
        difference = self.skew
        if difference is None and "sentAt" in item:
            difference = skew(item["sentAt"], self.received_at)
        if difference is not None and "timestamp" in item:
            item["timestamp"] = corrected(item["timestamp"], difference)
        return item


@dataclass(slots=True)
class Sorted:
    """Items, sorted into those that can be sent and those that cannot."""

    frame: Frame
    good: list[Prepared] = field(default_factory=list)
    dead: list[Letter] = field(default_factory=list)
    rejected: list[dict[str, object]] = field(default_factory=list)

    def add(self, item: Any, ordering_key: str | None = None) -> None:
        """Take an event that can be sent.

        Raises:
            InvalidEvent: it cannot.
        """
        event = self.frame.framed(item) if isinstance(item, dict) else item
        made = prepare(event, now=self.frame.received_at, ordering_key=ordering_key, strict=False)
        # A copy: orjson leaves its bytes in the 16 KB that it began with, and there are thousands of them.
        self.good.append(made._replace(body=b"%b" % made.body))

    def take(self, index: int, item: Any) -> None:
        """Sort one item.

        Raises:
            Refusal: it is nested so deep that it can be neither sent nor kept.
        """
        try:
            self.add(item)
        except InvalidEvent as error:
            self._reject(index, item, error)
        except Refusal:
            raise
        except Exception as error:  # A bug of ours is met by one event, rather than by its batch again and again.
            log.error("item.unreadable", **told(error))
            self._reject(index, item, InvalidEvent("", "unreadable", "the event cannot be read"))

    def put(self, index: int, event: dict[str, Any], ordering_key: str | None) -> None:
        """Sort an event that an adapter made of an item.

        Raises:
            Refusal: it is nested so deep that it can be neither sent nor kept.
        """
        try:
            self.add(event, ordering_key)
        except InvalidEvent as error:
            self._reject(index, event, error)

    def keep(self, index: int, item: Any, message: str) -> None:
        """Keep an item that no rule covers, for somebody to look at; `item` may be a body that is no JSON."""
        payload = item if isinstance(item, bytes) else written(item)
        self.rejected.append({"index": index, "code": UNKNOWN_ITEM, "message": message})
        self.dead.append(Letter(UNKNOWN_ITEM, UNKNOWN_TYPE, "", payload, UNKNOWN_ITEM, message))

    def _reject(self, index: int, item: Any, error: InvalidEvent) -> None:
        self.rejected.append({"index": index, "code": error.code, "message": error.message})
        self.dead.append(letter_of(item, error))


def letter_of(item: Any, error: InvalidEvent) -> Letter:
    """The dead letter of an item that cannot be sent: the item as it came, without its write key."""
    reason: Reason = "too_large" if error.code == "too_large" else "invalid"
    kind, key = UNKNOWN_TYPE, ""
    if isinstance(item, dict):
        given = item.get("type")
        kind = given if isinstance(given, str) and given in SHAPES else UNKNOWN_TYPE
        key = next((one for name in ("userId", "anonymousId") if isinstance(one := item.get(name), str)), "")
        item = {name: _shown(value) for name, value in item.items() if name != "writeKey"}
    return Letter(reason, kind, key, written(item), error.code, error.message)


def _shown(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _merge(item: dict[str, Any], name: str, common: Mapping[str, Any]) -> None:
    own = item.get(name)
    if own is None:
        item[name] = dict(common)
    elif isinstance(own, dict):
        item[name] = {**common, **own}


def _object(value: object) -> Mapping[str, Any] | None:
    return value if isinstance(value, dict) and value else None
