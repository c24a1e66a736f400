"""What is told of a request: to the metrics, the console's signals, the log, and the history of its events."""

from typing import TYPE_CHECKING

from pombo.shared.clock import iso, moment
from pombo.shared.deadletters import Attempt
from pombo.shared.logs import get_logger
from pombo.worker.answers import Answer, Outcome, Verdict
from pombo.worker.parts import Chunk
from pombo.worker.transport import Request

if TYPE_CHECKING:
    from pombo.worker.delivery import Tools

LOGGER = "pombo.worker.delivery"
log = get_logger(LOGGER)

_NOTE_CHARACTERS = 200


def history(answer: Answer, verdict: Verdict, at_ms: int, seconds: float) -> Attempt:
    """An attempt as its events' histories have it; it was answered at `at_ms`, after so many seconds."""
    attempt: Attempt = {
        "at": iso(moment(at_ms)), "status": answer.status, "outcome": verdict.outcome.value,
        "duration_s": round(seconds, 3), "note": answer.text()[:_NOTE_CHARACTERS],
    }  # fmt: skip
    return attempt if answer.status is not None else {**attempt, "unknown": verdict.unknown}


def tell_attempt(
    tools: "Tools", name: str, chunk: Chunk, request: Request, *, answer: Answer, verdict: Verdict, seconds: float
) -> None:
    """Tell of a request of the source `name` that was answered after so many seconds."""
    metrics = tools.metrics
    metrics.requests.labels(name, str(answer.status or "error")).inc()
    metrics.request_seconds.labels(name).observe(seconds)
    metrics.request_events.labels(name).observe(chunk.events)
    metrics.request_bytes.labels(name).observe(len(request.body))
    delivered = verdict.outcome is Outcome.DELIVERED
    tools.signals.requested(name, answer.status, delivered=delivered)
    if delivered:
        # What was sent before, and never answered, may have arrived then too.
        if again := sum(len(indices) for part, indices in chunk.slices if part.unknown_since):
            metrics.resent.labels(name).inc(again)
    else:
        metrics.retries.labels(name, verdict.outcome.value).inc()
        if verdict.wait is not None:
            metrics.retry_wait_seconds.labels(name).observe(verdict.wait)
    # What Segment took can hold no secret, and is the line that comes by the hundred a second.
    told = tools.delivered_log if delivered else log
    told.info(
        "delivery.attempted", source=name, partitions=[part.partition for part in chunk.parts],
        request=chunk.parts[0].record, events=chunk.events, bytes=len(request.body), attempt=chunk.sends,
        status=answer.status, duration_s=round(seconds, 4), outcome=verdict.outcome.value,
        failure=answer.failure or None, wait_s=verdict.wait,
    )  # fmt: skip


def tell_age(tools: "Tools", name: str, chunk: Chunk, now_ms: int) -> None:
    """Tell how old the events of an accepted request were."""
    histogram, tally = tools.metrics.end_to_end_seconds.labels(name), tools.signals.of(name)
    for part in chunk.parts:
        for entry in part.entries:
            age_s = max(0, now_ms - entry.accepted_ms) / 1000
            histogram.observe(age_s)
            tally.aged(age_s)
