"""`pombo demo`: a world of its own in which everything goes wrong, and nothing is lost.

`world` has the server, the simulated Segment and the workers; `bots` talk; `faults` says what goes wrong and
when; `tally` compares what the bots were told with what Segment got; `screen` shows it; `run` is the course.
"""

from pombo.ops.demo.run import demo

__all__ = ["demo"]
