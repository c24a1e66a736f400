"""A bot that is told to end, at every instruction of its waiting."""

import subprocess
import sys

from support.installation import TESTS

INTERRUPTED = """
import signal, sys
from support.bot import Stopped

def interrupted_at(number):
    stopped, left = Stopped(), number

    def trace(frame, event, argument):
        nonlocal left
        frame.f_trace_opcodes = True
        left -= 1
        if not left:
            signal.raise_signal(signal.SIGTERM)
        return trace

    sys.settrace(trace)
    stopped.wait(0.0)
    sys.settrace(None)
    return bool(stopped)

told = 0
while interrupted_at(told + 1):
    told += 1
print(told)
"""


def test_a_bot_hears_that_it_is_to_end_wherever_it_is() -> None:
    """A signal that comes at any instruction of the wait is heard, and stops nothing."""
    command = [sys.executable, "-c", INTERRUPTED]
    done = subprocess.run(command, cwd=TESTS, capture_output=True, text=True, timeout=60, check=False)
    assert 0 == done.returncode, done.stderr
    assert int(done.stdout) > 10
