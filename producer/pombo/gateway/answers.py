"""What the gateway answers: always JSON, never a redirect.

| status | when | what an SDK does |
|---|---|---|
| 200 | everything is durable, or will never be | goes on |
| 400, 413, 415 | nobody will ever be able to read it | drops it |
| 401 | nobody has this key, and the registry could be read | drops it |
| 404, 405, 431 | it is no request of ours | – |
| 408 | its body did not come in time | sends it again |
| 429 | more than can be taken now | waits for `Retry-After`, sends it again |
| 503 | it cannot be made durable now | the same |
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import orjson

from pombo.shared.errors import PomboError

JSON = (b"content-type", b"application/json")
ROUTES = (
    ("v1", "Segment's are /v1/batch and /v1/track, identify, page, screen, group, alias"),
    ("blip", "Blip's are /blip/SOURCE and /blip/SOURCE/messages, events, contacts"),
    ("quickbot", "QuickBot's is /quickbot/SOURCE"),
)
"""What a path begins with, and the routes that begin so."""
LONGEST_WAIT_S = 60
"""Seconds of the longest `Retry-After`; SDKs obey up to 300."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer; `headers` stand beside content type and length."""

    status: int
    body: bytes
    headers: Sequence[tuple[bytes, bytes]] = field(default=())
    content_type: tuple[bytes, bytes] = JSON


class Refusal(PomboError):  # noqa: N818 - an answer's name, as users read it
    """A request that is not taken: its answer's status, a code for programs, a sentence for people."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        retry_after_s: int | None = None,
        field: str | None = None,
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        super().__init__(status, code, message)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after_s = retry_after_s
        self.field = field
        self.headers = headers

    def __str__(self) -> str:
        return self.message

    def answer(self) -> Answer:
        """The same as an answer."""
        headers = [*self.headers]
        if self.retry_after_s is not None:
            headers.append((b"retry-after", str(self.retry_after_s).encode()))
        return Answer(self.status, problem(self.code, self.message, self.field), headers)


def problem(code: str, message: str, name: str | None = None) -> bytes:
    """The body of a refusal; `name` is the field that is wrong, where it is one."""
    told = {"success": False, "code": code, "message": message}
    return orjson.dumps(told if name is None else {**told, "field": name})


def unknown_route(path: str) -> Refusal:
    """The refusal of a path that is none of ours: it names the routes of the platform that it means, or of all."""
    beginning = path.lstrip("/").partition("/")[0]
    near = [routes for name, routes in ROUTES if name == beginning]
    told = "; ".join(near or [routes for _, routes in ROUTES])
    return Refusal(404, "not_found", f"{path[:100]!r} is no route of this gateway; {told}")


SUCCESS = Answer(200, b'{"success": true}')
"""The spaces are Segment's."""


def partly(rejected: Sequence[Mapping[str, object]]) -> Answer:
    """All that was sound is durable; the rest is kept as dead letters, and told by index, code and message."""
    return Answer(200, orjson.dumps({"success": True, "rejected": rejected})) if rejected else SUCCESS


def wait_s(lasting_s: float, rng: random.Random) -> int:
    """Whole seconds to wait, after a trouble that has lasted for so long: half of that, and some more at random.

    Growing, because SDKs count their attempts (Node: 30) before they drop a batch; at random, so that those who
    were turned away together do not come back together.
    """
    base = min(max(lasting_s / 2, 1.0), LONGEST_WAIT_S / 2)
    return round(base * (1 + rng.random()))
