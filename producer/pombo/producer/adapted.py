"""What an adapter of a chatbot platform makes of one item, and how it says that it knows no such item."""

from typing import Any, NamedTuple

from pombo.shared.errors import PomboError


class Adapted(NamedTuple):
    """One event in Segment's form, ready for `Producer.enqueue`, and what keeps its order."""

    event: dict[str, Any]
    ordering_key: str | None


class UnknownItem(PomboError):  # noqa: N818 - an outcome's name, like Rejected
    """An item that no rule of its adapter covers: `message` says what and what to do, `field` where in the item."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message, field)
        self.message = message
        self.field = field
