"""The form of a source: its fields with their meaning, and what people wrote into them, checked by field."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from pydantic import ValidationError
from starlette.datastructures import FormData

from pombo.ops.amounts import parse_size, parse_span, size, span
from pombo.ops.console.forms import text
from pombo.shared.errors import ConfigurationError
from pombo.shared.sources import Source

Kind = Literal["text", "number", "whole", "span", "size", "flag", "choice", "list"]
OTHER: Final = "other"
"""The region of a source that goes to an endpoint."""


@dataclass(frozen=True, slots=True)
class Field:
    """One setting of a source."""

    name: str
    label: str
    kind: Kind
    hint: str
    choices: tuple[tuple[str, str], ...] = ()

    @property
    def default(self) -> Any:
        """What the source has unless told otherwise."""
        return Source.model_fields[self.name].default

    def show(self, value: Any) -> str:
        """A value as the form has it; "" for none."""
        if self.kind == "flag":
            return "1" if value else ""
        return "" if value is None else _WRITERS.get(self.kind, str)(value)


@dataclass(frozen=True, slots=True)
class Section:
    """Fields that belong together."""

    title: str
    fields: tuple[Field, ...]


PLACE: Final = Section("Where events go", (
    Field("region", "Region", "choice", "Where the Segment workspace is.",
          (("us", "US (api.segment.io)"), ("eu", "EU (events.eu1.segmentapis.com)"), (OTHER, "Another endpoint"))),
    Field("endpoint", "Endpoint", "text", "Root URL of another host, such as a proxy or the simulator."),
))  # fmt: skip
PARTITIONS: Final = Field(
    "partitions", "Partitions", "whole",
    "Ordered streams, 1 to 256: as many workers can send at the same time. Fixed once the source is made.",
)  # fmt: skip
PACE: Final = Section("Pace", (
    Field("rate", "Rate limit", "number",
          "Events a second of the whole fleet; 0 is no limit. Segment documents 1,000 a workspace."),
    Field("burst", "Burst", "number", "Events that may go at once after a quiet time. Empty: one second of the rate."),
    Field("rate_group", "Rate group", "text",
          "Sources of one group share one rate: those of one Segment workspace. Empty: its own."),
    Field("max_age_s", "Give up after", "span",
          "How long a failing event is tried, from its first send; then it is a dead letter. Waiting does not count."),
))  # fmt: skip
MEMORY: Final = Section("What is remembered", (
    Field("window_s", "Idempotency window", "span",
          "For how long a messageId is remembered, so that a copy is not sent again; 60 s at least."),
    Field("ids_limit", "Ids remembered at most", "whole",
          "At about 9 bytes each; beyond, the oldest are forgotten early. 0 is no limit."),
    Field("backlog_bytes", "Backlog at most", "size",
          "Compressed bytes that may wait in Redis; beyond, new events are refused. 0 is no limit."),
))  # fmt: skip
LETTERS: Final = Section("Dead letters", (
    Field("dead_bytes", "Dead letters at most", "size",
          "At so many bytes the source is parked, so that an error loses nothing. 0 is no limit."),
    Field("retention_s", "Retention", "span",
          "Older ones are exported to POMBO_EXPORT_DIR and then discarded, every hour. 0 keeps them: see that the "
          "folder outlives the worker."),
    Field("redrive_after_outage", "Redrive after an outage", "flag",
          "What died of an outage goes again, once, when the source is well."),
))  # fmt: skip
PLATFORMS: Final = Section("Webhooks and Blip", (
    Field("intake_header", "Header of the intake key", "text", "In which a platform's webhook brings the intake key."),
    Field("blip", "Takes Blip's data webhook", "flag", "The fields below say how its items become events."),
    Field("message_bodies", "Message bodies", "choice", "What is told of them.",
          (("length", "their length"), ("full", "all of them"), ("drop", "nothing"))),
    Field("identity", "User ids", "choice", "Blip's identities are phone numbers on WhatsApp; a change makes every "
          "known person another one for Segment.",
          (("raw", "Blip's identity"), ("hmac", "a keyed hash of it"))),
    Field("perspective", "Message Sent is", "choice", "Whose sending has that name.",
          (("bot", "what the bot sends"), ("customer", "what the customer sends"))),
    Field("tickets", "Tickets become events", "flag", "Those of human agents, as Ticket Updated."),
    Field("bots", "Only these bots", "list", "Identities such as router@msging.net; empty: all."),
))  # fmt: skip
SECTIONS: Final = (PLACE, PACE, MEMORY, LETTERS, PLATFORMS)
FIELDS: Final[Mapping[str, Field]] = {one.name: one for section in SECTIONS for one in section.fields}


@dataclass(slots=True)
class Filled:
    """A form as somebody filled it in."""

    values: dict[str, str] = field(default_factory=dict)
    """What is in each field, to show again."""
    options: dict[str, Any] = field(default_factory=dict)
    """Settings as the registry takes them, of the fields that could be read."""
    errors: dict[str, str] = field(default_factory=dict)
    """By field what cannot be used; "" is what belongs to none."""


def shown(source: Source) -> dict[str, str]:
    """What the form of a source has in its fields."""
    told = {name: one.show(getattr(source, name)) for name, one in FIELDS.items()}
    return told | ({"region": OTHER} if source.endpoint is not None else {})


def usual() -> dict[str, str]:
    """What the form of a new source has in its fields."""
    told = {name: one.show(one.default) for name, one in FIELDS.items()}
    return told | {PARTITIONS.name: PARTITIONS.show(PARTITIONS.default)}


def read(form: FormData, fields: Iterable[Field], name: str) -> Filled:
    """Read and check the fields of the source `name`; an empty one means its default."""
    wanted = list(fields)
    filled = Filled({one.name: text(form, one.name)[:2000] for one in wanted})
    for one in wanted:
        try:
            filled.options[one.name] = _read(one, filled.values[one.name])
        except ConfigurationError as error:
            filled.errors[one.name] = str(error)
    _place(filled)
    _validate(filled, name)
    return filled


def changes(filled: Filled, before: Mapping[str, str]) -> dict[str, Any]:
    """The settings that differ from what the form had when it was shown; the others may have changed meanwhile."""
    changed = {name: value for name, value in filled.options.items() if filled.values[name] != before.get(name, "")}
    if changed.keys() & {"region", "endpoint"}:
        return changed | {name: filled.options[name] for name in ("region", "endpoint")}
    return changed


def told(options: Mapping[str, Any]) -> dict[str, Any]:
    """Settings fit for the trail: of an address, a header and identities only that they were given."""
    quiet = {"endpoint", "intake_header", "bots"}
    return {name: "given" if name in quiet else value for name, value in options.items() if value is not None}


def _read(one: Field, text: str) -> Any:
    if one.kind == "flag":
        return bool(text)
    if not text:
        return one.default
    return _READERS[one.kind](text, one.label)


def _place(filled: Filled) -> None:
    """Let the endpoint count if it was chosen, and only then."""
    if filled.values.get("region") != OTHER:
        filled.options["endpoint"] = None
        return
    filled.options["region"] = None
    if not filled.values.get("endpoint"):
        filled.errors["endpoint"] = "give its URL, or choose a region"


def _validate(filled: Filled, name: str) -> None:
    """See what the source itself says of the values."""
    try:
        Source.model_validate({"name": name, "incarnation": "-", **filled.options})
    except ValidationError as error:
        for one in error.errors():
            where = str(one["loc"][0]) if one["loc"] else ""
            words = one["msg"].removeprefix("Value error, ").removeprefix("Input ")
            filled.errors.setdefault(where, words)


def _number(text: str, label: str) -> float:
    try:
        return float(text.replace(",", ""))
    except ValueError:
        raise ConfigurationError(f"{label} {text!r} is no number") from None


def _whole(text: str, label: str) -> int:
    digits = text.replace(",", "")
    if not digits.isascii() or not digits.isdigit() or len(digits) > 18:
        raise ConfigurationError(f"{label} {text!r} is no whole number")
    return int(digits)


def _list(text: str, label: str) -> tuple[str, ...]:
    return tuple(text.replace(",", " ").split())


_READERS: Final[Mapping[Kind, Callable[[str, str], Any]]] = {
    "text": lambda text, label: text, "choice": lambda text, label: text, "number": _number, "whole": _whole,
    "span": parse_span, "size": parse_size, "list": _list,
}  # fmt: skip
_WRITERS: Final[Mapping[Kind, Callable[[Any], str]]] = {
    "number": lambda value: f"{value:g}" if value < 1e6 else repr(value), "span": span, "size": size, "list": ", ".join,
}  # fmt: skip
