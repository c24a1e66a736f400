"""Answers that come late: Segment has given them, and the worker hears them when the test says so."""

import asyncio

from pombo.worker.answers import Answer
from pombo.worker.direct import DirectTransport
from pombo.worker.transport import Request


class LateAnswers(DirectTransport):
    """The real transport, which keeps each answer until it is let through."""

    def __init__(self) -> None:
        super().__init__()
        self.answered = asyncio.Event()
        """Set when the first answer has come."""
        self.let_through = asyncio.Event()

    async def post(self, request: Request) -> Answer:
        """Send `request` once."""
        answer = await super().post(request)
        self.answered.set()
        await self.let_through.wait()
        return answer
