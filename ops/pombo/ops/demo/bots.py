"""The demo's bots: real producers that talk to made-up people, and now and then send the same event twice."""

import asyncio
import random
from collections.abc import Mapping
from typing import Any

from pombo.ops.demo.faults import BAD_EVENT
from pombo.ops.demo.tally import Tally
from pombo.ops.dialogues import events, generate
from pombo.producer import AsyncProducer
from pombo.shared.settings import Settings

TALKERS = 8
"""Conversations that a bot has at once."""
AGAIN = 0.06
"""Share of events that are offered a second time."""
BAD_EVERY = 400
"""Events after which one is broken."""
BAD_IDS = [f"bad-{number}" for number in range(1000)]


class Bots:
    """Talk at `rate` events a second in all, until told to stop."""

    def __init__(self, sources: Mapping[str, str], settings: Settings, tally: Tally, rate: float) -> None:
        self._sources = list(sources)
        self._settings = settings
        self._tally = tally
        self._pause = len(self._sources) * TALKERS / rate
        self._bad = iter(BAD_IDS)
        self._since_bad = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Talk until `stop` is set; every event has its outcome when this returns."""
        async with asyncio.TaskGroup() as group:
            for number, source in enumerate(self._sources):
                group.create_task(self._bot(source, number, stop))

    async def _bot(self, source: str, number: int, stop: asyncio.Event) -> None:
        async with AsyncProducer(source, settings=self._settings) as pombo, asyncio.TaskGroup() as group:
            for talker in range(TALKERS):
                seed = number * TALKERS + talker
                group.create_task(self._talk(pombo, seed, stop))

    async def _talk(self, pombo: AsyncProducer, seed: int, stop: asyncio.Event) -> None:
        rng = random.Random(seed)
        for dialogue in generate(seed):
            for event in events(dialogue):
                if await _stopped(stop, rng.uniform(0.5, 1.5) * self._pause):
                    return
                await self._send(pombo, self._maybe_bad(event), rng)

    def _maybe_bad(self, event: dict[str, Any]) -> dict[str, Any]:
        self._since_bad += 1
        if self._since_bad < BAD_EVERY or event["type"] != "track":
            return event
        self._since_bad = 0
        bad = next(self._bad, None)
        return event if bad is None else {**event, "event": BAD_EVENT, "messageId": bad}

    async def _send(self, pombo: AsyncProducer, event: dict[str, Any], rng: random.Random) -> None:
        receipt = await pombo.enqueue(event)
        self._tally.note(event["userId"], event["messageId"], receipt.outcome, again=False)
        if rng.random() < AGAIN:
            receipt = await pombo.enqueue(event)
            self._tally.note(event["userId"], event["messageId"], receipt.outcome, again=True)


async def _stopped(stop: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return False
    return True
