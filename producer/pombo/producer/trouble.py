"""Why events could not be written: the reason, and the words for people."""

from dataclasses import dataclass

from pombo.producer.buffer import Pending
from pombo.producer.flush import Flush
from pombo.producer.receipts import Reason, Rejected
from pombo.producer.rejections import remedy


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why the last attempt failed; what waiting events are told when their time ends."""

    reason: Reason
    message: str

    @property
    def in_doubt(self) -> "Trouble":
        """The same for an event that may be written."""
        return Trouble(
            "unconfirmed",
            f"it may be written ({self.message}); send it again with the same message_id, and it is delivered once",
        )

    def rejection(self, pending: Pending) -> Rejected:
        """The outcome of an event that is given up."""
        return Rejected(self.reason, self.message, None, pending.message_id)


def unwritten(where: str, error: BaseException | None) -> Trouble:
    """Redis at `where` could not be reached, or refused."""
    cause = str(error) or type(error).__name__
    return Trouble("unavailable", f"writing to Redis at {where} failed: {cause}; {remedy(error)}")


def unknown_source(where: str, name: str) -> Trouble:
    """The registry has no such source."""
    return Trouble(
        "unknown_source",
        f"Redis at {where} has no source {name!r}; add it with `pombo sources add {name} --write-key -`",
    )


def no_ledger(name: str) -> Trouble:
    """The registry has the source, but it was removed, or its ledger is lost."""
    return Trouble("unavailable", f"source {name!r} has no ledger in Redis; see `pombo status`")


def backlog_full(flush: Flush, queued: int) -> Trouble:
    """The source's backlog is at its limit; a flush in doubt may be a part of it."""
    name, limit = flush.source.name, flush.source.backlog_bytes
    return Trouble(
        "unavailable" if flush.doubtful else "backlog_full",
        f"source {name!r} has {queued:,} bytes of events in Redis and its limit is {limit:,}; "
        "see with `pombo status` why its workers do not keep up, or raise its backlog limit",
    )
