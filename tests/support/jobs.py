"""What tests of jobs share: dead letters, a clock that jumps, and what RQ keeps of a job that is killed on time."""

import signal
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from redis.asyncio import Redis
from redis.client import Redis as SyncRedis
from rq import SimpleWorker
from rq.serializers import JSONSerializer

from pombo.shared import batches
from pombo.shared.deadletters import Attempt, LetterHeader
from pombo.shared.keys import SourceKeys
from pombo.worker.jobs import queue


def do_jobs(redis: SyncRedis) -> int:
    """Do every job that waits, in this process, by RQ's own worker; how many runs failed."""
    worker = SimpleWorker([queue(redis)], connection=redis, serializer=JSONSerializer)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        worker.work(burst=True, logging_level="CRITICAL")
    finally:
        # RQ leaves its own behind, which would have the tests' process end by an error of RQ's.
        for number, handler in before.items():
            signal.signal(number, handler)
    failures: Any = redis.hget(worker.key, "failed_job_count")
    return int(failures or 0)


class KilledError(Exception):
    """The process of a job was killed."""


class KeptJob:
    """What RQ keeps of a job; storing the meta fails at the `dies_at`-th time, as when the process is killed."""

    def __init__(self, meta: dict[str, Any] | None = None, *, dies_at: int = 0) -> None:
        self.meta = meta or {}
        self.stored = orjson.dumps(self.meta)
        self._left = dies_at

    def save_meta(self) -> None:
        """Store `meta`, or be killed before."""
        self._left -= 1
        if self._left == 0:
            raise KilledError
        self.stored = orjson.dumps(self.meta)

    def again(self, *, dies_at: int = 0) -> "KeptJob":
        """The job as the next run finds it."""
        return KeptJob(orjson.loads(self.stored), dies_at=dies_at)


class JumpingClock:
    """Time that passes only while somebody waits for it."""

    def __init__(self) -> None:
        self.elapsed = 0.0

    def now(self) -> datetime:
        """The wall clock."""
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.elapsed)

    def monotonic(self) -> float:
        """Seconds since the beginning."""
        return self.elapsed

    async def sleep(self, seconds: float) -> None:
        """Let so much time pass."""
        self.elapsed += seconds


async def bury(
    redis: Redis, of: SourceKeys, *ids: str, reason: str = "poison", partition: int = 0, user: str = "u1",
    died_ms: int | None = None, history: Sequence[Attempt] = (), accepted_at: str | None = None, events: int = 1,
) -> list[str]:  # fmt: skip
    """Store dead letters and count them, as a worker would, from `died_ms` on if given; return their stream ids."""
    header = LetterHeader(reason, partition, accepted_at, attempts=len(history), history=history).dump()
    size = 0
    async with redis.pipeline(transaction=False) as pipe:
        for number, message_id in enumerate(ids):
            event = {"messageId": message_id, "type": "track", "userId": user, "event": "Message Sent"}
            payload = b"\x01 junk" if reason == "corrupt" else orjson.dumps(event)
            fields: dict[Any, Any] = {"h": header, "b": payload, **({"n": events} if events > 1 else {})}
            size += len(header) + len(payload)
            pipe.xadd(of.dead, fields, id="*" if died_ms is None else f"{died_ms}-{number + 1}")
        for counter in ("accepted", "dead", f"dead:{reason}"):
            pipe.hincrby(of.ledger, counter, len(ids) * events)
        pipe.hincrby(of.ledger, "dead_bytes", size)
        return [stream_id.decode() for stream_id in (await pipe.execute())[: len(ids)]]


async def queued(redis: Redis, of: SourceKeys, partitions: int = 2) -> list[str]:
    """What waits in the streams, in order, by messageId."""
    found: list[str] = []
    for partition in range(partitions):
        stored: Any = await redis.xrange(of.stream(partition))
        for _, fields in stored:
            bodies = batches.decode(fields[b"b"], int(fields[b"n"]), int(fields[b"r"]))
            found += [batches.message_id(body).decode() for body in bodies]
    return found


def numbered(count: int, start: int = 0) -> list[str]:
    """So many messageIds."""
    return [f"m{number:05}" for number in range(start, start + count)]
