"""Broken pombos: each breaks one promise on purpose."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

_LUA: Final = "shared/pombo/shared/lua"
_WORKER: Final = "worker/pombo/worker"
_PRODUCER: Final = "producer/pombo/producer"
_SHARED: Final = "shared/pombo/shared"


@dataclass(frozen=True, slots=True)
class Mutant:
    """One break: in `file`, `old` (which is there once) becomes `new`; and so in `also`, where two checks guard."""

    name: str
    file: str
    old: str
    new: str
    also: tuple[tuple[str, str], ...] = ()

    def applied(self, folder: Path) -> None:
        """Break the copy of the product in `folder`.

        Raises:
            ValueError: the text is not there once; the mutant has to follow the code.
        """
        path = folder / self.file
        text = path.read_text("utf-8")
        for old, new in ((self.old, self.new), *self.also):
            if text.count(old) != 1:
                raise ValueError(f"mutant {self.name!r}: {old!r} is {text.count(old)} times in {self.file}, not once")
            text = text.replace(old, new)
        path.write_text(text, "utf-8")


MUTANTS: Final = (
    Mutant(
        "ack before send", f"{_WORKER}/delivery.py",
        "        answer, verdict = await self._exchange(chunk)\n",
        "        await self.lane.store.settle(chunk, ())\n"
        "        answer, verdict = await self._exchange(chunk)\n",
    ),
    Mutant(
        "settle without fencing", f"{_LUA}/settle.lua",
        "if redis.call('GET', KEYS[at]) ~= part.lease then", "if false then",
        also=(("if record[1] ~= part.id then", "if not record[1] then"),),
    ),
    Mutant(
        "claim without fencing", f"{_LUA}/claim.lua",
        "if redis.call('GET', KEYS[at]) ~= part.lease then", "if false then",
    ),
    Mutant(
        "claim without in-flight record", f"{_LUA}/claim.lua",
        "    redis.call('HSET', part.record, 'v', 1,", "    redis.call('HSET', part.record .. ':nobody', 'v', 1,",
    ),
    Mutant(
        "claim remembers nothing", f"{_LUA}/claim.lua",
        "redis.pcall('SADD', bucket, ARGV[1 + event])", "1",
    ),
    Mutant(
        "claim takes what was read, not what is there", f"{_LUA}/claim.lua",
        "if not first or first[1] ~= part.first or not last then", "if not first then",
    ),
    Mutant(
        "dead letter without forgetting its id", f"{_LUA}/settle.lua",
        "redis.call('SREM',", "redis.call('SISMEMBER',",
    ),
    Mutant(
        "hold kept to oneself", f"{_LUA}/hold.lua",
        "  redis.call('HSET', KEYS[1], 'hold_until', stamp(wanted))\n", "",
    ),
    Mutant(
        "second half of a bisection first", f"{_WORKER}/delivery.py",
        "self._pending.cut(chunk.halves())", "self._pending.cut(chunk.halves()[::-1])",
    ),
    Mutant(
        "the whole request dies with one bad event", f"{_WORKER}/delivery.py",
        "        if chunk.events > 1:\n            return _Ending.REFUSED\n",
        "        if chunk.events > 1:\n"
        "            await self._bury([_Suspect(one, answer, verdict.reason) for one in chunk.singles()])\n"
        "            return _Ending.DONE\n",
    ),
    Mutant(
        "a failed request is left for later ones", f"{_WORKER}/delivery.py",
        "        elif ending is _Ending.FAILED:\n            self._pending.yield_turn()\n",
        "        elif ending is _Ending.FAILED:\n            self._pending.finish()\n",
    ),
    Mutant(
        "an answer that stays out counts as delivered", f"{_WORKER}/delivery.py",
        "        if verdict.outcome is Outcome.DELIVERED:\n            await self._deliver",
        "        if verdict.outcome is Outcome.DELIVERED or answer.unknown:\n            await self._deliver",
    ),
    Mutant(
        "a zombie believes in its lease", f"{_WORKER}/fleet.py",
        "        return self._clock.monotonic() - self._confirmed < self.pace.fence\n", "        return True\n",
    ),
    Mutant(
        "partitions handed back amid a request", f"{_WORKER}/lane.py",
        "(h.leaving or self.stopping) and h.delivery is None and not h.claiming", "h.leaving or self.stopping",
    ),
    Mutant(
        "leases of the living are taken", f"{_WORKER}/pool.py",
        "if not lease or owner == self.fleet.id or self.fleet.dead(owner):", "if True:",
    ),
    Mutant(
        "stream trimmed behind the record", f"{_LUA}/settle.lua",
        "redis.call('XTRIM', part.stream, 'MINID', '=', part.after)", "redis.call('XTRIM', part.stream, 'MAXLEN', 0)",
    ),
    Mutant(
        "ledger moved apart from the data", f"{_LUA}/settle.lua",
        "    redis.call('HINCRBY', ledger, 'in_flight', 0 - (delivered + died))\n",
        "    redis.call('HINCRBY', ledger, 'in_flight', 0 - delivered)\n",
    ),
    Mutant(
        "append without its token", f"{_LUA}/append.lua",
        "if answer then", "if false then",
    ),
    Mutant(
        "a retry with another token", f"{_PRODUCER}/outbox.py",
        "        if flush is None or (not flush.doubtful and flush.source is not source):", "        if True:",
    ),
    Mutant(
        "accepted before Redis has it", f"{_PRODUCER}/outbox.py",
        "            flush = self._form(source)\n",
        "            flush = self._form(source)\n"
        "            for pending in flush.events:\n                pending.settle(Accepted)\n",
    ),
    Mutant(
        "spooled before the disk has it", f"{_PRODUCER}/outbox.py",
        "        work = self._overflow.put(self._taken, self._with_token())\n",
        "        work = self._overflow.put(self._taken, self._with_token())\n"
        "        for pending in self._taken:\n            pending.settle(Spooled)\n",
    ),
    Mutant(
        "spool bypassed", f"{_PRODUCER}/outbox.py",
        "        holding = self._overflow.holding()\n", "        holding = None\n",
    ),
    Mutant(
        "spooled without the token in doubt", f"{_PRODUCER}/outbox.py",
        "        if self._flush is not None and self._flush.doubtful:\n            return self._flush\n",
        "        if self._flush is not None and self._flush.doubtful:\n            return None\n",
    ),
    Mutant(
        "spool emptied before Redis has it", f"{_PRODUCER}/drain.py",
        "            batch = None if head is None else self._formed(head, source)\n",
        "            batch = None if head is None else self._formed(head, source)\n"
        "            if batch is not None and not batch.flush.doubtful:\n"
        "                yield Disk(partial(self._spool.turn, name, None, batch.attempt))\n"
        "                yield Disk(partial(self._spool.turn, name, batch.attempt, None))\n"
        "                return batch\n",
    ),
    Mutant(
        "a pause lets through", f"{_LUA}/gate.lua",
        "  if flow.paused then", "  if false then",
    ),
    Mutant(
        "a park lets through", f"{_LUA}/gate.lua",
        "  if flow.parked then", "  if false then",
    ),
    Mutant(
        "claim looks in the newest generation alone", f"{_LUA}/claim.lua",
        "for generation = 1, plan.generations - 1 do", "for generation = 1, 0 do",
    ),
    Mutant(
        "claim does not look across its parts", f"{_LUA}/claim.lua",
        "      if new == 1 then\n",
        "      if new == 1 or twins[ARGV[1 + event]] then\n        twins[ARGV[1 + event]] = true\n",
        also=(("local added = {}\n", "local added, twins = {}, {}\n"),),
    ),
    Mutant(
        "attempt without fencing", f"{_LUA}/attempt.lua",
        "if redis.call('GET', KEYS[at]) ~= part.lease then", "if false then",
    ),
    Mutant(
        "an unreadable batch is dropped", f"{_LUA}/bury.lua",
        "local letter = redis.call('XADD', dead, '*', 'h', ARGV[3], 'b', payload, 'n', events)\n"
        "table_add(dead, KEYS[7], KEYS[8], letter, "
        "{marks = ARGV[6], fingerprint = ARGV[7], description = ARGV[8]})\n", "",
    ),
    Mutant(
        "a death without its row", f"{_LUA}/settle.lua",
        "  table_add(dead, KEYS[rows], KEYS[rows + 1], id, kind)\n", "",
    ),
    Mutant(
        "backlog without limit", f"{_LUA}/append.lua",
        "if limit > 0 and queued + bytes > limit then", "if false then",
    ),
    Mutant(
        "stale append applied", f"{_LUA}/session.lua",
        "  return {'stale'}\n", "  return nil, last\n",
    ),
    Mutant(
        "dead letters without bound", f"{_LUA}/letterbound.lua",
        "  return limit > 0 and", "  return false and",
    ),
    Mutant(
        "lease set without compare", f"{_LUA}/lease.lua",
        "  if current == expected and current ~= new then", "  if current ~= new then",
    ),
    Mutant(
        "waiting counts for max_age", f"{_WORKER}/delivery.py",
        "                part.failing_since = part.failing_since + waited if broken and part.failing_since else 0\n",
        "                pass\n",
    ),
    Mutant(
        "everything refused, and all dies", f"{_WORKER}/delivery.py",
        "        if not suspects or refused < PARK_SUSPECTS:", "        if True:",
    ),
    Mutant(
        "poison takes its neighbours along", f"{_WORKER}/delivery.py",
        "        if decision is Decision.SPLIT:\n            return _Ending.SPLIT\n", "",
    ),
    Mutant(
        "nothing is split without a witness", f"{_WORKER}/patience.py",
        "        return Decision.SPLIT if enough or aged",
        "        return Decision.SPLIT if trouble.witness > trouble.failures.since and enough or aged",
    ),
    Mutant(
        "whoever fails goes first", f"{_WORKER}/rotation.py",
        "        self._turn += len(pieces) or 1\n", "        self._turn = 0\n",
    ),
    Mutant(
        "nobody waits for the first of its partition", f"{_WORKER}/rotation.py",
        "            if taken.isdisjoint(chunk.parts):\n", "            if True:\n",
    ),
    Mutant(
        "what only waited dies of age too", f"{_WORKER}/delivery.py",
        "        for part in chunk.parts:\n            part.failing_since = 0\n", "        pass\n",
    ),
    Mutant(
        "no look at the beat before the request", f"{_WORKER}/delivery.py",
        "            if attempt.go and self.lane.tools.guard.fresh():", "            if attempt.go:",
        also=(("        if self._admitted and self.lane.tools.guard.fresh():", "        if self._admitted:"),),
    ),
    Mutant(
        "SIGTERM forgets the ack", f"{_WORKER}/delivery.py",
        "        self._limited = 0\n        lost = await",
        "        self._limited = 0\n        if self.lane.stopping:\n            return\n        lost = await",
    ),
    Mutant(
        "SIGTERM abandons at once", f"{_WORKER}/pool.py",
        "timeout=STOP_GRACE_S - 2 * _HAND_BACK_S - 1)", "timeout=0)",
    ),
    Mutant(
        "room is never given back", f"{_WORKER}/lane.py",
        "            self.tools.room.used -= sum(entry.raw for entry in part.entries)\n"
        "            holding.part = holding.delivery = None",
        "            holding.part = holding.delivery = None",
    ),
    Mutant(
        "a full batch's successor goes first", f"{_PRODUCER}/flush.py",
        "            draft = latest[partition] = _Draft(partition)\n            drafts.append(draft)",
        "            draft = latest[partition] = _Draft(partition)\n            drafts.insert(0, draft)",
    ),
    Mutant(
        "half of a part settles all of it", f"{_WORKER}/store.py",
        "if indices and indices == part.todo else", "if indices else",
    ),
    Mutant(
        "half of a part sends all of it", f"{_WORKER}/parts.py",
        "            whole = len(indices) == len(part.bodies)\n", "            whole = True\n",
    ),
    Mutant(
        "duplicates that a claim found are sent", f"{_WORKER}/parts.py",
        ' if "1" in done else [*range(len(done))]', ' if "0" not in done else [*range(len(done))]',
    ),
    Mutant(
        "an assignment is never renewed", f"{_WORKER}/pool.py",
        "        if wanted is not self._assigned:\n", "        if not self._assigned:\n",
    ),
    Mutant(
        "active partitions are read once", f"{_WORKER}/fleet.py",
        "if told == self._told_active and self._names is not None:", "if self._names is not None:",
    ),
    Mutant(
        "UUIDs go back in another order", f"{_SHARED}/batches.py",
        "        pieces[number] += _canonical(", "        pieces[count - 1 - number] += _canonical(",
    ),
)  # fmt: skip
