"""What the bots were told, beside what Segment got."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pombo.ops.simulator import EventRow
from pombo.producer import Rejected
from pombo.producer.receipts import Outcome


@dataclass(slots=True)
class Tally:
    """Count the bots' side: each accepted messageId by user in the order of acceptance."""

    accepted: dict[str, list[str]] = field(default_factory=dict)
    offered_again: int = 0
    rejected: Counter[str] = field(default_factory=Counter)

    def note(self, user: str, message_id: str, outcome: Outcome | None, *, again: bool) -> None:
        """Take in what a bot was told of an event."""
        if isinstance(outcome, Rejected):
            self.rejected[outcome.reason] += 1
        elif again:
            self.offered_again += 1
        else:
            self.accepted.setdefault(user, []).append(message_id)

    @property
    def events(self) -> int:
        """Accepted events, copies not counted."""
        return sum(map(len, self.accepted.values()))


@dataclass(frozen=True, slots=True)
class Verdict:
    """The comparison: all counts are of messageIds."""

    kept: int
    repeated: int
    """Sent to Segment again after an answer was lost, and recognised there by their messageId."""
    dead: int
    lost: int
    twice: int
    disordered: int
    """Arrived for the first time before an event of the same user that was accepted earlier."""

    @property
    def well(self) -> bool:
        """Whether everything promised was kept."""
        return self.lost == self.twice == self.disordered == 0


def compare(accepted: Mapping[str, list[str]], arrived: Iterable[EventRow], dead: Iterable[str]) -> Verdict:
    """Judge what arrived, in order of arrival, against what was accepted."""
    rows = list(arrived)
    kept = [row["message_id"] for row in rows if row["fate"] == "kept"]
    position = {message_id: number for number, message_id in reversed(list(enumerate(kept)))}
    buried = set(dead)
    wanted = [message_id for ids in accepted.values() for message_id in ids]
    return Verdict(
        kept=len(position),
        repeated=sum(row["fate"] == "duplicate" for row in rows),
        dead=len(buried),
        lost=sum(message_id not in position and message_id not in buried for message_id in wanted),
        twice=len(kept) - len(position),
        disordered=sum(_disordered([position[i] for i in ids if i in position]) for ids in accepted.values()),
    )


def _disordered(positions: list[int]) -> int:
    highest, found = -1, 0
    for position in positions:
        found += position < highest
        highest = max(highest, position)
    return found
