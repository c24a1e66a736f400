"""What a body says: JSON as SDKs write it."""

import json
from math import isfinite
from typing import Any

import orjson

from pombo.gateway.answers import Refusal


def parse(body: bytes) -> dict[str, Any]:
    """Read a body as one JSON object.

    Python's SDK writes NaN and halves of emojis, which are no JSON: they are read all the same, so that the check of
    the one event that holds them can name them, and the others of its batch are not lost with it.

    Raises:
        Refusal: it is none.
    """
    document = read_json(body)
    if not isinstance(document, dict):
        raise Refusal(400, "invalid_request", f"the body is {_kind(document)}; make it a JSON object")
    return document


def read_json(body: bytes) -> Any:
    """Read a body as JSON, with what SDKs write beyond it.

    Raises:
        Refusal: it is none.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return _leniently(body)


def _leniently(body: bytes) -> Any:
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"the body is not UTF-8: byte {error.start} cannot be read"
        raise Refusal(400, "malformed_json", message) from None
    try:
        return json.loads(text)
    except RecursionError:
        raise too_deep() from None
    except ValueError as error:
        where = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        raise Refusal(400, "malformed_json", f"the body is not JSON{where}") from None


def written(item: object) -> bytes:
    """An item as one line of JSON, for a dead letter: as it came, also where that is no proper JSON.

    Raises:
        Refusal: it is nested too deep to be written.
    """
    try:
        return json.dumps(item, separators=(",", ":")).encode() if _is_odd(item) else orjson.dumps(item)
    except orjson.JSONEncodeError:
        pass
    except RecursionError:
        raise too_deep() from None
    try:
        return json.dumps(item, separators=(",", ":")).encode()
    except RecursionError:
        raise too_deep() from None


def too_deep() -> Refusal:
    """The refusal of a body whose nesting cannot be followed."""
    return Refusal(400, "nested_too_deep", "the body is nested some hundred levels deep; flatten it")


def _is_odd(value: object) -> bool:
    """Whether orjson would write something else than what was read: NaN and infinity become null."""
    if isinstance(value, float):
        return not isfinite(value)
    if isinstance(value, dict):
        return any(_is_odd(one) for one in value.values())
    if isinstance(value, list):
        return any(_is_odd(one) for one in value)
    return False


def _kind(value: object) -> str:
    names = {list: "an array", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
