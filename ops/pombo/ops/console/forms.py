"""Forms: what a page is sent, of a bounded size."""

from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request

from pombo.ops import wording
from pombo.ops.console.guard import FORM_BYTES
from pombo.shared.errors import ConfigurationError
from pombo.worker.jobs.queues import checked_rate


def check_length(request: Request, most: int) -> None:
    """See that a body says how long it is, and is not too long; the server sees that it is not longer than it says.

    Raises:
        HTTPException: 411 or 413, with words.
    """
    length = request.headers.get("Content-Length", "")
    if not length.isdigit():
        raise HTTPException(411, "send this with its length (Content-Length)")
    if int(length) > most:
        raise HTTPException(413, f"this is larger than {wording.size(most)}; nothing was changed")


async def read_form(request: Request, most: int = FORM_BYTES) -> FormData:
    """A form's fields.

    Raises:
        HTTPException: it is larger than `most` bytes, or does not say how long it is.
    """
    check_length(request, most)
    return await request.form()


def text(form: FormData, name: str) -> str:
    """A field's text without space around it; "" when it is missing, or a file."""
    value = form.get(name, "")
    return value.strip() if isinstance(value, str) else ""


def rate(given: str) -> float | None:
    """A rate in events a second; None for "".

    Raises:
        ConfigurationError: it is none.
    """
    try:
        return checked_rate(float(given)) if given else None
    except ValueError:
        raise ConfigurationError(f"{given[:40]!r} is no rate; give events a second, or nothing") from None
