"""Actions: what a Segment block can do, under which names, and which fields each needs."""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from pombo.shared.errors import InvalidEvent
from pombo.shared.values import shortened


class Action(StrEnum):
    """The four, as exported flows name them."""

    IDENTIFY = "Identify User"
    ALIAS = "Alias"
    TRACK = "Track"
    PAGE = "Page"


class Need(NamedTuple):
    """A field without which an action sends nothing: the editor's label, and the code of its absence."""

    label: str
    code: str


ALIASES: Mapping[str, Action] = {
    "identify user": Action.IDENTIFY,
    "identify": Action.IDENTIFY,
    "alias": Action.ALIAS,
    "track": Action.TRACK,
    "track event": Action.TRACK,
    "page": Action.PAGE,
    "page view": Action.PAGE,
}
"""Exports' and editors' names, in small letters, and each call's own."""

REQUIRED: Mapping[Action, Mapping[str, Need]] = {
    Action.IDENTIFY: {"userId": Need("User ID", "no_user_anon_id"), "email": Need("Email", "email_required")},
    Action.ALIAS: {
        "userId": Need("User ID", "user_id_required"),
        "previousId": Need("Previous ID", "previous_id_required"),
    },
    Action.TRACK: {"eventName": Need("Event Name", "event_not_defined"), "userId": Need("User ID", "no_user_anon_id")},
    Action.PAGE: {"name": Need("Name", "name_required"), "userId": Need("User ID", "no_user_anon_id")},
}


def action_of(text: str | None) -> Action:
    """The action that a block's text names, in any case.

    Raises:
        InvalidEvent: there is none, or it is no action of a Segment block; its field is `action`.
    """
    known = "Identify User, Alias, Track Event or Page View"
    if not text:
        raise InvalidEvent("action", "action_missing", f"the block has no action; choose {known} in the editor")
    found = ALIASES.get(" ".join(text.split()).casefold())
    if found is None:
        raise InvalidEvent(
            "action", "action_unknown", f"action {shortened(text)!r} is none of Segment's; choose {known}"
        )
    return found
