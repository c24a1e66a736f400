"""Deeds: what people do at the console goes into the trail, beside what commands do."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from pombo.ops.console.state import session_of, state_of
from pombo.shared import trail


async def deed(request: Request, what: str, subject: str, detail: Mapping[str, Any] | None = None) -> bool:
    """Note what the one who asks has done; whether that was written. A trail that cannot be written stops nobody.

    Args:
        request: whose session says who.
        what: as the command is called: `sources.pause`, `dead.redrive`.
        subject: the source, letter or job; "" for the installation.
        detail: more of it, as JSON can tell it; no secrets, nobody's data.
    """
    state, session = state_of(request), session_of(request)
    # What was done is to be seen at once.
    state.poller.refresh()
    role: trail.Role = "operator" if session.operator else "viewer"
    return await trail.note(
        state.redis, state.keys, who=session.name, role=role, what=what, subject=subject, detail=detail
    )
