"""The sender: lines in, events out, and never more of them under way than can be remembered."""

import time
from collections import deque
from collections.abc import Iterator
from contextlib import nullcontext
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple, Self

from pombo.ops.cli.interrupts import Interrupts
from pombo.ops.cli.lines import Line, read_lines
from pombo.ops.cli.rejects import Reject, Rejects
from pombo.producer import Producer, Receipt, Rejected, Spooled
from pombo.shared.messageids import new_message_id
from pombo.shared.settings import Settings

UNDER_WAY = 5_000
"""Events whose outcome is still open, at most: half of the producer's buffer."""
STRIDE = 50
"""Lines between two looks at the progress."""
LOOK_S = 0.05
"""Between two looks at how the spool drains."""
COMPLAINTS = 100
"""Rejects that are kept to be told; the file has all."""


class _Sent(NamedTuple):
    line: int
    event: dict[str, Any]
    receipt: Receipt


class Sender:
    """Send a stream of lines to one source, and count what became of them; used once.

    As a context manager it sends what is left at its end, also when it was interrupted. Redis may take
    `patience_s` seconds to accept an event: more than in a bot, as nobody's dialogue waits for it.
    """

    def __init__(self, source: str, rejects: Rejects, settings: Settings, *, lenient: bool, patience_s: float) -> None:
        self.source = source
        self.rejects = rejects
        self.accepted = self.spooled = self.lines = 0
        """Events accepted, those of them by way of the spool, and the number of the last line read."""
        self.complaints: list[str] = []
        self._settings = settings
        self._strict = not lenient
        self._patience_s = patience_s
        self._open: deque[_Sent] = deque()
        self._producer = Producer(
            source,
            settings=settings,
            budget_s=patience_s,
            when_full="block",
            block_timeout_s=patience_s,
            buffer_events=2 * UNDER_WAY,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._producer.close()
            self._settle(0)
        finally:
            self.rejects.close()

    def send(self, stream: BinaryIO) -> Iterator[int]:
        """Send every line; yield now and then the bytes read so far. Ctrl-C ends it between lines, or in a wait."""
        lines = read_lines(stream)
        with Interrupts() as interrupts:
            while True:
                with interrupts.admitted:
                    line = next(lines, None)
                if line is None:
                    break
                self._take(line)
                self.lines = line.number
                self._settle(UNDER_WAY, interrupts)
                if line.number % STRIDE == 0:
                    yield line.end
            self._producer.flush(0)
            self._settle(0, interrupts)

    def drain(self) -> None:
        """Wait while the spool, if there is one, brings the source's events to Redis; not for a Redis that is away."""
        least, ends = self.held() + 1, 0.0
        while held := self.held():
            now = time.monotonic()
            if held < least:
                least, ends = held, now + self._patience_s
            elif now >= ends:
                return
            time.sleep(LOOK_S)

    def held(self) -> int:
        """Events of the source in the spool."""
        settings = self._settings
        if settings.spool_dir is None or settings.disabled:
            return 0
        from pombo.producer.spool import read_spool, spool_path

        spooled = read_spool(spool_path(settings.spool_dir, settings.namespace))
        return sum(one.events for one in spooled if one.source == self.source)

    def _take(self, line: Line) -> None:
        if line.event is None:
            message = f"line {line.number}: {line.complaint}"
            self._reject(Reject(line.number, "invalid", None, message, text=line.text))
            return
        event = line.event
        if not (event.get("messageId") or event.get("message_id")):
            # Here, and not in the producer: an event in the rejects file may be sent again only with its id.
            event = {**{k: v for k, v in event.items() if k != "message_id"}, "messageId": new_message_id()}
        self._open.append(_Sent(line.number, event, self._producer.enqueue(event, strict=self._strict)))

    def _settle(self, most: int, interrupts: Interrupts | None = None) -> None:
        """Read receipts, oldest first, until at most `most` are open; those known already are read anyway."""
        while self._open and (len(self._open) > most or self._open[0].receipt.done):
            sent = self._open[0]
            with interrupts.admitted if interrupts else nullcontext():
                sent.receipt.wait()
            self._open.popleft()
            self._note(sent)

    def _note(self, sent: _Sent) -> None:
        outcome = sent.receipt.outcome
        if isinstance(outcome, Rejected):
            message = f"line {sent.line}: {outcome.message}"
            self._reject(Reject(sent.line, outcome.reason, outcome.field, message, event=sent.event))
            return
        self.accepted += 1
        self.spooled += isinstance(outcome, Spooled)

    def _reject(self, reject: Reject) -> None:
        self.rejects.add(reject)
        if len(self.complaints) < COMPLAINTS:
            self.complaints.append(reject.message)
