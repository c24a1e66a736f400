"""Keys as clients present them."""

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Any

from pombo.gateway.answers import Refusal

_CHALLENGE = ((b"www-authenticate", b'Basic realm="pombo"'),)


def basic_key(authorization: bytes | None) -> str | None:
    """The key of a Basic header, with or without its colon; None when there is none, or another scheme."""
    scheme, _, token = (authorization or b"").partition(b" ")
    if scheme.lower() != b"basic":
        return None
    token = token.strip()
    try:
        decoded = base64.b64decode(token + b"=" * (-len(token) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
    return _text(decoded.decode("utf-8", "replace").partition(":")[0])


def header_key(value: bytes | None) -> str | None:
    """The key of a header of a webhook: alone, after `Key`, `Bearer` or `Token`, or as Basic."""
    text = (value or b"").decode("utf-8", "replace").strip()
    scheme, _, rest = text.partition(" ")
    if scheme.lower() == "basic":
        return basic_key(value)
    if rest and scheme.lower() in {"key", "bearer", "token"}:
        return _text(rest)
    return text or None


def body_key(document: Mapping[str, Any], items: Iterable[Any]) -> str | None:
    """The key in a body: the request's own, else that of its items.

    Raises:
        Refusal: items have different keys, and the request none.
    """
    own = _text(document.get("writeKey"))
    if own is not None:
        return own
    keys = {key for item in items if isinstance(item, dict) and (key := _text(item.get("writeKey")))}
    if len(keys) > 1:
        raise Refusal(400, "mixed_write_keys", "items have different write keys; send those of each source by itself")
    return next(iter(keys), None)


def no_key(how: str) -> Refusal:
    """The refusal of a request without a key."""
    return Refusal(401, "no_write_key", f"the request has no key; {how}", headers=_CHALLENGE)


def unknown_key() -> Refusal:
    """The refusal of a key that nobody has."""
    return Refusal(
        401,
        "unknown_write_key",
        "no source has this key; `pombo sources add` shows the intake key, and the source's write key will do too",
        headers=_CHALLENGE,
    )


def _text(value: object) -> str | None:
    return (value.strip() or None) if isinstance(value, str) else None
