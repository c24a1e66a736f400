"""Broken pombos: each breaks one promise on purpose, and the simulation must find it.

`python -m chaos --mutants` makes a copy of the product for each, breaks it there, and runs the simulation until
something goes wrong. A mutant that survives is a hole in the suite.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from support.results import record

ROOT: Final = Path(__file__).resolve().parents[2]
ROOTS: Final = ("shared", "producer", "worker", "ops")
SCHEDULES: Final = 1500
"""Random ones after which a mutant counts as survived."""
_LUA: Final = "shared/pombo/shared/lua"
_WORKER: Final = "worker/pombo/worker"
_PRODUCER: Final = "producer/pombo/producer"


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
        "            answer, verdict = await self._exchange(chunk, failures)\n",
        "            await self.lane.store.settle(chunk, ())\n"
        "            answer, verdict = await self._exchange(chunk, failures)\n",
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
        "      redis.call('SADD', bucket, ARGV[part.argument + event - 1])\n", "",
    ),
    Mutant(
        "claim takes what was read, not what is there", f"{_LUA}/claim.lua",
        "if not first or first[1] ~= part.first or not last then", "if not first then",
    ),
    Mutant(
        "dead letter without forgetting its id", f"{_LUA}/settle.lua",
        "    redis.call('SREM',", "    redis.call('SISMEMBER',",
    ),
    Mutant(
        "hold kept to oneself", f"{_LUA}/hold.lua",
        "  redis.call('HSET', KEYS[1], 'hold_until', stamp(wanted))\n", "",
    ),
    Mutant(
        "second half of a bisection first", f"{_WORKER}/delivery.py",
        "pending += chunk.halves(poison=ending is _Ending.SPLIT_POISON)[::-1]",
        "pending += chunk.halves(poison=ending is _Ending.SPLIT_POISON)",
    ),
    Mutant(
        "the whole request dies with one bad event", f"{_WORKER}/delivery.py",
        "        if chunk.events > 1:\n            return _Ending.SPLIT\n",
        "        if chunk.events > 1:\n"
        "            await self._bury([_Suspect(one, answer, verdict.reason) for one in chunk.singles()])\n"
        "            return _Ending.DONE\n",
    ),
    Mutant(
        "a failed request is left for later ones", f"{_WORKER}/delivery.py",
        "                if ending is not None:\n                    return ending\n",
        "                return ending or _Ending.DONE\n",
    ),
    Mutant(
        "an answer that stays out counts as delivered", f"{_WORKER}/delivery.py",
        "            if verdict.outcome is Outcome.DELIVERED:\n",
        "            if verdict.outcome is Outcome.DELIVERED or answer.unknown:\n",
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
        "  if tonumber(last[1]) == sequence then", "  if false then",
    ),
    Mutant(
        "a retry with another token", f"{_PRODUCER}/outbox.py",
        "        if flush is None or (not flush.doubtful and flush.source is not source):", "        if True:",
    ),
    Mutant(
        "accepted before Redis has it", f"{_PRODUCER}/outbox.py",
        "            flush = self._form(source)\n",
        "            flush = self._form(source)\n"
        "            for pending in flush.events:\n                pending.receipt.settle(Accepted)\n",
    ),
    Mutant(
        "spooled before the disk has it", f"{_PRODUCER}/outbox.py",
        "        work = self._overflow.put(self._taken, self._with_token())\n",
        "        work = self._overflow.put(self._taken, self._with_token())\n"
        "        for pending in self._taken:\n            pending.receipt.settle(Spooled)\n",
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
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Hunted:
    """What became of one mutant."""

    mutant: Mutant
    found: str
    """The run that found it, and what was wrong; empty if none did."""
    seconds: float


def hunt(name: str, crew: int) -> int:
    """Hunt all mutants, or those whose name contains `name`; returns the exit code: 1 when one survived.

    Raises:
        ValueError: no mutant has such a name, or one does not fit the code any more.
    """
    wanted = [mutant for mutant in MUTANTS if name in mutant.name]
    if not wanted:
        raise ValueError(f"no mutant is called {name!r}; there are: {', '.join(one.name for one in MUTANTS)}")
    with ThreadPoolExecutor(crew) as pool:
        hunted = [_tell(one) for one in pool.map(_hunt, wanted)]
    survived = [one.mutant.name for one in hunted if not one.found]
    seen = f"{len(hunted) - len(survived)} of {len(hunted)} broken pombos found out"
    sys.stdout.write(f"{seen}{'; survived: ' + ', '.join(survived) if survived else ''}\n")
    if not name:
        record("Simulation", "mutants", seen, runs=len(hunted), survived=len(survived))
        for one in hunted:
            record("Mutants", one.mutant.name, one.found or "survived", seconds=round(one.seconds, 1))
    return 1 if survived else 0


def _tell(hunted: Hunted) -> Hunted:
    verdict = hunted.found or "SURVIVED"
    sys.stdout.write(f"{hunted.mutant.name:<48} {hunted.seconds:5.1f} s  {verdict}\n")
    sys.stdout.flush()
    return hunted


def _hunt(mutant: Mutant) -> Hunted:
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="pombo-mutant-") as made:
        folder = Path(made)
        for root in ROOTS:
            shutil.copytree(ROOT / root, folder / root, ignore=shutil.ignore_patterns("__pycache__"))
        mutant.applied(folder)
        found = next(_findings(folder), "")
    return Hunted(mutant, found, time.monotonic() - begun)


def _findings(folder: Path) -> Iterator[str]:
    """Run the simulation on a broken copy until something goes wrong; what went wrong.

    Raises:
        ValueError: it did not even run.
    """
    paths = [str(folder / root) for root in ROOTS] + [str(Path(__file__).resolve().parents[1])]
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONHASHSEED": "0",
        "POMBO_RESULTS": str(folder / "r"),
    }
    words = [sys.executable, "-m", "chaos", "--first", "--processes", "1", "--schedules", str(SCHEDULES)]
    done = subprocess.run(words, env=env, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode not in {0, 1} or "Traceback" in done.stderr:
        raise ValueError(f"the broken copy does not run: {done.stderr[-2000:]}")
    if done.returncode == 1:
        found = re.search(r"^(\S+) went wrong:\n    (.*)$", done.stdout, re.MULTILINE)
        yield f"{found[1]}: {found[2]}" if found else done.stdout[-200:]
