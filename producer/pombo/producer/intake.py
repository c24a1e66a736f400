"""What happens to an event before it is buffered: it is checked and serialised, or refused."""

from collections.abc import Mapping

from pombo.producer.buffer import Offer, Pending
from pombo.producer.calls import Event
from pombo.producer.options import Options
from pombo.producer.receipts import Accepted, Reason, Receipt, Rejected
from pombo.producer.rejections import Rejections
from pombo.shared.clock import Clock
from pombo.shared.errors import InvalidEvent
from pombo.shared.prepared import prepare


class Intake:
    """Check events of one producer; never raises for what an event holds."""

    def __init__(self, options: Options, rejections: Rejections, clock: Clock, *, disabled: bool) -> None:
        self._options = options
        self._rejections = rejections
        self._now = clock.now
        self._disabled = disabled

    def admit(self, event: Event, ordering_key: str | None, strict: bool) -> Pending | Receipt:
        """Make an event ready for the buffer; a settled receipt means that it goes no further.

        That is a refused event, or under `POMBO_DISABLED=1` a sound one: accepted, with nothing written.
        """
        try:
            prepared = prepare(event, now=self._now(), ordering_key=ordering_key, strict=strict)
        except InvalidEvent as error:
            reason: Reason = "too_large" if error.code == "too_large" else "invalid"
            message, field = error.message, error.field
        except Exception as error:  # A mapping of the bot's own may raise anything; a call never does.
            reason, message, field = "invalid", f"the event cannot be read: {type(error).__name__}", ""
        else:
            if self._disabled:
                return Receipt(prepared.message_id, Accepted)
            return Pending(prepared)
        # Out here: a callback that fails is logged with what was being handled, and that may show a value.
        return self._refuse(event, reason, message, field)

    def turn_away(self, pending: Pending, offer: Offer) -> Receipt:
        """Reject a sound event that the buffer did not take."""
        name = self._options.source
        if offer is Offer.CLOSED:
            reason: Reason = "closed"
            message = f"the producer of source {name!r} is closed; enqueue before closing it, or make a new one"
        else:
            reason = "backlog_full"
            message = (
                f"this process already holds {self._options.buffer_events:,} events or "
                f"{self._options.buffer_bytes:,} bytes of source {name!r} that Redis has not taken; "
                "see `pombo status`, enqueue more slowly, or set when_full='block'"
            )
        rejected = Rejected(reason, message, None, pending.message_id)
        pending.settle(rejected)
        self._rejections.report(rejected, pending)
        return pending

    def _refuse(self, event: Event, reason: Reason, message: str, field: str) -> Receipt:
        message_id = _message_id(event)
        rejected = Rejected(reason, message, field, message_id)
        self._rejections.report(rejected, event)
        return Receipt(message_id, rejected)


def _message_id(event: object) -> str | None:
    """The messageId that a refused event came with, if it can be read."""
    try:
        given = event.get("messageId") or event.get("message_id") if isinstance(event, Mapping) else None
        given = given or getattr(event, "message_id", None)
    except Exception:
        return None
    return given if isinstance(given, str) else None
