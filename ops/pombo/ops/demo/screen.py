"""What the demo shows: live figures, and at the end one screen that says what happened.

Everything fits a terminal of 80 columns and 24 lines, dark or light.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from pombo.ops.demo.kills import Kills
from pombo.ops.demo.tally import Tally, Verdict
from pombo.ops.overview import Overview, WorkerView
from pombo.shared.audit import AuditReport
from pombo.shared.deadletters import DeadLetter
from pombo.shared.ledger import COUNTERS

PLAIN_WIDTH = 100
_LATEST = 8
_STATE_STYLES = {"active": "green", "held": "yellow", "parked": "red", "paused": "yellow", "broken": "red"}
_COUNTS = ("accepted", "delivered", "deduplicated", "queued", "in flight", "dead")
_METER_S = 2.0


@dataclass(slots=True)
class Story:
    """What happened, with the second at which it did."""

    lines: list[tuple[float, str]] = field(default_factory=list)

    def tell(self, second: float, text: str) -> None:
        """Add an event of the story."""
        self.lines.append((second, text))

    def render(self) -> Text:
        """The latest lines."""
        latest = [f"{second:5.1f} s  {text}" for second, text in self.lines[-_LATEST:]]
        return Text("\n".join(latest) or "nothing yet")


class Meter:
    """Events a second, over the last two seconds."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def rate(self, second: float, count: int) -> float:
        """Take in a count; how fast it grows."""
        self._seen.append((second, count))
        while len(self._seen) > 2 and self._seen[1][0] <= second - _METER_S:
            self._seen.popleft()
        (then, before), passed = self._seen[0], second - self._seen[0][0]
        return (count - before) / passed if then < second else 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """The figures of one moment."""

    second: float
    ending: str
    overview: Overview
    pids: Mapping[str, int]
    """Of the worker processes that run, by name."""
    requests: int
    rate: float
    """Events delivered a second."""


def live(frame: Frame, story: Story) -> Group:
    """One frame of the live figures."""
    facts = Text(f"{frame.rate:,.0f} events/s delivered · {frame.requests:,} requests to Segment")
    title = f"pombo demo · {frame.second:.0f} s · {frame.ending}"
    return Group(
        Panel(Group(_table(frame.overview), Text(), *_workers(frame), facts), title=title),
        Panel(story.render(), title="what goes wrong"),
    )


def _table(overview: Overview) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1), collapse_padding=True, header_style="dim")
    for name in ("source", "state"):
        table.add_column(name, no_wrap=True)
    for name in _COUNTS:
        table.add_column(name, justify="right", no_wrap=True)
    for name, view in overview.sources.items():
        counts = [view.ledger[count.replace(" ", "_")] for count in _COUNTS]
        state = Text(view.state, style=_STATE_STYLES.get(view.state, ""))
        table.add_row(name, state, *(f"{count:,}" for count in counts))
    return table


def _workers(frame: Frame) -> Iterator[Text]:
    """A line for each process that runs, and for each one killed that the fleet still knows."""
    known = {worker.pid: worker for worker in frame.overview.workers}
    for name, pid in frame.pids.items():
        worker = known.pop(pid, None)
        told = f"holds {_partitions(worker)}" if worker else "is starting"
        yield Text(f"{name} (pid {pid}) {told}")
    for killed in known.values():
        if killed.partitions and not killed.stopping:
            yield Text(f"pid {killed.pid} was killed with {_partitions(killed)}", style="red")


def _partitions(worker: WorkerView) -> str:
    return f"{worker.partitions} partition{'' if worker.partitions == 1 else 's'}"


def plain(frame: Frame) -> str:
    """The same in a line a source, where no terminal is attached."""
    lines = []
    for name, view in frame.overview.sources.items():
        ledger = view.ledger
        lines.append(
            f"{frame.second:5.1f} s  {name:<12} {view.state:<7} {ledger.accepted:>6} accepted"
            f" {ledger.delivered:>6} delivered {ledger.deduplicated:>4} deduplicated"
            f" {ledger.queued + ledger.in_flight:>5} under way {ledger.dead:>2} dead"
        )
    return "\n".join(lines)


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How a demo ended."""

    tally: Tally
    verdict: Verdict
    report: AuditReport
    letters: Sequence[DeadLetter]
    kills: Kills

    @property
    def well(self) -> bool:
        """Whether all promises were kept, those to the killed workers' partitions too."""
        return self.report.balanced and self.verdict.well and not self.kills.waiting


def summary(outcome: Outcome, story: Story, *, words: str = "") -> Group:
    """The last screen; `words` are the workers' last ones, told where something is wrong."""
    well, verdict, sources = outcome.well, outcome.verdict, outcome.report.sources
    lines = [
        *_told(outcome.tally),
        f"{verdict.kept:,} arrived at Segment; {verdict.repeated:,} of them once more, after a lost answer, and",
        "Segment knew those by their messageIds.",
        _refused(outcome.letters),
        outcome.kills.describe(),
        _judgement(verdict),
        "",
        *(line for name, source in sources.items() for line in _equation(name, source.describe())),
    ]
    title = "the audit balances: nothing lost, nothing twice, in order" if well else "SOMETHING IS WRONG"
    shown = Group(
        Panel(story.render(), title="what went wrong"),
        Panel(Text("\n".join(lines)), title=title, border_style="green" if well else "bold red"),
    )
    return shown if well or not words else Group(shown, Text(f"the workers' last words:\n{words}"))


def _told(tally: Tally) -> Iterator[str]:
    yield f"{tally.events:,} events were accepted from bots, which offered {tally.offered_again:,} of them twice."
    if tally.rejected:
        counts = ", ".join(f"{count:,} {reason}" for reason, count in tally.rejected.items())
        yield f"{sum(tally.rejected.values()):,} were rejected, and the bots know: {counts}."


def _refused(letters: Sequence[DeadLetter]) -> str:
    if not letters:
        return "No event was refused."
    was = "was" if len(letters) == 1 else "were"
    return f"{len(letters):,} {was} refused ({letters[0].header.status}), alone: dead letters, with the answer kept."


def _judgement(verdict: Verdict) -> str:
    if verdict.well:
        return "Nothing was lost, nothing kept twice, and each user's events came in order."
    return f"LOST {verdict.lost}, KEPT TWICE {verdict.twice}, OUT OF ORDER {verdict.disordered}."


def _equation(name: str, counts: Mapping[str, object]) -> Iterator[str]:
    terms = [f"{counts[key]} {key.replace('_', ' ')}" for key in COUNTERS[1:] if counts[key]]
    yield f"{name}: {counts['accepted']} accepted = {' + '.join(terms) or '0'}"
    if not counts["balanced"]:
        yield f"  NOT BALANCED: {counts['problems']}"


def console() -> Console:
    """Where the demo writes."""
    terminal = Console(highlight=False)
    return terminal if terminal.is_terminal else Console(highlight=False, width=PLAIN_WIDTH)
