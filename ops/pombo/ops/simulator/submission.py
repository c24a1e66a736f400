"""Read what a client submits: its key, its layout and its items, in every form that the SDKs send."""

import base64
import zlib
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from pombo.ops.simulator.messages import GZIP, Request
from pombo.ops.simulator.switches import BODY_CAP, Switches

EVENT_TYPES = ("identify", "track", "page", "screen", "group", "alias")
SINGLE_ROUTES = {f"/v1/{path}": kind for kind in EVENT_TYPES for path in (kind, kind[0])}
BATCH_ROUTES = frozenset({"/v1/batch", "/v1/import", "/v1/b"})

Problem = Literal["too_large", "bad_gzip", "malformed"]
Item = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Submission:
    """One request's content as far as it could be read.

    `items` is None where a batch has no array; `wire_bytes` is the body's size as sent, `raw_bytes` the
    inflated one (as sent, where it does not inflate); `key` is the request's write key, or an item's where
    the request has none.
    """

    batch: bool
    wire_bytes: int
    raw_bytes: int
    key: str | None = None
    items: list[Any] | None = None
    problem: Problem | None = None
    sent_at: object = None
    context: Item | None = None
    integrations: Item | None = None

    def body_bytes(self, switches: Switches) -> int:
        """Return the size that the limit on bodies is about."""
        return self.raw_bytes if switches.body_limit_counts == "raw" else self.wire_bytes

    def key_of(self, item: object) -> str | None:
        """Return the write key that an item goes under: its own, else the request's."""
        return _item_key(item) or self.key

    def keys(self) -> frozenset[str]:
        """Return every write key in the request."""
        found = {self.key_of(item) for item in self.items or ()} | {self.key}
        return frozenset(key for key in found if key)

    def message_ids(self) -> tuple[str, ...]:
        """Return the messageIds that the client sent, in their order."""
        return tuple(found for item in self.items or () if (found := message_id_of(item)))

    def merged(self, item: Item) -> Item:
        """Return an item with the batch's context and integrations beneath its own, key by key."""
        for name, common in (("context", self.context), ("integrations", self.integrations)):
            own = item.get(name)
            if common and (own is None or isinstance(own, dict)):
                item = {**item, name: {**common, **(own or {})}}
        return item


def route_of(path: str) -> str | None:
    """Return the route that a path names, with or without a trailing slash, or None."""
    route = path.removesuffix("/")
    return route if route in BATCH_ROUTES or route in SINGLE_ROUTES else None


def message_id_of(item: object) -> str | None:
    """Return an item's messageId; what is no string or empty counts as absent."""
    found = item.get("messageId") if isinstance(item, dict) else None
    return found if isinstance(found, str) and found else None


def read(request: Request) -> Submission:
    """Read a request on one of the routes; what cannot be read is the submission's `problem`."""
    route = route_of(request.path) or ""
    batch, header_key = route in BATCH_ROUTES, basic_key(request.headers.get("authorization"))
    raw = _inflated(request)
    if not isinstance(raw, bytes):
        return Submission(batch, request.wire_bytes, request.wire_bytes, header_key, problem=raw)
    document = _parsed(raw)
    if document is None:
        return Submission(batch, request.wire_bytes, len(raw), header_key, problem="malformed")
    if not batch:
        document = _as_batch(document, SINGLE_ROUTES[route])
    items = document.get("batch")
    items = items if isinstance(items, list) else None
    return Submission(
        batch=batch,
        wire_bytes=request.wire_bytes,
        raw_bytes=len(raw),
        key=header_key or _clean(document.get("writeKey")) or _first_key(items or []),
        items=items,
        sent_at=document.get("sentAt"),
        context=_object(document.get("context")),
        integrations=_object(document.get("integrations")),
    )


def _as_batch(event: Item, kind: str) -> Item:
    envelope = {name: event.get(name) for name in ("writeKey", "sentAt")}
    return {"batch": [{**event, "type": kind}], **envelope}


def _first_key(items: list[Any]) -> str | None:
    return next((found for item in items if (found := _item_key(item))), None)


def basic_key(authorization: str | None) -> str | None:
    """Return the write key of a Basic header, with or without its colon; any other header has none."""
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    token = token.strip()
    try:
        decoded = base64.b64decode(token + "=" * (-len(token) % 4), validate=True)
    except ValueError:
        return None
    return _clean(decoded.decode("utf-8", "replace").partition(":")[0])


def _clean(key: object) -> str | None:
    return (key.strip() or None) if isinstance(key, str) else None


def _item_key(item: object) -> str | None:
    return _clean(item.get("writeKey")) if isinstance(item, dict) else None


def _object(value: object) -> Item | None:
    return value if isinstance(value, dict) else None


def _parsed(raw: bytes) -> Item | None:
    try:
        return _object(orjson.loads(raw))
    except orjson.JSONDecodeError:
        return None


def _inflated(request: Request) -> bytes | Literal["too_large", "bad_gzip"]:
    if request.cut:
        return "too_large"
    if not request.gzipped:
        return request.body
    inflater = zlib.decompressobj(wbits=GZIP)
    try:
        raw = inflater.decompress(request.body, BODY_CAP + 1)
    except zlib.error:
        return "bad_gzip"
    if len(raw) > BODY_CAP:
        return "too_large"
    return raw if inflater.eof else "bad_gzip"
