"""Refusals: what pydantic says of a wrong form, as the one error that users of the adapter meet."""

from pydantic import ValidationError

from pombo.shared.errors import InvalidEvent
from pombo.shared.values import shortened


def refusal(error: ValidationError, what: str, code: str) -> InvalidEvent:
    """The first complaint, with the path to its place below `what`, and no value."""
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
    field = shortened(what + path)
    message = first["msg"].removeprefix("Input ")
    return InvalidEvent(field, code, f"{field} {message}" if message != first["msg"] else f"{field}: {message}")
