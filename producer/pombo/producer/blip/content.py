"""Content: what of a message's body is told, under the source's choice, however it is nested."""

from collections.abc import Iterator, Mapping
from typing import Any

from pombo.producer.blip.identities import Scrub
from pombo.producer.blip.options import BlipOptions

LIME = "application/vnd.lime."
SENSITIVE = f"{LIME}sensitive+json"

_ABOUT = frozenset({"type", "itemtype", "uri", "previewuri", "previewtype", "aspectratio", "id", "scope"})
"""Keys, in lower case, whose texts say something about the body and are none of it."""
_EARLIER = frozenset({"inreplyto", "inreactionto", "context"})
"""Keys, in lower case, that repeat an earlier message."""


def told_content(kind: str, content: object, options: BlipOptions, scrub: Scrub) -> dict[str, Any]:
    """The properties that tell of a body: the whole, its length in characters, or nothing of it.

    Of a sensitive message nothing is told, as Blip stores nothing of it either; nor of a sensitive part.
    """
    if is_sensitive(kind):
        return {"sensitive": True}
    told = _shape(content)
    if options.bodies == "full":
        body = scrub(without_sensitive(content))
        return {**told, "message_body" if isinstance(body, str) else "content": body}
    return {**told, "body_length": length(content)} if options.bodies == "length" else told


def is_sensitive(kind: object) -> bool:
    """Whether a content type says that its content is to be kept nowhere."""
    return isinstance(kind, str) and kind.strip().lower().startswith(SENSITIVE)


def length(content: object) -> int:
    """Characters of all texts that belong to a body, at any depth; sensitive parts and quotes aside."""
    return sum(map(len, _texts(content)))


def _texts(content: object) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for part in content:
            yield from _texts(part)
    elif isinstance(content, dict) and not _is_sensitive_part(content):
        for key, part in content.items():
            if key.lower() not in (_EARLIER if isinstance(part, dict | list) else _ABOUT):
                yield from _texts(part)


def _is_sensitive_part(content: Mapping[str, Any]) -> bool:
    return any(is_sensitive(value) for key, value in content.items() if key.lower() in {"type", "itemtype"})


def without_sensitive(content: object) -> object:
    """A copy of a body in which sensitive parts are only said to be some."""
    if isinstance(content, list):
        return [without_sensitive(part) for part in content]
    if not isinstance(content, dict):
        return content
    if _is_sensitive_part(content):
        return {key: value for key, value in content.items() if key.lower() in {"type", "itemtype"}}
    return {key: without_sensitive(part) for key, part in content.items()}


def _shape(content: object) -> dict[str, Any]:
    """What can be said of a body without any of its words."""
    if not isinstance(content, dict):
        return {}
    media = content.get("type") if isinstance(content.get("uri"), str) else None
    size = content.get("size")
    options, items = content.get("options"), content.get("items")
    found = {
        "media_type": media if isinstance(media, str) and "/" in media else None,
        "media_bytes": size if isinstance(size, int) and not isinstance(size, bool) else None,
        "option_count": len(options) if isinstance(options, list) else None,
        "item_count": len(items) if isinstance(items, list) else None,
    }
    return {name: value for name, value in found.items() if value is not None}
