"""The Segment block of a flow, and the event that it sends.

block = SegmentBlock.model_validate(flow["groups"][0]["blocks"][0])
block.event({"User ID": "u1", "Plan": "Gold"})
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic.alias_generators import to_camel
from pydantic.functional_validators import ModelWrapValidatorHandler

from pombo.producer.quickbot.actions import REQUIRED, Action, Need, action_of
from pombo.producer.quickbot.casting import Cast, cast_value
from pombo.producer.quickbot.refusals import refusal
from pombo.producer.quickbot.template import Filling, is_template, names_in
from pombo.producer.quickbot.variables import Given, Variables
from pombo.shared.errors import InvalidEvent
from pombo.shared.prepared import prepare
from pombo.shared.values import clean

MOST_PAIRS = 10_000
"""Pairs of a list: as many as Segment keeps properties of an event."""
INTEGRATION = {"name": "quickbot", "version": version("pombo")}
"""What `context.integration` says, as Segment asks of whoever brings a platform's events."""

_ANY_TIME = datetime(2000, 1, 1, tzinfo=UTC)
_LONGEST_ID = "i" * 49
"""As long as the ids that `identity` makes, so that whatever passes the check also passes with its own."""


class Pair(BaseModel):
    """One row of a list of traits or properties; both sides are templates."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)
    key: str | None = None
    value: Any = None


class Options(BaseModel):
    """What is filled in in the editor; which of it is used depends on the action."""

    model_config = ConfigDict(alias_generator=to_camel, frozen=True, hide_input_in_errors=True)
    action: str | None = None
    credentials_id: str | None = None
    user_id: str | None = None
    email: str | None = None
    previous_id: str | None = None
    event_name: str | None = None
    name: str | None = None
    category: str | None = None
    traits: list[Pair] | None = None
    properties: list[Pair] | None = None


class Skipped(NamedTuple):
    """A trait or property that is not sent: where it is, and why."""

    field: str
    message: str


class Outcome(NamedTuple):
    """The event of a block, and what was left out of it."""

    event: dict[str, Any]
    skipped: tuple[Skipped, ...]


class SegmentBlock(BaseModel):
    """A block as an exported flow holds it; a form that cannot be one raises `InvalidEvent`."""

    model_config = ConfigDict(alias_generator=to_camel, frozen=True, hide_input_in_errors=True)
    id: str | None = None
    type: str = "segment"
    options: Options = Field(default_factory=Options)

    @model_validator(mode="wrap")
    @classmethod
    def _refuse_in_words(cls, given: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(dict(given) if isinstance(given, Mapping) else given)
        except ValidationError as error:
            raise refusal(error, "block", "block_invalid") from None

    @field_validator("type")
    @classmethod
    def _is_segment(cls, kind: str) -> str:
        if kind.casefold() != "segment":
            raise InvalidEvent("block.type", "block_type", "the block is no Segment block; its type must be segment")
        return kind

    @field_validator("options", mode="before")
    @classmethod
    def _unconfigured(cls, options: Any) -> Any:
        return {} if options is None else options

    def event(
        self,
        variables: Given | Variables | None,
        *,
        cast: Cast = "none",
        context: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """The event in Segment's form, ready for `Producer.enqueue`.

        `variables` are the conversation's; None says that the platform has filled in the fields already, so
        that they are taken as they are. `cast` says what becomes of texts in traits and properties.
        `context` is an object of templates that goes into the event's context.

        Raises:
            InvalidEvent: the block cannot be sent; `field` is the option that is to be corrected.
        """
        return self.outcome(variables, cast=cast, context=context).event

    def outcome(
        self,
        variables: Given | Variables | None,
        *,
        cast: Cast = "none",
        context: Mapping[str, Any] | None = None,
    ) -> Outcome:
        """Like `event`, and say what was left out."""
        filler = _Filler(self.options, None if variables is None else Variables.read(variables), cast)
        action = action_of(filler.text("action"))
        filler.check(action)
        event = {**_BUILDERS[action](filler), "context": _context(filler, context)}
        prepare(event, now=_ANY_TIME, new_id=lambda: _LONGEST_ID)  # Refuses what Segment would drop.
        return Outcome(event, tuple(filler.skipped))


class _Filler:
    """The options of one block with the variables of one conversation in them."""

    def __init__(self, options: Options, variables: Variables | None, cast: Cast) -> None:
        self._options = options
        self._filling = None if variables is None else Filling(variables)
        self._cast = cast
        self.skipped: list[Skipped] = []

    def text(self, field: str) -> str:
        """An option's text, empty if there is none."""
        return self._fill(self._template(field), field)

    def check(self, action: Action) -> None:
        """Refuse the action if a field that it needs is missing or empty, or was to be filled in and was not."""
        for field, need in REQUIRED[action].items():
            text = self.text(field)
            if not text:
                raise InvalidEvent(field, need.code, self._absence(action, field, need))
            if self._filling is None and is_template(text):
                remedy = "give the variables beside the block"
                raise InvalidEvent(field, "not_filled_in", f"{need.label} ({field}) is still a template; {remedy}")

    def pairs(self, field: str) -> dict[str, Any]:
        """A list of pairs as an object: without empty ones, the last of equal keys."""
        found: dict[str, Any] = {}
        pairs: list[Pair] = getattr(self._options, field) or []
        if len(pairs) > MOST_PAIRS:
            complaint = f"{field} has {len(pairs):,} pairs and Segment keeps {MOST_PAIRS:,}; send less"
            raise InvalidEvent(field, "too_many_properties", complaint)
        for number, pair in enumerate(pairs):
            path = f"{field}[{number}]"
            key = self._fill(pair.key or "", f"{path}.key")
            value = self.tree(pair.value, f"{path}.value")
            if not key or value is None or value == "":
                self._skip(path, "key" if not key else "value", pair)
                continue
            found[key] = cast_value(value, self._cast)
        return found

    def tree(self, value: Any, path: str) -> Any:
        """Any value with its texts filled in."""
        plain = clean(value, path)
        return plain if self._filling is None else self._filling.value(plain, path)

    def _template(self, field: str) -> str:
        return getattr(self._options, _ATTRIBUTES[field]) or ""

    def _fill(self, template: str, field: str) -> str:
        return template if self._filling is None else self._filling.text(template, field)

    def _skip(self, path: str, side: str, pair: Pair) -> None:
        template = pair.key if side == "key" else pair.value
        if isinstance(template, str) and template and self._filling is not None:
            self.skipped.append(Skipped(path, f"its {side} is empty: {_unset(template)}"))
        else:
            self.skipped.append(Skipped(path, f"its {side} is empty"))

    def _absence(self, action: Action, field: str, need: Need) -> str:
        template = self._template(field)
        if template and self._filling is not None:
            return f"{action} needs {need.label} ({field}), which came out empty: {_unset(template)}"
        return f"{action} needs {need.label} ({field}); fill it in in the block"


def _unset(template: str) -> str:
    names = list(dict.fromkeys(names_in(template)))[:3]
    return f"{', '.join(f'{{{{{name[:60]}}}}}' for name in names)} has no value"


def _identify(filler: _Filler) -> dict[str, Any]:
    traits = filler.pairs("traits")
    return {"type": "identify", "userId": filler.text("userId"), "traits": {**traits, "email": filler.text("email")}}


def _alias(filler: _Filler) -> dict[str, Any]:
    return {"type": "alias", "userId": filler.text("userId"), "previousId": filler.text("previousId")}


def _track(filler: _Filler) -> dict[str, Any]:
    event = {"type": "track", "userId": filler.text("userId"), "event": filler.text("eventName")}
    return {**event, "properties": filler.pairs("properties")}


def _page(filler: _Filler) -> dict[str, Any]:
    event: dict[str, Any] = {"type": "page", "userId": filler.text("userId"), "name": filler.text("name")}
    properties, category = filler.pairs("properties"), filler.text("category")
    if not category:  # Segment drops a page whose category is empty.
        return {**event, "properties": properties}
    return {**event, "category": category, "properties": {**properties, "category": category}}


def _context(filler: _Filler, context: Mapping[str, Any] | None) -> dict[str, Any]:
    if context is not None and not isinstance(context, Mapping):
        complaint = f"context is {type(context).__name__}; make it an object of templates"
        raise InvalidEvent("context", "context_not_object", complaint)
    return {"integration": dict(INTEGRATION), **filler.tree(context or {}, "context")}


_BUILDERS = {Action.IDENTIFY: _identify, Action.ALIAS: _alias, Action.TRACK: _track, Action.PAGE: _page}
_ATTRIBUTES = {to_camel(name): name for name in Options.model_fields}
