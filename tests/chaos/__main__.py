"""`python -m chaos`: try to break pombo, in simulated worlds that can be run again.

python -m chaos                     every blow at every step of every scenario, and random schedules
python -m chaos --hours 8           random schedules for so long
python -m chaos storm:1234          one run again, with its trace
python -m chaos --mutants           break pombo on purpose, and see each break found
"""

import argparse
import os
import sys
import time

SCHEDULES = 2000


def main() -> int:
    """Read the command line; returns the exit code: 1 when something was found, or a mutant was not."""
    parser = argparse.ArgumentParser(prog="python -m chaos", description="Try to break pombo in simulated worlds.")
    parser.add_argument("runs", nargs="*", metavar="RUN", help="a run to repeat with its trace, such as storm:1234")
    parser.add_argument("--schedules", type=int, default=SCHEDULES, metavar="N", help=f"random ones ({SCHEDULES})")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the first random schedule (0)")
    parser.add_argument("--hours", type=float, default=0.0, metavar="H", help="random schedules for so long instead")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, metavar="N", help="at once (all CPUs)")
    parser.add_argument("--first", action="store_true", help="stop at the first run that goes wrong")
    parser.add_argument("--mutants", nargs="?", const="", metavar="NAME", help="see that broken pombos are found out")
    options = parser.parse_args()
    from chaos import campaign, mutants

    try:
        if options.runs:
            return campaign.replay(options.runs)
        if options.mutants is not None:
            return mutants.hunt(options.mutants, options.processes)
        if options.hours:
            return campaign.long(options.hours * 3600, seed=options.seed or int(time.time()), crew=options.processes)
        return campaign.whole(options.schedules, seed=options.seed, crew=options.processes, first=options.first)
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":
        # Sets and dictionaries of the same order each time, so that a run is the same again.
        os.execve(sys.executable, [sys.executable, "-m", "chaos", *sys.argv[1:]], {**os.environ, "PYTHONHASHSEED": "0"})
    sys.exit(main())
