"""Dead letters that a gateway writes: events that it can neither hand on nor lose."""

import asyncio
import secrets
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from redis.asyncio import Redis
from redis.exceptions import RedisError

from pombo.gateway.catalogue import Catalogue
from pombo.shared.batches import partition_of
from pombo.shared.clock import Clock, iso
from pombo.shared.connection import astray, forsake, transient
from pombo.shared.deadletters import LetterHeader, Reason, row_of
from pombo.shared.errors import StoredVersionError
from pombo.shared.keys import Keys
from pombo.shared.logs import get_logger
from pombo.shared.scripts import Argument, script
from pombo.shared.sources import Source

BUDGET_S = 2.0
"""Seconds in which letters must be stored."""
PAUSE_S = 0.05
"""Seconds between two tries."""
MOST_LETTERS = 500
MOST_BYTES = 4 << 20
"""Of one call, if it holds those of more than one request: a millisecond or two of the server."""
SESSION_S = 172_800
"""Seconds for which Redis remembers the last call."""

Fate = Literal["kept", "full", "unavailable", "unknown_source"]

log = get_logger("pombo.gateway.letters")


@dataclass(frozen=True, slots=True)
class Letter:
    """An event that is dead from the start."""

    reason: Reason
    type: str
    """Under which the ledger counts it as accepted."""
    ordering_key: str
    """Empty where it has none."""
    payload: bytes
    code: str
    message: str

    def header(self, partitions: int, at: str) -> bytes:
        """Its header, as stored."""
        attempt: Any = {"at": at, "status": None, "outcome": self.code, "note": self.message}
        return LetterHeader(
            reason=self.reason,
            partition=partition_of(self.ordering_key, partitions),
            accepted_at=at,
            answer=self.message,
            history=[attempt],
        ).dump()


@dataclass(slots=True)
class _Order:
    letters: Sequence[Letter]
    done: asyncio.Future[Fate]


class Letterbox:
    """Write the letters of one source, a call at a time.

    1. Letters of a request are put in together, and are stored together or not at all.
    2. One call carries those of all requests that came while the last one was under way.
    3. It is repeated under the same sequence until its answer comes or its budget ends. Then it is given up, and the
       next call's higher sequence makes it stale: it will not be applied any more.
    """

    def __init__(self, redis: Redis, keys: Keys, source: str, catalogue: Catalogue, clock: Clock) -> None:
        self._redis = redis
        self._keys = keys
        self._name = source
        self._catalogue = catalogue
        self._clock = clock
        self._session = secrets.token_hex(12)
        self._sequence = 0
        self._orders: deque[_Order] = deque()
        self._task: asyncio.Task[None] | None = None

    async def put(self, letters: Sequence[Letter]) -> Fate:
        """Store letters; what became of them, known within a multiple of the budget."""
        if not letters:
            return "kept"
        order = _Order(letters, asyncio.get_running_loop().create_future())
        self._orders.append(order)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work(), name=f"letters {self._name}")
        return await order.done

    async def close(self) -> None:
        """Wait for what is under way."""
        if self._task is not None:
            await asyncio.wait({self._task})

    async def _work(self) -> None:
        while self._orders:
            orders = self._next()
            try:
                fate = await self._write([letter for order in orders for letter in order.letters])
            except Exception:
                log.exception("letters.failed", source=self._name)
                fate = "unavailable"
            for order in orders:
                if not order.done.done():
                    order.done.set_result(fate)

    def _next(self) -> list[_Order]:
        """The orders of one call: the oldest, and those that fit beside it."""
        orders = [self._orders.popleft()]
        count, size = _measure(orders[0])
        while self._orders:
            more, bytes_more = _measure(self._orders[0])
            count, size = count + more, size + bytes_more
            if count > MOST_LETTERS or size > MOST_BYTES:
                break
            orders.append(self._orders.popleft())
        return orders

    async def _write(self, letters: Sequence[Letter]) -> Fate:
        self._sequence += 1
        ends = self._clock.monotonic() + BUDGET_S
        args: list[Argument] = []
        while True:
            try:
                source = await self._catalogue.get(self._name)
                if source is None:
                    return "unknown_source"
                args = args or self._args(source, letters)
                reply = await self._ask(args)
            except StoredVersionError as error:
                log.warning("letters.not_stored", source=self._name, error=str(error))
                return "unavailable"
            except (RedisError, OSError) as error:
                if astray(error):
                    await forsake(self._redis)
                if self._clock.monotonic() >= ends or not transient(error):
                    log.warning("letters.not_stored", source=self._name, letters=len(letters), error=str(error))
                    return "unavailable"
                await self._clock.sleep(PAUSE_S)
                continue
            if (fate := self._fate(reply)) is not None:
                return fate
            args = []
            if self._clock.monotonic() >= ends:
                return "unavailable"

    async def _ask(self, args: list[Argument]) -> bytes:
        of = self._keys.of(self._name)
        keys = [of.ledger, of.session(self._session), of.dead, of.dead_table, of.dead_groups]
        reply = await script("dead_append").acall(self._redis, keys, args)
        return bytes(reply[0])

    def _fate(self, reply: bytes) -> Fate | None:
        """What an answer means; None: ask again, with the settings read anew."""
        match reply:
            case b"ok":
                return "kept"
            case b"full":
                return "full"
            case b"stale":
                # Somebody continued our session, such as a resumed snapshot of this process.
                self._session, self._sequence = secrets.token_hex(12), 0
                return "unavailable"
        self._catalogue.forget(self._name)
        return None

    def _args(self, source: Source, letters: Sequence[Letter]) -> list[Argument]:
        at = iso(self._clock.now())
        types = Counter(letter.type for letter in letters)
        told = ",".join(f"{kind}={count}" for kind, count in types.items())
        args: list[Argument] = [source.incarnation, self._sequence, source.dead_bytes, SESSION_S, told]
        for letter in letters:
            header = letter.header(source.partitions, at)
            args += [letter.reason, header, letter.payload, 1, *row_of(header, letter.payload).arguments]
        return args


def _measure(order: _Order) -> tuple[int, int]:
    return len(order.letters), sum(len(letter.payload) for letter in order.letters)
