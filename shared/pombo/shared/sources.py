"""Sources as everyone may see them: no key of any kind in here."""

import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator

from pombo.shared.errors import StoredVersionError

REGION_HOSTS = {"us": "https://api.segment.io", "eu": "https://events.eu1.segmentapis.com"}

SourceName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
# RFC 9110 lets a field's name be any token.
HeaderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$")]
BotIdentity = Annotated[str, StringConstraints(pattern=r"^[^@/\s]+@[^@/\s]+$", to_lower=True, max_length=256)]


class Source(BaseModel):
    """One Segment source's settings, as stored under its name in the registry.

    Producers read it for `partitions`, `incarnation` and `backlog_bytes`; workers for the rest.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    v: Literal[1] = 1
    name: SourceName
    incarnation: str
    """Random id made when the source is added; a removed and re-added source is another one."""
    partitions: int = Field(default=8, ge=1, le=256)
    """How many ordered streams; fixed when the source is made."""
    region: Literal["us", "eu"] | None = "us"
    endpoint: str | None = None
    """Root URL that replaces the region's host, without a trailing `/v1`."""
    rate: float = Field(default=1000, ge=0)
    """Events per second over the whole fleet; 0 is off. 1,000 is Segment's documented ceiling per workspace."""
    burst: float | None = Field(default=None, gt=0)
    """Events that may go at once after a quiet time; default one second's worth of `rate`."""
    rate_group: SourceName | None = None
    """Sources of one group share one rate: that of a Segment workspace."""
    max_age_s: float = Field(default=86_400, gt=0)
    """Seconds of failing, counted from an event's first send, after which it is dead as `expired`."""
    window_s: float = Field(default=86_400, ge=60)
    """Seconds for which a messageId is remembered."""
    backlog_bytes: int = Field(default=1 << 30, ge=0)
    """Compressed bytes that may wait in Redis; appends beyond are refused. 0 is no limit."""
    dead_bytes: int = Field(default=256 << 20, ge=0)
    """Bytes of dead letters that may be held; at the limit the source is parked. 0 is no limit."""
    retention_s: float = Field(default=0, ge=0)
    """Seconds after which dead letters are exported, and then discarded; 0 keeps them, as the file may lie on a
    container's disk, which goes with the container."""
    redrive_after_outage: bool = False
    """Whether what died of an outage goes again, once, when the source is well."""
    ids_limit: int = Field(default=200_000_000, ge=0)
    """messageIds remembered at most, at about 9 bytes; beyond, the oldest are forgotten before their window ends.
    0 is no limit."""
    intake_header: HeaderName = "Authorization"
    """Header in which a platform's webhook carries the intake key."""
    blip: bool = False
    """Whether it takes items of Blip's data webhook; the fields below say how they become events."""
    message_bodies: Literal["full", "length", "drop"] = "length"
    """What is told of messages' bodies: all, the number of characters, or nothing."""
    identity: Literal["raw", "hmac"] = "raw"
    """What a customer's userId is: the platform's identity, a phone number on WhatsApp, or a keyed hash of it."""
    perspective: Literal["bot", "customer"] = "bot"
    """Whose sending is `Message Sent`."""
    tickets: bool = False
    """Whether tickets of human agents become `Ticket Updated`."""
    bots: tuple[BotIdentity, ...] = ()
    """Identities of the bots whose items count, in lower case; empty: those of every bot."""

    @field_validator("endpoint")
    @classmethod
    def _root(cls, value: str | None) -> str | None:
        return None if value is None else endpoint_root(value)

    @property
    def url(self) -> str:
        """Where batches are posted."""
        root = self.endpoint or REGION_HOSTS[self.region or "us"]
        return f"{root}/v1/batch"

    def dump(self) -> bytes:
        """The JSON stored in the registry."""
        return self.model_dump_json().encode()

    @classmethod
    def load(cls, name: str, stored: bytes) -> Self:
        """Read what `dump` wrote.

        Raises:
            StoredVersionError: another version of pombo wrote it; it is left as it is.
        """
        try:
            return cls.model_validate_json(stored)
        except ValidationError as error:
            raise StoredVersionError(
                f"source {name!r} was stored in a form that this pombo cannot read; "
                "upgrade pombo here, the source is left as it is"
            ) from error


def endpoint_root(value: str) -> str:
    """Normalise an endpoint to its root: scheme, host and path, no trailing slash or `/v1`.

    Raises:
        ValueError: `value` is no http(s) URL.
    """
    value = value.strip()
    # White space is looked for in the whole: urlsplit leaves out newlines and tabs without a word.
    ok = not re.search(r"[\s\x00-\x1f\x7f]", value)
    try:
        parts = urlsplit(value)
        ok = ok and parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        ok = False
    if not ok or "@" in parts.netloc + parts.path or parts.query or parts.fragment:
        raise ValueError(
            f"endpoint {value!r} is no URL; give a root such as https://api.segment.io (no key, query or fragment)"
        )
    path = parts.path.rstrip("/")
    while path.endswith("/v1"):
        path = path.removesuffix("/v1").rstrip("/")
    return f"{parts.scheme}://{parts.netloc}{path}"
