"""What an operator may say of a source, its write key and its settings: checked and brought into form."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

import orjson
from pydantic import ValidationError

from pombo.shared.errors import ConfigurationError
from pombo.shared.sources import REGION_HOSTS, Source

WRITE_KEY_LENGTH = 32
"""Letters and digits in a write key, as Segment makes them."""
PROOF_NOTICE = (
    "Segment answers 200 to wrong keys too and drops the events: only the source's debugger in Segment "
    "proves that they arrive"
)


class Options(TypedDict, total=False):
    """Settings of a source that can be given and changed; `Source` has their meaning, units and defaults.

    An `endpoint` replaces the region and the other way round; the endpoint None goes back to region `us`.
    """

    region: Literal["us", "eu"] | None
    endpoint: str | None
    rate: float
    burst: float | None
    rate_group: str | None
    max_age_s: float
    window_s: float
    backlog_bytes: int
    dead_bytes: int
    retention_s: float
    redrive_after_outage: bool
    ids_limit: int
    intake_header: str
    blip: bool
    message_bodies: Literal["full", "length", "drop"]
    identity: Literal["raw", "hmac"]
    perspective: Literal["bot", "customer"]
    tickets: bool
    bots: Sequence[str]


def check_write_key(key: str) -> None:
    """Refuse what cannot be a write key at all.

    Raises:
        ConfigurationError: it is empty, or holds whitespace or control characters; the key is not shown.
    """
    if not key:
        raise ConfigurationError("the write key is empty; copy it from the source's API keys in Segment")
    if any(character.isspace() or not character.isprintable() for character in key):
        raise ConfigurationError("the write key holds whitespace or a control character; copy it again, alone")


def key_warnings(key: str) -> tuple[str, ...]:
    """What is odd about a write key that might still be one."""
    if len(key) == WRITE_KEY_LENGTH and key.isascii() and key.isalnum():
        return ()
    return ("this does not look like a Write Key (32 letters and digits); paste the Write Key, not the Source ID",)


def destination(source: Source) -> str:
    """Where a source's events go, for people."""
    if source.endpoint is not None:
        return f"events go to {source.endpoint}"
    region = source.region or "us"
    return f"events go to Segment's region {region} ({REGION_HOSTS[region]}), where the workspace must be"


def identity_notice(source: Source) -> str | None:
    """What the userIds of a source that takes Blip's items give away."""
    if not source.blip or source.identity != "raw":
        return None
    return (
        "userIds are Blip's identities, and on WhatsApp that is the customer's phone number; "
        f"`pombo sources set {source.name} --identity hmac` sends keyed hashes instead, best before the first event"
    )


def check_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Check the names of options, and let region and endpoint replace each other."""
    if "partitions" in options:
        raise ConfigurationError(
            f"source {name!r}: partitions are fixed when a source is made, because they decide in which "
            "stream an ordering key's events wait: a change would break their order; add another source"
        )
    for option, value in options.items():
        if option not in Options.__annotations__:
            raise ConfigurationError(
                f"source {name!r}: {option!r} is no setting; known: {', '.join(Options.__annotations__)}"
            )
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigurationError(f"source {name!r}: {option}: {value} is no number of use; 0 is off")
    return _address(name, dict(options))


def _address(name: str, options: dict[str, Any]) -> dict[str, Any]:
    region, endpoint = options.get("region"), options.get("endpoint")
    if region is not None and endpoint is not None:
        raise ConfigurationError(f"source {name!r}: give a region or an endpoint, not both")
    if endpoint is not None:
        return {**options, "region": None}
    if options.keys() & {"region", "endpoint"}:
        return {**options, "region": region or "us", "endpoint": None}
    return options


def validated(name: str, fields: Mapping[str, Any]) -> Source:
    """The source of these fields.

    Raises:
        ConfigurationError: one cannot be used; the message names it.
    """
    try:
        return Source.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        what = first["msg"].removeprefix("Value error, ")
        got = repr(first["input"])
        told = what if got in what else f"{where}: {what}; got {got}"
        raise ConfigurationError(f"source {name!r}: {told}") from None


def merged(name: str, stored: bytes, options: Mapping[str, Any]) -> bytes:
    """The stored settings with changes; fields that this pombo does not know stay in it."""
    current = Source.load(name, stored)
    source = validated(name, {**current.model_dump(), **options})
    if source == current:
        return stored
    return orjson.dumps({**orjson.loads(stored), **source.model_dump(mode="json")})
