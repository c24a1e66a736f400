"""Segment, as the simulated workers meet it: takes requests in, answers as it is told, and forgets nothing."""

import gzip
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from chaos.world import Process
from pombo.worker.answers import Answer
from pombo.worker.transport import Request


@dataclass(eq=False)
class Sending:
    """One request, from the moment a worker began to send it."""

    number: int
    worker: Process
    ids: list[str]
    users: set[str]
    raw: bytes
    """The serialised events, as they were between the brackets of `batch`."""
    begun_at: float
    state: Any = None
    """What a watch noted when it began."""
    arrived_at: float | None = None
    answered: bool = False
    """Whether the worker got a 200 for it."""
    delay_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Reply:
    """What Segment does with a request: its answer, whether it takes the events in, and whether anybody hears of it."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b'{"success":true}'
    heard: bool = True
    delay_s: float = 0.0
    taken: bool | None = None

    @property
    def takes(self) -> bool:
        """Whether the events are taken in."""
        return self.status == 200 if self.taken is None else self.taken


WELL = Reply()
REFUSED = Reply(400, body=b'{"success":false,"message":"malformed JSON"}')
Mood = Callable[[Sending], Reply]


@dataclass
class SimSegment:
    """Take in requests; `mood` says what it does with each, `poison` which events it never takes."""

    mood: Mood = lambda _: WELL
    poison: frozenset[str] = frozenset()
    sendings: list[Sending] = field(default_factory=list)
    arrivals: list[tuple[str, Sending]] = field(default_factory=list)
    """Every messageId that was taken in, in order, with its request."""
    on_begin: list[Callable[[Sending], None]] = field(default_factory=list)

    def begin(self, worker: Process, request: Request) -> Sending:
        """Note that a worker sends a request now."""
        text = gzip.decompress(request.body)
        raw = text[len(b'{"batch":[') : text.rindex(b'],"sentAt"')]
        events = orjson.loads(text)["batch"]
        ids, users = [event["messageId"] for event in events], {event["userId"] for event in events}
        sending = Sending(len(self.sendings), worker, ids, users, raw, worker.world.now)
        self.sendings.append(sending)
        for look in self.on_begin:
            look(sending)
        return sending

    def take(self, sending: Sending) -> Answer | None:
        """Answer a request that has arrived; None when the answer is lost."""
        sending.arrived_at = sending.worker.world.now
        reply = REFUSED if self.poison and not self.poison.isdisjoint(sending.ids) else self.mood(sending)
        sending.delay_s = reply.delay_s
        if reply.takes:
            self.arrivals += [(message_id, sending) for message_id in sending.ids]
        return Answer(reply.status, dict(reply.headers), reply.body) if reply.heard else None


def in_turn(replies: Sequence[Reply]) -> Mood:
    """Give these answers one after the other, and then be well."""
    left = list(replies)

    def mood(_: Sending) -> Reply:
        return left.pop(0) if left else WELL

    return mood
