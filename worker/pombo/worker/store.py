"""One source's data in Redis, as its worker touches it: entries, records, leases, flow."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from pombo.shared import batches
from pombo.shared.clock import Clock
from pombo.shared.errors import CorruptBatchError, StoredVersionError
from pombo.shared.flow import BLOCKED
from pombo.shared.keys import Keys
from pombo.shared.scripts import Argument
from pombo.shared.sources import Source
from pombo.worker.idempotency import Table, members, next_table
from pombo.worker.link import Link
from pombo.worker.parts import Chunk, Entry, Part, after, ranges

RECORD_VERSION = "1"
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
class Closed:
    """The gate is shut: why, and for how many seconds at most before asking again."""

    reason: str
    wait_s: float


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter to be written: which event, why, and its stored header."""

    part: Part
    index: int
    reason: str
    header: bytes


@dataclass(slots=True)
class Limit:
    """Rate limit in force for a source: events per second (0: off), burst, and its group's name, if any."""

    rate: float
    burst: float
    group: str | None = None


class SourceStore:
    """Do the I/O of one source; every decision is someone else's."""

    def __init__(self, link: Link, keys: Keys, source: Source, clock: Clock) -> None:
        self._link = link
        self._fleet = keys
        self._keys = keys.of(source.name)
        self._clock = clock
        self._table = Table()
        self._remembered = 0
        self._offset_ms = 0.0
        self.source = source
        self.limit = limit_of(source, None)

    # -- time -----------------------------------------------------------------------------------------------------

    def now_ms(self) -> int:
        """Redis' clock in ms, carried on by the monotonic clock since the last reply."""
        return int(self._clock.monotonic() * 1000 + self._offset_ms)

    def _note_time(self, now_ms: int) -> None:
        self._offset_ms = now_ms - self._clock.monotonic() * 1000

    async def _ask_time(self) -> None:
        if not self._offset_ms:
            seconds, micro = await self._link.run("time", self._link.redis.time)
            self._note_time(seconds * 1000 + micro // 1000)

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

    async def lengths(self) -> list[int]:
        """Entries in each partition."""

        async def call() -> list[Any]:
            pipe = self._link.redis.pipeline(transaction=False)
            for partition in range(self.source.partitions):
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
        await self._ask_time()
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
        prepaid = await self._prepay(sum(len(part.bodies) for part in parts))
        if isinstance(prepaid, Closed):
            return Claim(["wait"] * len(parts), closed=prepaid)
        hashed = [members([batches.message_id(body) for body in part.bodies]) for part in parts]
        while True:
            table = await self._live_table()
            keys, args = self._claim_arguments(parts, hashed, table)
            reply = await self._link.script("claim", keys, args)
            self._note_time(int(reply[1]))
            if reply[0] != b"table":
                break
            self._table = Table()
        claim = await self._claimed(parts, reply)
        if prepaid:
            used = sum(len(part.todo) for part, state in zip(parts, claim.states, strict=True) if state == "claimed")
            await self._give_back(prepaid - used)
        return claim

    def _claim_arguments(
        self, parts: Sequence[Part], hashed: Sequence[Sequence[tuple[int, int]]], table: Table
    ) -> tuple[list[str], list[Argument]]:
        generations = [(f"{self._keys.ids}:{g.number}:", g.buckets) for g in table.generations]
        limit = self._own_limit()
        plan = {
            "incarnation": self.source.incarnation, "rate": limit.rate, "burst": limit.burst, "table": table.version,
            "generations": len(generations), "ttl": int(self.source.window_s * 2000),
            "parts": [_claim_part(part) for part in parts],
        }  # fmt: skip
        keys = [self._keys.ledger, self._keys.flow, self._keys.rate, self._keys.ids]
        for part in parts:
            keys += self._part_keys(part)
        args: list[Argument] = [orjson.dumps(plan)]
        for ids in hashed:
            for member, spread in ids:
                keys += [f"{prefix}{spread % buckets}" for prefix, buckets in generations]
                args.append(member)
        return keys, args

    async def _claimed(self, parts: Sequence[Part], reply: list[Any]) -> "Claim":
        status = reply[0].decode()
        if status == "unknown":
            return Claim(["unknown"] * len(parts))
        states = [row[0].decode() for row in reply[4:]]
        for part, row in zip(parts, reply[4:], strict=True):
            if row[0] == b"claimed":
                part.mark(row[1].decode())
        if status == "closed":
            return Claim(states, closed=_closed(reply[2], reply[3]))
        self._remembered = int(reply[3]) or self._remembered
        return Claim(states, probe=bool(reply[2]))

    def _part_keys(self, part: Part) -> list[str]:
        number = part.partition
        return [self._keys.lease(number), self._keys.record(number), self._keys.stream(number)]

    def _own_limit(self) -> Limit:
        """What the source's own bucket allows: anything, when its group's bucket is asked instead."""
        return Limit(0, self.limit.burst) if self.limit.group else self.limit

    async def _prepay(self, events: int) -> Closed | int:
        if self.limit.group is None or self.limit.rate == 0:
            return 0
        taken, wait = await self._take(events)
        return events if taken else Closed("rate", wait / 1000)

    async def _give_back(self, events: int) -> None:
        if events > 0:
            await self._take(-events)

    async def _take(self, events: int) -> tuple[int, int]:
        key = self._fleet.group_rate(self.limit.group or "")
        taken, wait = await self._link.script("take", [key], [self.limit.rate, self.limit.burst, events])
        return int(taken), int(wait)

    # -- the idempotency store ------------------------------------------------------------------------------------

    async def _live_table(self) -> Table:
        if not self._table.version:
            redis = self._link.redis
            stored = await self._link.run("ids", lambda: redis.hmget(self._keys.ids, ["version", "table", "count"]))
            self._table = Table.load(stored[0], stored[1])
            self._remembered = int(stored[2] or 0)
        # Before ids are added, not after: a generation that is due would take them into buckets about to end.
        await self._rotate()
        return self._table

    async def _rotate(self) -> None:
        window = int(self.source.window_s * 1000)
        await self._ask_time()
        wanted = next_table(self._table, now=self.now_ms(), count=self._remembered, window=window)
        if wanted is not None:
            args: list[Argument] = [self._table.version, wanted.version, wanted.dump(), "1"]
            stored = await self._link.script("rotate_ids", [self._keys.ids], args)
            self._table, self._remembered = Table.load(stored[0], stored[1]), int(stored[2] or 0)

    def _buckets(self, member_spread: tuple[int, int]) -> list[str]:
        return [f"{self._keys.ids}:{g.number}:{member_spread[1] % g.buckets}" for g in self._table.generations]

    # -- sending again --------------------------------------------------------------------------------------------

    async def attempt(self, chunk: Chunk) -> "Attempt":
        """Ask to send claimed events again, and note it in their records."""
        prepaid = await self._prepay(chunk.events)
        if isinstance(prepaid, Closed):
            return Attempt(closed=prepaid)
        limit = self._own_limit()
        plan = {
            "rate": limit.rate, "burst": limit.burst, "events": chunk.events,
            "parts": [_attempt_part(part) for part in chunk.parts],
        }  # fmt: skip
        keys = [self._keys.flow, self._keys.rate]
        for part in chunk.parts:
            keys += self._part_keys(part)[:2]
        reply = await self._link.script("attempt", keys, [orjson.dumps(plan)])
        self._note_time(int(reply[1]))
        if reply[0] == b"go":
            for part in chunk.parts:
                part.attempts += 1
            return Attempt(go=True, probe=bool(reply[2]), last_success=int(reply[3]))
        await self._give_back(prepaid)
        if reply[0] == b"closed":
            return Attempt(closed=_closed(reply[2], reply[3]), last_success=int(reply[4]))
        lost = [part for part, state in zip(chunk.parts, reply[2:], strict=True) if state != b"held"]
        return Attempt(lost=lost)

    # -- finishing ------------------------------------------------------------------------------------------------

    async def settle(self, delivered: Chunk | None, letters: Sequence[Letter], *, probe: bool = False) -> list[Part]:
        """Finish events: those of `delivered`, and those of `letters`, which become dead letters.

        Returns:
            The parts that are no longer ours; nothing of them was written.
        """
        parts = list(dict.fromkeys([*(delivered.parts if delivered else ()), *(letter.part for letter in letters)]))
        sent = dict(delivered.slices) if delivered else {}
        by_part = {part: [letter for letter in letters if letter.part is part] for part in parts}
        while True:
            if letters:
                await self._live_table()
            keys, args = self._settle_arguments(parts, sent, by_part, success=delivered is not None, probe=probe)
            reply = await self._link.script("settle", keys, args)
            if reply[0] != b"table":
                break
            self._table = Table()
        self._note_time(int(reply[0]))
        for part in parts:
            finished = {*sent.get(part, ()), *(letter.index for letter in by_part[part])}
            part.todo = [index for index in part.todo if index not in finished]
        return [part for part, row in zip(parts, reply[1:], strict=True) if row[0] == b"lost"]

    def _settle_arguments(
        self, parts: Sequence[Part], sent: dict[Part, list[int]], by_part: dict[Part, list[Letter]],
        *, success: bool, probe: bool,
    ) -> tuple[list[str], list[Argument]]:  # fmt: skip
        keys = [self._keys.ledger, self._keys.flow, self._keys.dead, self._keys.ids]
        for part in parts:
            keys += self._part_keys(part)
        plan: dict[str, Any] = {
            "success": success, "probe": probe,
            "table": self._table.version, "generations": len(self._table.generations),
            "wake": self._fleet.wake, "source": self.source.name, "parts": [],
        }  # fmt: skip
        args: list[Argument] = [b""]
        for part in parts:
            plan["parts"].append(_settle_part(part, sent.get(part, []), by_part[part]))
            for letter in by_part[part]:
                body = part.bodies[letter.index]
                (hashed,) = members([batches.message_id(body)])
                keys += self._buckets(hashed)
                args += [letter.header, body, hashed[0]]
        args[0] = orjson.dumps(plan)
        return keys, args

    async def bury(self, partition: int, lease: str, entry_id: str, header: bytes) -> str:
        """Move an unreadable first entry to the dead letters as it is; returns the script's word."""
        keys = [
            self._keys.ledger, self._keys.dead, self._keys.lease(partition), self._keys.record(partition),
            self._keys.stream(partition),
        ]  # fmt: skip
        reply: bytes = await self._link.script("bury", keys, [lease, entry_id, header, "corrupt"])
        return reply.decode()

    # -- flow -----------------------------------------------------------------------------------------------------

    async def hold(self, seconds: float) -> None:
        """Hold the source for the whole fleet."""
        args: list[Argument] = [int(seconds * 1000), self._fleet.wake, self.source.name]
        await self._link.script("hold", [self._keys.flow, self._keys.rate], args)

    async def park(self, reason: str, version: int) -> bool:
        """Park the source, whose settings are of registry `version`; whether this call did it."""
        args: list[Argument] = [reason, PROBE_EVERY_MS, self._fleet.wake, self.source.name, version]
        return bool(await self._link.script("park", [self._keys.flow], args))

    async def note_block(self, partition: int, reason: str | None) -> None:
        """Show operators that a partition waits, and why; None that it does not."""
        redis, flow, name = self._link.redis, self._keys.flow, f"{BLOCKED}{partition}"
        if reason is None:
            await self._link.run("unblock", lambda: redis.hdel(flow, name))
        else:
            await self._link.run("block", lambda: redis.hset(flow, name, reason))

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
    """The answer to asking for another send: go, or shut, or parts that are no longer ours."""

    go: bool = False
    probe: bool = False
    last_success: int = 0
    closed: Closed | None = None
    lost: Sequence[Part] = ()


def new_token() -> str:
    """A random fencing token or record id."""
    return secrets.token_hex(8)


def limit_of(source: Source, group_rate: float | None) -> Limit:
    """The limit in force for a source: its own, or its group's."""
    rate = source.rate if group_rate is None else group_rate
    return Limit(rate, source.burst or max(rate, 1.0), source.rate_group)


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
