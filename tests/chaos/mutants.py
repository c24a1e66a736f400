"""The hunt for broken pombos: the simulation must find each of them.

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
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chaos.breaks import MUTANTS, Mutant
from support.results import record

ROOT: Final = Path(__file__).resolve().parents[2]
ROOTS: Final = ("shared", "producer", "worker", "ops")
SCHEDULES: Final = 1500
"""Random ones after which a mutant counts as survived."""


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
        found = _findings(folder)
    return Hunted(mutant, found, time.monotonic() - begun)


def _findings(folder: Path) -> str:
    """Run the simulation on a broken copy until something goes wrong; what went wrong, or nothing.

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
    if done.returncode == 0:
        return ""
    found = re.search(r"^(\S+) went wrong:\n    (.*)$", done.stdout, re.MULTILINE)
    return f"{found[1]}: {found[2]}" if found else done.stdout[-200:]
