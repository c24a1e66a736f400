"""What nobody outside Segment knows, as settings: each default is the likeliest or the strictest guess."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pombo.ops.simulator.errors import SwitchesError

BODY_CAP = 16 * 1024 * 1024
"""Bytes of one body that are ever held in memory, as sent or inflated; what is longer is not read."""


class Switches(BaseModel):
    """Choose what the simulator does where Segment's behaviour is unknown, disputed or up to the source."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    body_limit: int = Field(
        default=500_000, ge=1, le=BODY_CAP, description="bytes of a body; 512,000 is the other reading"
    )
    body_limit_counts: Literal["raw", "wire"] = Field(
        default="raw", description="the limit is on the inflated or the sent size"
    )
    oversized_body: Literal["json", "text"] = Field(
        default="json", description="body of the 400; text is what 2018 saw"
    )
    event_limit: int = Field(
        default=32_768, ge=1, description="bytes of one event as compact UTF-8 JSON; Go reads 32,000"
    )
    oversized_item: Literal["reject_batch", "drop_item"] = Field(
        default="reject_batch", description="one event over its limit sinks its batch, or only itself"
    )
    batch_limit: int = Field(default=2_500, ge=1, description="events of one request")
    over_batch_limit: Literal["drop_all", "drop_excess"] = Field(
        default="drop_all", description="what a longer batch loses"
    )
    property_limit: int = Field(default=10_000, ge=1, description="top-level properties or traits that an event keeps")
    dedup_window_s: int = Field(default=86_400, ge=0, description="seconds a messageId is remembered; 0: not at all")
    empty_batch: Literal["accept", "reject"] = Field(
        default="accept", description="200 or 400 for a batch of no events"
    )
    batch_not_array: Literal["reject", "accept"] = Field(
        default="reject", description="400 or 200 where `batch` is no array"
    )
    unknown_type: Literal["drop", "keep"] = Field(default="drop", description="fate of an event of no known type")
    bad_gzip: int = Field(default=400, ge=400, le=599, description="status for a body that does not inflate")
    wrong_method: int = Field(default=400, ge=400, le=499, description="status for anything but POST on a route")
    absent_sent_at: Literal["keep", "received"] = Field(
        default="keep",
        description="without sentAt an event keeps its timestamp, or takes the time of receipt",
    )
    error_body: Literal["json", "text", "empty"] = Field(
        default="json", description="body of 429s, and of planned errors that name none"
    )
    cors: bool = Field(default=True, description="answer preflights and allow every origin")
    min_key_length: int = Field(default=1, ge=1, description="characters; one user saw the key abc123 refused")
    known_keys: frozenset[str] | None = Field(
        default=None, description="other keys lose their events; null: all are known"
    )
    disabled_keys: frozenset[str] = Field(default=frozenset(), description="write keys of disabled sources")
    locked_keys: frozenset[str] = Field(default=frozenset(), description="write keys of locked workspaces")
    rate_limit: int = Field(default=0, ge=0, description="per second, answered 429 above it; 0: no limit")
    rate_limit_counts: Literal["requests", "events"] = Field(
        default="requests", description="what the rate limit counts"
    )
    rate_limit_scope: Literal["workspace", "key"] = Field(default="workspace", description="what shares one rate limit")

    @classmethod
    def from_json(cls, document: bytes) -> Self:
        """Read switches from a JSON object; what it leaves out has its default.

        Raises:
            SwitchesError: the document is no such object; the message names the switch.
        """
        try:
            return cls.model_validate_json(document)
        except ValidationError as error:
            raise SwitchesError(_complaint(error)) from error


def _complaint(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    name = first["loc"][0] if first["loc"] else None
    if first["type"] == "extra_forbidden":
        return f'unknown switch "{name}"; allowed: {", ".join(Switches.model_fields)}'
    if name is None:
        return f"switches must be a JSON object: {first['msg']}"
    return f"switch {name}: {first['msg']}"
