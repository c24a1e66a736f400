"""One connection to Segment, by HTTP/1.1: requests one after the other, each with its answer and its limits of time."""

import asyncio
import select
from typing import cast

from pombo.worker.answers import Answer
from pombo.worker.http1 import ProtocolError, ResponseParser


class Connection(asyncio.Protocol):
    """One connection: one request after the other, and an answer to each."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[None] = self._loop.create_future()
        self.idle_since = 0.0
        self.reusable = False
        """Whether another request may follow: the last answer is read to its end, and nothing has come since."""
        self._transport: asyncio.Transport
        self._parser = ResponseParser()
        self._answer: asyncio.Future[Answer] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timeout_s = 0.0
        self._begun = self._moved = 0.0
        self._headed: float | None = None
        self._writing = False

    # -- for its owner --------------------------------------------------------------------------------------------

    async def exchange(self, data: bytes, timeout_s: float) -> Answer:
        """Send a request and read its answer; `timeout_s` is for each step, and twice that for the whole."""
        if self._transport.is_closing():
            return Answer(None, failure="ConnectError: the connection was lost before anything was sent")
        self.reusable = False  # Whoever cancels this leaves an answer on its way, which is no later request's.
        self._parser, self._answer, self._headed = ResponseParser(), self._loop.create_future(), None
        self._timeout_s = timeout_s
        self._begun = self._moved = self._loop.time()
        self._transport.write(data)
        self._watch()
        try:
            return await self._answer
        finally:
            self._answer = None
            if self._timer is not None:
                self._timer.cancel()

    def usable(self) -> bool:
        """Whether it is still open, as far as can be known here: nothing has come since, not even an end."""
        return self.reusable and not self._transport.is_closing() and not _readable(self._transport)

    def close(self) -> None:
        """Close it at once; who waits for an answer gets one."""
        self.reusable = False
        self._transport.abort()

    # -- for the event loop ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        # Also TLS's transports, which are no asyncio.Transport by type in each version of Python.
        self._transport = cast("asyncio.Transport", transport)
        # So as to be told whenever something waits to be written, whose time is limited. (With 0 TLS always waits.)
        self._transport.set_write_buffer_limits(high=1, low=0)

    def pause_writing(self) -> None:
        """Note that the other side takes its time."""
        self._writing = True

    def resume_writing(self) -> None:
        """Note that all is written."""
        self._writing = False
        self._moved = self._loop.time()

    def data_received(self, data: bytes) -> None:
        """Take in a part of the answer."""
        if self._answer is None or self._answer.done():
            self.close()  # Nobody asked, so whose answer is it?
            return
        self._moved = self._loop.time()
        try:
            self._parser.feed(data)
        except ProtocolError as error:
            self._end(Answer(None, failure=f"RemoteProtocolError: the server sent {error}", unknown=True))
            return
        if self._parser.done:
            self._end(self._found(), reusable=self._parser.reusable and not self._writing)
        elif self._parser.status is not None and self._headed is None:
            self._headed = self._moved

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits."""
        self.reusable = False
        self.lost.set_result(None)
        if self._parser.status is not None:
            self._end(self._found())
        elif exc is not None:
            self._end(Answer(None, failure=f"ReadError: {exc}", unknown=True))
        else:
            failure = "RemoteProtocolError: the connection was closed without an answer"
            self._end(Answer(None, failure=failure, unknown=True))

    # -- answers --------------------------------------------------------------------------------------------------

    def _found(self) -> Answer:
        assert self._parser.status is not None
        return Answer(self._parser.status, self._parser.headers, bytes(self._parser.body))

    def _end(self, answer: Answer, *, reusable: bool = False) -> None:
        if self._answer is None or self._answer.done():
            return
        self._answer.set_result(answer)
        self.reusable = reusable
        if not reusable:
            self._transport.abort()

    def _watch(self) -> None:
        """End the wait when its time is over, or look again by then."""
        step, now = self._timeout_s, self._loop.time()
        waiting = min(self._moved + step, self._begun + 2 * step)
        due = waiting if self._headed is None else self._headed + step
        if now < due:
            self._timer = self._loop.call_at(due, self._watch)
        elif self._headed is not None:
            self._end(self._found())
        else:
            self._end(self._too_late(now))

    def _too_late(self, now: float) -> Answer:
        if now >= self._begun + 2 * self._timeout_s:
            failure = f"no whole answer within {2 * self._timeout_s:g} s"
        elif self._writing:
            failure = f"WriteTimeout: the request was not taken within {self._timeout_s:g} s"
        else:
            failure = f"ReadTimeout: no answer within {self._timeout_s:g} s"
        return Answer(None, failure=failure, unknown=True, late=True)


def _readable(transport: asyncio.Transport) -> bool:
    """Whether something has come that the event loop has not read yet."""
    if not hasattr(select, "poll"):
        return False
    look = select.poll()
    look.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
    return bool(look.poll(0))
