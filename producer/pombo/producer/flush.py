"""One flush: the oldest events of the buffer as one append, and what the append's answer means."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from redis.exceptions import NoScriptError, RedisError

from pombo.producer.spooled import Eventlike, Sent
from pombo.producer.steps import Argument, Ask, Flow, NotSentError
from pombo.shared.batches import MAX_EVENTS, SEPARATOR, RecordBatch, encode
from pombo.shared.connection import refused
from pombo.shared.keys import Keys
from pombo.shared.scripts import script

if TYPE_CHECKING:
    from pombo.shared.sources import Source

MAX_BATCHES = 64
"""Record batches in one append: keeps the script's run near a millisecond."""
MAX_RAW = 475_000
"""Bytes of one record batch before compression: one request to Segment holds it whole (design §6)."""
MAX_FLUSH_RAW = 8 << 20
"""Bytes of one append before compression: well inside a second, over a slow line."""
SESSION_S = 172_800
"""Seconds for which Redis remembers a producer session after its last append."""


_BETWEEN = len(SEPARATOR)


@dataclass(slots=True)
class _Draft:
    """A record batch that still takes events."""

    partition: int
    bodies: list[bytes] = field(default_factory=list)
    raw: int = 0


def cut(events: Sequence[Eventlike], partitions: int, *, whole: bool = False) -> tuple[int, list[_Draft]]:
    """Group the oldest events by partition, in order; return how many went in, and the drafts.

    As many as one append takes, or the `whole` of them.
    """
    drafts: list[_Draft] = []
    latest: dict[int, _Draft] = {}
    raw = count = 0
    for event in events:
        body = event.body
        size = len(body)
        partition = event.hash % partitions
        draft = latest.get(partition)
        if raw + size > MAX_FLUSH_RAW and count and not whole:
            break
        if draft is None or len(draft.bodies) == MAX_EVENTS or draft.raw + size > MAX_RAW:
            if len(drafts) == MAX_BATCHES and not whole:
                break
            draft = latest[partition] = _Draft(partition)
            drafts.append(draft)
        draft.bodies.append(body)
        draft.raw += size + _BETWEEN
        raw += size
        count += 1
    return count, drafts


class Flush:
    """One append, the same bytes at each attempt.

    1. Made of the oldest events; its sequence is its idempotency token.
    2. Sent, maybe often. Once an answer stayed out it is `doubtful`: it may be in the queue, so it can
       neither be changed nor called unwritten.
    3. Settled by an answer, or given up event by event as their budgets end.
    """

    def __init__(
        self,
        events: Sequence[Eventlike],
        source: "Source",
        keys: Keys,
        session: str,
        sequence: int,
        *,
        whole: bool = False,
    ) -> None:
        self.source = source
        self.sent = Sent(session, sequence, source.incarnation)
        self.doubtful = False
        self.known = 0
        """Events of its session that Redis accepted before, if it must know of them; 0 when that is not known."""
        self.count, drafts = cut(events, source.partitions, whole=whole)
        """Events not given up yet."""
        self.events = events[: self.count]
        """All of its events, given up or not."""
        self.partitions = sorted({draft.partition for draft in drafts})
        self.batches = [(draft.partition, encode(draft.bodies)) for draft in drafts]
        self.size = sum(len(batch.payload) for _, batch in self.batches)
        """Bytes that it adds to the source's backlog."""
        types = Counter(event.type for event in self.events)
        own = keys.of(source.name)
        self.keys = [
            own.ledger,
            own.session(session),
            *(own.stream(partition) for partition, _ in self.batches),
            own.losses,
        ]
        self.args: list[Argument] = [
            source.incarnation,
            sequence,
            source.backlog_bytes,
            SESSION_S,
            keys.wake,
            ",".join(f"{kind}={number}" for kind, number in types.items()),
        ]
        for partition, batch in self.batches:
            self.args += _batch_args(source.name, partition, batch)

    def command(self, *script: Argument) -> tuple[Argument, ...]:
        """The command that runs the script: `EVALSHA` and its hash, or `EVAL` and its text."""
        return (*script, len(self.keys), *self.keys, *self.args, self.known)

    def fitting(self, queued: int) -> int:
        """How many of its events a backlog that holds `queued` bytes may still take, by their mean size."""
        return int(0.9 * self.count * max(self.source.backlog_bytes - queued, 0) / self.size)


def _batch_args(source: str, partition: int, batch: RecordBatch) -> tuple[Argument, ...]:
    return (f"{source}/{partition}", batch.events, batch.raw, batch.payload)


class Answer(NamedTuple):
    """The append's answer.

    `queued` is the backlog's bytes, where it says them; `total` the events accepted in the session up to now, and
    `forgotten` how many of those before Redis had lost.
    """

    kind: Literal["ok", "full", "stale", "unknown"]
    queued: int = 0
    total: int = 0
    forgotten: int = 0


def read_answer(reply: Any) -> Answer:
    """Read what the append script returned.

    Raises:
        ValueError: it is none of its answers.
    """
    match reply:
        case [b"ok", int(queued), int(), int(total), int(forgotten), *_]:
            return Answer("ok", queued, total, forgotten)
        case [b"ok", int(queued), *_]:  # Stored by an older pombo, whose append is repeated.
            return Answer("ok", queued)
        case [b"full", int(queued)]:
            return Answer("full", queued)
        case [b"stale"]:
            return Answer("stale")
        case [b"unknown"]:
            return Answer("unknown")
    raise ValueError(f"the append script answered {reply!r}, which this pombo does not know; upgrade pombo here")


def append(flush: Flush, timeout_s: Callable[[], float]) -> Flow[Answer]:
    """Send a flush; it stays doubtful unless an answer says what became of it. `timeout_s` is asked for each command.

    Raises:
        NotSentError: it was not sent.
        RedisError: it was refused, or its answer stayed out.
        ValueError: the answer is none of the script's.
    """
    before = flush.doubtful
    try:
        try:
            reply = yield from _send(flush, timeout_s(), "EVALSHA", script("append").sha)
        except NoScriptError:
            reply = yield from _send(flush, timeout_s(), "EVAL", script("append").text)
    except NotSentError:
        flush.doubtful = before
        raise
    except RedisError as error:
        if refused(error):
            flush.doubtful = before
        raise
    answer = read_answer(reply)
    # Neither says what became of an earlier attempt: there was room then, or there was the source.
    flush.doubtful = before and answer.kind in {"full", "unknown"}
    return answer


def _send(flush: Flush, timeout_s: float, *command: Argument) -> Flow[object]:
    flush.doubtful = True
    return (yield Ask(flush.command(*command), timeout_s))
