"""One source's data in Redis, as its worker touches it: entries, records, leases, flow."""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import orjson

from pombo.shared import batches
from pombo.shared.audit import RECORD_VERSION
from pombo.shared.clock import Clock
from pombo.shared.deadletters import full_reason, row_of
from pombo.shared.errors import CorruptBatchError, StoredVersionError
from pombo.shared.flow import BLOCKED
from pombo.shared.keys import Keys
from pombo.shared.logs import get_logger
from pombo.shared.scripts import Argument
from pombo.shared.sources import Source
from pombo.worker.idempotency import Hashed, Table, members
from pombo.worker.limit import Closed, GroupBucket, limit_of
from pombo.worker.link import Link
from pombo.worker.memory import Memory
from pombo.worker.parts import Chunk, Entry, Part, after, ranges
from pombo.worker.watch import FIELDS, Sight

log = get_logger("pombo.worker.store")

_RECORD_FIELDS = {"id", "first", "last", "done", "attempts", "sent_at", "unknown_since", "failing_since"}
_DIGITS = 15
"""Of a count or size in an entry; Python refuses to read very long ones, and `bury` treats them the same."""

PROBE_EVERY_MS = 300_000


@dataclass(frozen=True, slots=True)
class RawEntry:
    """One stream entry as stored: id, events, raw bytes, payload."""

    id: str
    events: int
    raw: int
    payload: bytes

    def decode(self) -> Entry:
        """Raises StoredVersionError or CorruptBatchError."""
        return Entry(self.id, len(self.payload), self.raw, batches.decode(self.payload, self.events, self.raw))


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter to be written: which event, why, and its stored header."""

    part: Part
    index: int
    reason: str
    header: bytes


class SourceStore:
    """Do the I/O of one source; every decision is someone else's."""

    def __init__(self, link: Link, keys: Keys, source: Source, clock: Clock) -> None:
        self._link = link
        self._fleet = keys
        self._keys = keys.of(source.name)
        self._clock = clock
        self._group = GroupBucket(link, keys)
        self._offset_ms = 0.0
        self.memory = Memory(link, self._keys, self._time)
        self.source = source
        self.version = 0
        """The registry's, of the settings in `source`."""
        self.limit = limit_of(source, None)
        self.pace = 0
        """Events per second that Segment takes, as far as known, if that is less than our limit; 0: it is not."""

    # -- time -----------------------------------------------------------------------------------------------------

    def now_ms(self) -> int:
        """Redis' clock in ms, carried on by the monotonic clock since the last reply."""
        return int(self._clock.monotonic() * 1000 + self._offset_ms)

    def _note_time(self, now_ms: int) -> None:
        self._offset_ms = now_ms - self._clock.monotonic() * 1000

    async def _time(self) -> int:
        if not self._offset_ms:
            seconds, micro = await self._link.run("time", self._link.redis.time)
            self._note_time(seconds * 1000 + micro // 1000)
        return self.now_ms()

    # -- reading --------------------------------------------------------------------------------------------------

    async def read(self, wanted: Sequence[tuple[int, str, int]]) -> list[list[RawEntry]]:
        """Read entries of partitions: `(partition, id to start behind or "", how many)` each."""

        async def call() -> list[Any]:
            pipe = self._link.redis.pipeline(transaction=False)
            for partition, behind, count in wanted:
                pipe.execute_command(
                    "XRANGE",
                    self._keys.stream(partition),
                    f"({behind}" if behind else "-",
                    "+",
                    "COUNT",
                    count,
                )
            return await pipe.execute()

        return [_entries(reply) for reply in await self._link.run("read", call)]

    async def look(self) -> Sight:
        """What the ledger says."""
        redis = self._link.redis
        return Sight.parse(await self._link.run("ledger", lambda: redis.hmget(self._keys.ledger, list(FIELDS))))

    async def lengths(self, partitions: Iterable[int]) -> list[int]:
        """Entries in each of these partitions."""

        async def call() -> list[Any]:
            pipe = self._link.redis.pipeline(transaction=False)
            for partition in partitions:
                pipe.execute_command("XLEN", self._keys.stream(partition))
            return await pipe.execute()

        return [int(length) for length in await self._link.run("lengths", call)]

    async def resume(self, partition: int, lease: str) -> Part | None:
        """Read a partition's in-flight record and its entries; None without one.

        Raises:
            StoredVersionError: another version of pombo wrote it.
            CorruptBatchError: an entry of it cannot be read, or is gone.
        """
        redis = self._link.redis
        await self.note_block(partition, None)
        stored = await self._link.run("record", lambda: redis.hgetall(self._keys.record(partition)))
        if not stored:
            return None
        await self._time()
        record = {key.decode(): value.decode() for key, value in stored.items()}
        if record.get("v") != RECORD_VERSION or not record.keys() >= _RECORD_FIELDS:
            raise StoredVersionError(
                f"the in-flight record of partition {partition} has version {record.get('v')}, this pombo knows "
                f"{RECORD_VERSION}; upgrade the workers, it is left alone"
            )
        stream = self._keys.stream(partition)
        rows = await self._link.run("read", lambda: redis.xrange(stream, record["first"], record["last"]))
        entries = [raw.decode() for raw in _entries(rows)]
        sent = int(record["sent_at"])
        part = Part(
            partition, lease, record["id"], entries,
            attempts=int(record["attempts"]),
            unknown_since=int(record["unknown_since"]) or sent,
            failing_since=int(record["failing_since"]),
        )  # fmt: skip
        if len(part.bodies) != len(record["done"]):
            raise CorruptBatchError(
                f"the in-flight record of partition {partition} counts {len(record['done'])} events, its entries hold "
                f"{len(part.bodies)}: Redis lost some; `pombo audit` names them"
            )
        part.mark(record["done"])
        return part

    # -- claiming -------------------------------------------------------------------------------------------------

    async def claim(self, parts: Sequence[Part]) -> "Claim":
        """Claim the entries of `parts` for one request, and mark their duplicates."""
        limit = self.limit
        prepaid = await self._group.prepay(limit, sum(len(part.bodies) for part in parts))
        if isinstance(prepaid, Closed):
            return Claim(["wait"] * len(parts), closed=prepaid)
        hashed = members(batches.message_ids(chain.from_iterable(part.bodies for part in parts)))
        while True:
            table = await self.memory.live(self.source.window_s, self.source.ids_limit)
            keys, args = self._claim_arguments(parts, hashed, table)
            reply = await self._link.script("claim", keys, args)
            self._note_time(int(reply[1]))
            if reply[0] != b"table":
                break
            self.memory.outdated()
        claim = self._claimed(parts, reply, table)
        if prepaid:
            used = sum(len(part.todo) for part, state in zip(parts, claim.states, strict=True) if state == "claimed")
            await self._group.give_back(limit, prepaid - used)
        return claim

    def _claim_arguments(self, parts: Sequence[Part], hashed: Hashed, table: Table) -> tuple[list[str], list[Argument]]:
        limit = self.limit.own
        plan = {
            "incarnation": self.source.incarnation, "rate": limit.rate, "burst": limit.burst, "table": table.version,
            "generations": len(table.generations), "ttl": table.lifetime(int(self.source.window_s * 1000)),
            "crowded": table.generations[0].crowded, "parts": [_claim_part(part) for part in parts],
        }  # fmt: skip
        keys = [self._keys.ledger, self._keys.flow, self._keys.rate, self._keys.ids]
        for part in parts:
            keys += self._part_keys(part)
        keys += self.memory.buckets(hashed.spreads)
        return keys, [orjson.dumps(plan), *hashed.members]

    def _claimed(self, parts: Sequence[Part], reply: list[Any], table: Table) -> "Claim":
        status = reply[0].decode()
        if status == "unknown":
            return Claim(["unknown"] * len(parts))
        if reply[4] >= 0:
            self.pace = int(reply[4])
        states = [row[0].decode() for row in reply[5:]]
        for part, row in zip(parts, reply[5:], strict=True):
            if row[0] == b"claimed":
                part.mark(row[1].decode())
        if status == "closed":
            return Claim(states, closed=_closed(reply[2], reply[3]))
        self.memory.note(table, int(reply[3]))
        return Claim(states, probe=bool(reply[2]))

    def _part_keys(self, part: Part) -> list[str]:
        number = part.partition
        return [self._keys.lease(number), self._keys.record(number), self._keys.stream(number)]

    # -- sending again --------------------------------------------------------------------------------------------

    async def attempt(self, chunk: Chunk, beside: Sequence[Part] = ()) -> "Attempt":
        """Ask to send claimed events again, and note it in their records.

        Args:
            chunk: what would be sent.
            beside: parts that wait with it; when it may not be sent, their records say so too.
        """
        limit = self.limit
        prepaid = await self._group.prepay(limit, chunk.events)
        if isinstance(prepaid, Closed):
            return Attempt(closed=prepaid)
        parts = [*chunk.parts, *beside]
        plan = {
            "rate": limit.own.rate, "burst": limit.own.burst, "events": chunk.events, "try": new_token(),
            "sent": len(chunk.parts), "parts": [_attempt_part(part) for part in parts],
        }  # fmt: skip
        keys = [self._keys.flow, self._keys.rate]
        for part in parts:
            keys += self._part_keys(part)[:2]
        reply = await self._link.script("attempt", keys, [orjson.dumps(plan)])
        self._note_time(int(reply[1]))
        if reply[0] == b"go":
            for part in chunk.parts:
                part.attempts += 1
            return Attempt(go=True, probe=bool(reply[2]), witness=int(reply[3]))
        await self._group.give_back(limit, prepaid)
        if reply[0] == b"closed":
            return Attempt(closed=_closed(reply[2], reply[3]), witness=int(reply[4]))
        lost = [part for part, state in zip(parts, reply[2:], strict=True) if state != b"held"]
        return Attempt(lost=lost)

    # -- finishing ------------------------------------------------------------------------------------------------

    async def settle(
        self, delivered: Chunk | None, letters: Sequence[Letter], *, probe: bool = False, sent_at: int | None = None
    ) -> list[Part]:
        """Finish events: those of `delivered`, and those of `letters`, which become dead letters.

        Args:
            delivered: what a request brought, if any.
            letters: what is given up.
            probe: the request was the probe of a parked source.
            sent_at: when it was sent (ms); None is now.

        Returns:
            The parts that are no longer ours; nothing of them was written.
        """
        parts = list(dict.fromkeys([*(delivered.parts if delivered else ()), *(letter.part for letter in letters)]))
        sent = dict(delivered.slices) if delivered else {}
        by_part = {part: [letter for letter in letters if letter.part is part] for part in parts}
        while True:
            if letters:
                await self.memory.live(self.source.window_s, self.source.ids_limit)
            request = {"success": delivered is not None, "probe": probe, "sent_at": sent_at or self.now_ms()}
            keys, args = self._settle_arguments(parts, sent, by_part, request)
            reply = await self._link.script("settle", keys, args)
            if reply[0] != b"table":
                break
            self.memory.outdated()
        self._note_time(int(reply[0]))
        for part in parts:
            finished = {*sent.get(part, ()), *(letter.index for letter in by_part[part])}
            part.todo = (
                [index for index in part.todo if index not in finished] if len(finished) < len(part.todo) else []
            )
        for part, row in zip(parts, reply[1:], strict=False):
            part.behind = int(row[2]) if row[0] == b"ok" and not row[1] else None
        if reply[-1] == b"full":
            log.error("source.parked", source=self.source.name, reason=full_reason(self.source))
        return [part for part, row in zip(parts, reply[1:], strict=False) if row[0] == b"lost"]

    def _settle_arguments(
        self, parts: Sequence[Part], sent: dict[Part, list[int]], by_part: dict[Part, list[Letter]],
        request: dict[str, Any],
    ) -> tuple[list[str], list[Argument]]:  # fmt: skip
        keys = [self._keys.ledger, self._keys.flow, self._keys.dead, self._keys.ids]
        for part in parts:
            keys += self._part_keys(part)
        if any(by_part.values()):
            keys += [self._keys.dead_table, self._keys.dead_groups]
        plan: dict[str, Any] = {
            **request,
            "table": self.memory.table.version, "generations": len(self.memory.table.generations),
            "wake": self._fleet.wake, "source": self.source.name, "bound": self._bound(), "parts": [],
        }  # fmt: skip
        args: list[Argument] = [b""]
        for part in parts:
            plan["parts"].append(_settle_part(part, sent.get(part, []), by_part[part]))
            for letter in by_part[part]:
                body = part.bodies[letter.index]
                hashed = members([batches.message_id(body)])
                keys += self.memory.buckets(hashed.spreads)
                args += [letter.header, body, *hashed.members, *row_of(letter.header, body).arguments]
        args[0] = orjson.dumps(plan)
        return keys, args

    async def bury(self, partition: int, lease: str, entry_id: str, header: bytes) -> str:
        """Move an unreadable first entry to the dead letters as it is; returns the script's word."""
        keys = [
            self._keys.ledger, self._keys.dead, self._keys.lease(partition), self._keys.record(partition),
            self._keys.stream(partition), self._keys.flow, self._keys.dead_table, self._keys.dead_groups,
        ]  # fmt: skip
        row = row_of(header, b"", 0)
        bound = orjson.dumps({**self._bound(), "wake": self._fleet.wake, "source": self.source.name})
        args = [lease, entry_id, header, "corrupt", bound, *row.arguments]
        reply: bytes = await self._link.script("bury", keys, args)
        return reply.decode()

    def _bound(self) -> dict[str, Any]:
        """The bound of its dead letters, for `letterbound.lua`."""
        return {"limit": self.source.dead_bytes, "reason": full_reason(self.source), "version": self.version}

    # -- flow -----------------------------------------------------------------------------------------------------

    async def hold(self, seconds: float, *, excess_at: int = 0) -> None:
        """Hold the source for the whole fleet.

        Args:
            seconds: how long.
            excess_at: when the request was sent (ms), if it was too much for Segment: then the source slows down.
        """
        args: list[Argument] = [int(seconds * 1000), self._fleet.wake, self.source.name, excess_at, self.limit.own.rate]
        await self._link.script("hold", [self._keys.flow, self._keys.rate, self._keys.ledger], args)

    async def park(self, reason: str, version: int) -> bool:
        """Park the source, whose settings are of registry `version`; whether this call did it."""
        args: list[Argument] = [reason, PROBE_EVERY_MS, self._fleet.wake, self.source.name, version]
        return bool(await self._link.script("park", [self._keys.flow], args))

    async def fail(self, sent_at: int, why: str, *, late: bool) -> "Breaker":
        """Report a request, sent at `sent_at` (ms), that failed; `late`: no answer came in time."""
        args: list[Argument] = [sent_at, int(late), why, self.limit.own.rate]
        now, broken, opened = await self._link.script("fail", [self._keys.flow, self._keys.ledger], args)
        self._note_time(int(now))
        return Breaker(broken=bool(broken), opened=bool(opened))

    async def alive(self, sent_at: int) -> bool:
        """Note that a request sent at `sent_at` (ms) was answered, if only refused; whether that closed the breaker."""
        args: list[Argument] = [self._fleet.wake, self.source.name, sent_at]
        return bool(await self._link.script("alive", [self._keys.flow], args))

    async def note_block(self, partition: int, reason: str | None) -> None:
        """Show operators that a partition waits, and why; None that it does not."""
        await self._link.script("block", [self._keys.flow], [f"{BLOCKED}{partition}", reason or ""])

    # -- leases ---------------------------------------------------------------------------------------------------

    async def leases(self, partitions: Sequence[int]) -> list[str]:
        """Who holds the partitions: `worker:token`, or "" for nobody."""
        redis = self._link.redis
        values = await self._link.run("leases", lambda: redis.mget([self._keys.lease(p) for p in partitions]))
        return [value.decode() if value else "" for value in values]

    async def change_leases(self, changes: Sequence[tuple[int, str, str]]) -> list[bool]:
        """Compare and set `(partition, expected, new)`; whether each now has its new value."""
        keys = [self._keys.lease(partition) for partition, _, _ in changes]
        args: list[Argument] = [value for _, expected, new in changes for value in (expected, new)]
        values = await self._link.script("lease", keys, args)
        return [value.decode() == new for value, (_, _, new) in zip(values, changes, strict=True)]


@dataclass(frozen=True, slots=True)
class Claim:
    """What a claim brought.

    `states` has per part `claimed`, `lost`, `record`, `moved`, `wait` or `unknown`; `probe` says that this is the
    probe of a parked source, `closed` why the gate is shut, if it is.
    """

    states: list[str]
    probe: bool = False
    closed: Closed | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """The answer to asking for another send: go, or shut, or parts that are no longer ours.

    `witness` is when the source's request was sent that was accepted last, whichever worker's; ms, 0 for none.
    """

    go: bool = False
    probe: bool = False
    witness: int = 0
    closed: Closed | None = None
    lost: Sequence[Part] = ()


@dataclass(frozen=True, slots=True)
class Breaker:
    """Whether the source's breaker is open, and whether this report opened it."""

    broken: bool
    opened: bool


def new_token() -> str:
    """A random fencing token or record id."""
    return secrets.token_hex(8)


def _entries(rows: list[Any]) -> list[RawEntry]:
    found = []
    for entry_id, fields in rows:
        named = fields if isinstance(fields, dict) else dict(zip(fields[::2], fields[1::2], strict=True))
        identity = entry_id.decode()
        found.append(RawEntry(identity, _number(named.get(b"n")), _number(named.get(b"r")), named.get(b"b", b"")))
    return found


def _number(value: bytes | None) -> int:
    return int(value) if value and value.isdigit() and len(value) <= _DIGITS else 0


def _claim_part(part: Part) -> dict[str, Any]:
    last = part.entries[-1].id
    return {
        "lease": part.lease, "id": part.record, "first": part.entries[0].id, "last": last, "after": after(last),
        "entries": len(part.entries), "events": len(part.bodies),
        "bytes": sum(entry.payload_bytes for entry in part.entries),
    }  # fmt: skip


def _attempt_part(part: Part) -> dict[str, Any]:
    return {
        "lease": part.lease,
        "id": part.record,
        "unknown_since": part.unknown_since,
        "failing_since": part.failing_since,
    }


def _settle_part(part: Part, indices: list[int], letters: Sequence[Letter]) -> dict[str, Any]:
    delivered = [[0, len(part.bodies) - 1]] if indices and indices == part.todo else ranges(indices)
    rows = [{"index": letter.index, "reason": letter.reason} for letter in letters]
    return {"lease": part.lease, "id": part.record, "delivered": delivered, "letters": rows}


def _closed(reason: bytes, wait_ms: Any) -> Closed:
    return Closed(reason.decode(), int(wait_ms) / 1000)
