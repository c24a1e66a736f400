"""History: what a source's charts show, of the last 15 minutes and 24 hours.

Workers take a sample of each source that is astir every 10 s, the console of the others when no worker lives. Samples
are in Redis, so that whoever opens the console at 3 a.m. finds them there. A source has 91 of 10 s and 289 of 5 min.
"""

from pombo.shared.history.estimate import drain_s
from pombo.shared.history.reading import History, read_history
from pombo.shared.history.rolling import Present, Rolling
from pombo.shared.history.samples import LATENCY_S, RETRIES, SAMPLE_S, Sample, sample, status_class
from pombo.shared.history.series import SPANS, Series, Width
from pombo.shared.history.spans import Sight, Span

__all__ = [
    "LATENCY_S",
    "RETRIES",
    "SAMPLE_S",
    "SPANS",
    "History",
    "Present",
    "Rolling",
    "Sample",
    "Series",
    "Sight",
    "Span",
    "Width",
    "drain_s",
    "read_history",
    "sample",
    "status_class",
]
