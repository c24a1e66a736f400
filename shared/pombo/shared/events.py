"""Events: what Segment's six calls carry, and what is refused because Segment would answer 200 and drop it.

The models are the specification. They take Segment's names or their snake_case, `None` for absent, and raise
`InvalidEvent` — never pydantic's error — for the first thing that is wrong: first a name, then a missing
field, then the values. `prepared.prepare` runs a quicker check in their place.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    model_validator,
)
from pydantic.alias_generators import to_camel

from pombo.shared.errors import InvalidEvent
from pombo.shared.shapes import FIELDS, MAX_MESSAGE_ID, MAX_PROPERTIES, SHAPES, named, shape_of
from pombo.shared.values import clean, instant


def _text(value: object, info: ValidationInfo) -> str:
    name = to_camel(info.field_name or "")
    if not isinstance(value, str) or not value:
        complaint = "is empty" if value == "" else f"is {type(value).__name__}"
        raise InvalidEvent(name, FIELDS[name].code, f"{name} {complaint}; make it a non-empty string")
    return str(clean(value, name))


def _object(value: object, info: ValidationInfo) -> dict[str, Any]:
    name = to_camel(info.field_name or "")
    if not isinstance(value, Mapping):
        raise InvalidEvent(name, FIELDS[name].code, f"{name} is {type(value).__name__}; make it a dict")
    if len(value) > MAX_PROPERTIES:
        complaint = f"has {len(value):,} keys and Segment keeps {MAX_PROPERTIES:,}; nest or split them"
        raise InvalidEvent(name, "too_many_properties", f"{name} {complaint}")
    return dict(clean(value, name))


def _moment(value: object) -> datetime:
    try:
        return instant(value)
    except Exception as error:  # A tzinfo is the caller's own code and may raise anything.
        remedy = "make it a datetime or an ISO-8601 text such as 2026-11-21T19:00:50.834Z"
        message = f"timestamp is no point in time; {remedy}"
        raise InvalidEvent("timestamp", FIELDS["timestamp"].code, message) from error


def _short(message_id: str) -> str:
    if len(message_id) > MAX_MESSAGE_ID:
        complaint = f"has {len(message_id)} characters and Segment takes {MAX_MESSAGE_ID}; shorten it"
        raise InvalidEvent("messageId", "message_id_too_long", f"messageId {complaint}")
    return message_id


Text = Annotated[str, BeforeValidator(_text)]
Object = Annotated[dict[str, Any], BeforeValidator(_object)]
Moment = Annotated[datetime, BeforeValidator(_moment)]
MessageId = Annotated[Text, AfterValidator(_short)]


class BaseEvent(BaseModel):
    """What all events carry: at least one of the ids, and what pombo fills in when it is absent."""

    # Built at the first event that needs a model: nearly none does, and bots import this.
    model_config = ConfigDict(
        alias_generator=to_camel, extra="allow", frozen=True, hide_input_in_errors=True, defer_build=True
    )
    type: str
    user_id: Text | None = None
    anonymous_id: Text | None = None
    context: Object | None = None
    integrations: Object | None = None
    timestamp: Moment | None = None
    message_id: MessageId | None = None

    @model_validator(mode="before")
    @classmethod
    def _name(cls, event: Any, info: ValidationInfo) -> Any:
        if isinstance(event, cls):
            return event
        kind = cls.model_fields["type"].default
        shape = shape_of({"type": kind, **event} if isinstance(event, Mapping) else event)
        if shape.type != kind:
            raise InvalidEvent("type", "invalid_type", f"type is {shape.type!r} in an event of type {kind!r}")
        fields = named(event, shape, strict=(info.context or {}).get("strict", True))
        return {name: value if name in shape.names else clean(value, name) for name, value in fields.items()}

    def fields(self) -> dict[str, Any]:
        """The event as a dict under Segment's names, without what is absent."""
        names = SHAPES[self.type].names
        return {names.get(name, name): value for name, value in self if value is not None}


class Identify(BaseEvent):
    """Who someone is."""

    type: Literal["identify"] = "identify"
    traits: Object | None = None


class Track(BaseEvent):
    """What someone did."""

    type: Literal["track"] = "track"
    event: Text
    properties: Object | None = None


class Page(BaseEvent):
    """Which web page someone saw."""

    type: Literal["page"] = "page"
    name: Text | None = None
    category: Text | None = None
    properties: Object | None = None


class Screen(BaseEvent):
    """Which screen of an app someone saw."""

    type: Literal["screen"] = "screen"
    name: Text | None = None
    category: Text | None = None
    properties: Object | None = None


class Group(BaseEvent):
    """Which group someone belongs to."""

    type: Literal["group"] = "group"
    group_id: Text
    traits: Object | None = None


class Alias(BaseEvent):
    """Under which other id someone was known; needs `user_id` as well."""

    type: Literal["alias"] = "alias"
    previous_id: Text


Event = Annotated[Identify | Track | Page | Screen | Group | Alias, Field(discriminator="type")]

MODELS: dict[str, type[BaseEvent]] = {
    "identify": Identify,
    "track": Track,
    "page": Page,
    "screen": Screen,
    "group": Group,
    "alias": Alias,
}


def parse(event: Mapping[str, Any], *, strict: bool = True) -> BaseEvent:
    """Make the model that an event's `type` names; raise `InvalidEvent`.

    `strict` refuses unknown top-level keys, as fits a developer's own call; without it they are handed on, as
    fits events that other programs send to Segment.
    """
    model = MODELS[shape_of(event).type]
    return model.model_validate(dict(event), context={"strict": strict})
