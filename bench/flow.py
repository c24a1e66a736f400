"""Segment slow, down, back, and short, as a picture: `PYTHONPATH=tests python -m bench.flow` writes docs/img/flow.*.

Real processes: a server, a simulator, three workers, and bots that enqueue more than the source's limit. It takes two
minutes, and needs the dependency group `plot`.
"""

import sys
import tempfile
import time
from collections import Counter
from itertools import groupby
from pathlib import Path
from typing import Any

from support.installation import Installation
from support.oracle import seconds
from support.scenario import Course, Observer, Sample, limit_segment, slow_down_and_back

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "img"
LIMIT = 1000
OFFERED = 1200
WORKERS, BOTS = 3, 4
PHASES = (10.0, 8.0, 25.0, 20.0)
"""Seconds of well, slow (2 s an answer), down (503), back."""
SHORT, SHORT_S = 500, 35.0
"""Then Segment takes only so many events a second, for so long."""
SHADES = {"broken": "#f2c4c0", "held": "#f5e3b3"}
INK, ACCEPTED, DELIVERED, FAILED, RATE = "#333333", "#9aa5b1", "#2166ac", "#c0392b", "#4d9221"


def run() -> tuple[Course, float]:
    """Let it happen; returns what was seen, and when Segment became short (wall clock, s)."""
    with tempfile.TemporaryDirectory(prefix="pombo-flow-") as folder, Installation(Path(folder)) as installation:
        installation.add("bot", "f" * 32, rate=LIMIT)
        installation.workers(WORKERS)
        bots = [
            installation.stream("bot", f"b{number}", users=40, rate=OFFERED / BOTS, tick_s=0.1)
            for number in range(BOTS)
        ]
        course = slow_down_and_back(installation, "bot", limit=LIMIT, phases=PHASES, mark=_say)
        _say("short")
        short_at = time.time()
        limit_segment(installation, SHORT)
        Observer(installation, "bot", course).wait(SHORT_S)
        for bot in bots:
            bot.stop()
        course.requests = installation.segment.requests()
        return course, short_at


def _say(phase: str) -> None:
    sys.stderr.write(f"Segment is {phase}\n")


def per_second(samples: list[Sample], begun: float, counter: str) -> tuple[list[float], list[float]]:
    """A counter's growth in each second, at the seconds' middles."""
    last = {int(sample.at - begun): getattr(sample, counter) for sample in samples}
    whole = [second for second in sorted(last) if second - 1 in last]
    return [second + 0.5 for second in whole], [last[second] - last[second - 1] for second in whole]


def rate_of(sample: Sample) -> float:
    """Events a second that may be sent: none while the source is shut."""
    return (sample.rate or 0) if sample.state == "active" else 0


def requests_by(course: Course, accepted: bool) -> tuple[list[int], list[int]]:
    """Requests a second: those that were accepted, or the others."""
    rows = [row for row in course.requests if (row["status"] == 200) == accepted]
    counts = Counter(int(seconds(row["at"]) - course.begun) for row in rows)
    return list(counts.keys()), list(counts.values())


def draw(course: Course, short_at: float, images: Path) -> list[Path]:
    """Draw three panels over one time axis, as SVG and PNG."""
    try:
        from matplotlib import pyplot
    except ImportError:
        raise SystemExit("matplotlib is missing: pip install --group plot") from None
    pyplot.rcParams |= {"font.size": 9, "svg.hashsalt": "pombo", "axes.spines.top": False, "axes.spines.right": False}
    figure, (events, requests, rate) = pyplot.subplots(
        3, 1, figsize=(9, 6.5), sharex=True, height_ratios=(3, 2, 2), layout="constrained"
    )
    _draw_events(events, course)
    _draw_requests(requests, course)
    _draw_rate(rate, course)
    for panel in (events, requests, rate):
        _shade(panel, course)
    _name_phases(events, course, short_at)
    images.mkdir(parents=True, exist_ok=True)
    made = [images / "flow.svg", images / "flow.png"]
    for path in made:
        figure.savefig(path, dpi=120, metadata={"Date": None} if path.suffix == ".svg" else {})
    return made


def _draw_events(panel: Any, course: Course) -> None:
    panel.plot(*per_second(course.samples, course.begun, "accepted"), color=ACCEPTED, label="accepted from bots")
    panel.plot(*per_second(course.samples, course.begun, "delivered"), color=DELIVERED, label="delivered to Segment")
    panel.axhline(LIMIT, color=INK, linewidth=0.6, linestyle=":")
    panel.set_ylabel("events/s")
    panel.set_ylim(0, 1.55 * OFFERED)
    panel.legend(loc="upper right", frameon=False, ncols=2)


def _draw_requests(panel: Any, course: Course) -> None:
    panel.bar(*requests_by(course, accepted=True), width=0.9, align="edge", color=DELIVERED, label="accepted")
    panel.bar(*requests_by(course, accepted=False), width=0.9, align="edge", color=FAILED, label="answered 503 or 429")
    panel.set_ylabel("requests/s")
    panel.legend(loc="upper right", frameon=False, ncols=2)


def _draw_rate(panel: Any, course: Course) -> None:
    at = [sample.at - course.begun for sample in course.samples]
    panel.plot(at, [rate_of(sample) for sample in course.samples], color=RATE, label="rate in force, ramps aside")
    panel.axhline(LIMIT, color=INK, linewidth=0.6, linestyle=":")
    panel.set_ylim(0, 1.35 * LIMIT)
    panel.set_ylabel("events/s")
    panel.set_xlabel("seconds; shaded red: breaker open, yellow: held after a 429")
    panel.legend(loc="upper right", frameon=False)


def _shade(panel: Any, course: Course) -> None:
    for state, run_of in groupby(course.samples, lambda sample: sample.state):
        span = [sample.at - course.begun for sample in run_of]
        if state in SHADES:
            panel.axvspan(span[0], span[-1], color=SHADES[state], alpha=0.5, linewidth=0)


def _name_phases(panel: Any, course: Course, short_at: float) -> None:
    names = ("well", "slow", "down: 503", "back", f"takes {SHORT}/s")
    starts = (course.begun, course.slow_at, course.down_at, course.back_at, short_at)
    for name, start in zip(names, starts, strict=True):
        at = start - course.begun
        panel.axvline(at, color=INK, linewidth=0.6)
        panel.text(at + 0.4, 1.22 * OFFERED, name, color=INK)


def main() -> None:
    """Run it and draw it."""
    for path in draw(*run(), IMAGES):
        sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
