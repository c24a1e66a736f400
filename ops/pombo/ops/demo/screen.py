"""What the demo shows: live figures, and at the end one screen that says what happened."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from pombo.ops.demo.tally import Tally, Verdict
from pombo.ops.overview import Overview
from pombo.shared.audit import AuditReport
from pombo.shared.deadletters import DeadLetter

_STATE_STYLES = {"active": "green", "held": "yellow", "parked": "red", "paused": "yellow"}
_LATEST = 8
PLAIN_WIDTH = 120


@dataclass(slots=True)
class Story:
    """What happened, with the second at which it did."""

    lines: list[tuple[float, str]] = field(default_factory=list)

    def tell(self, second: float, text: str) -> None:
        """Add an event of the story."""
        self.lines.append((second, text))

    def render(self) -> Text:
        """The latest lines."""
        return Text(
            "\n".join(f"{second:5.1f} s  {text}" for second, text in self.lines[-_LATEST:]) or "all is well"
        )


def live(second: float, overview: Overview, requests: int, story: Story, ending: str) -> Group:
    """One frame of the live figures."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("source", "state"):
        table.add_column(name)
    for name in ("accepted", "delivered", "deduplicated", "queued", "in flight", "dead"):
        table.add_column(name, justify="right")
    for name, view in overview.sources.items():
        state = Text(view.state, style=_STATE_STYLES.get(view.state, ""))
        ledger = view.ledger
        counts = (
            ledger.accepted,
            ledger.delivered,
            ledger.deduplicated,
            ledger.queued,
            ledger.in_flight,
            ledger.dead,
        )
        table.add_row(name, state, *(f"{count:,}" for count in counts))
    workers = ", ".join(f"{worker.id} ({worker.partitions})" for worker in overview.workers)
    facts = Text(f"workers (partitions): {workers or 'none'}\nrequests to Segment: {requests:,}", style="dim")
    title = f"pombo demo · {second:.0f} s · {ending}"
    return Group(
        Panel(Group(table, Text(), facts), title=title), Panel(story.render(), title="what went wrong")
    )


def plain(second: float, overview: Overview, requests: int) -> str:
    """The same in a line a source, where no terminal is attached."""
    lines = []
    for name, view in overview.sources.items():
        ledger = view.ledger
        lines.append(
            f"{second:5.1f} s  {name:<12} {view.state:<7} {ledger.accepted:>6} accepted {ledger.delivered:>6} delivered "
            f"{ledger.deduplicated:>4} deduplicated {ledger.queued + ledger.in_flight:>5} under way {ledger.dead:>2} dead"
        )
    return "\n".join([*lines, f"{'':9}{requests} requests to Segment"])


def summary(
    tally: Tally,
    verdict: Verdict,
    report: AuditReport,
    letters: Sequence[DeadLetter],
    story: Story,
    *,
    takeovers: str,
) -> Group:
    """The last screen."""
    lines = [
        f"{tally.events:,} events accepted from bots, {tally.offered_again:,} of them offered twice"
        + (
            f", {sum(tally.rejected.values()):,} rejected ({_counts(tally.rejected)})"
            if tally.rejected
            else ""
        ),
        f"{verdict.kept:,} arrived at Segment, each kept once; {verdict.repeated:,} were sent again after a lost answer "
        "and recognised by their messageId",
        f"{verdict.dead:,} dead letters{_letter_note(letters)}",
        takeovers,
        f"lost {verdict.lost}, kept twice {verdict.twice}, out of order {verdict.disordered}",
        "",
        *(_equation(name, counts) for name, counts in report.describe()["sources"].items()),
    ]
    ok = report.balanced and verdict.well
    title = "the audit balances: nothing lost, nothing twice, in order" if ok else "SOMETHING IS WRONG"
    body = Text("\n".join(lines))
    return Group(
        Panel(story.render(), title="what went wrong"),
        Panel(body, title=title, border_style="green" if ok else "bold red"),
    )


def _letter_note(letters: Sequence[DeadLetter]) -> str:
    if not letters:
        return ""
    header = letters[0].header
    return f", each alone ({header.reason}, status {header.status}): its answer and attempts are kept"


def _equation(name: str, counts: dict[str, object]) -> str:
    terms = " + ".join(
        f"{counts[key]} {key.replace('_', ' ')}"
        for key in ("delivered", "deduplicated", "dead", "discarded", "erased", "queued", "in_flight")
        if counts[key]
    )
    verdict = "balanced, recounted" if counts["balanced"] else f"NOT BALANCED: {counts['problems']}"
    return f"{name}: {counts['accepted']} accepted = {terms or '0'}  ({verdict})"


def _counts(counter: dict[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in counter.items())


def console() -> Console:
    """Where the demo writes."""
    terminal = Console(highlight=False)
    return terminal if terminal.is_terminal else Console(highlight=False, width=PLAIN_WIDTH)
