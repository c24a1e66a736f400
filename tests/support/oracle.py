"""The oracle: from what bots were told and what Segment saw, whether anything went wrong. Pure.

It believes nobody: not the ledger, not the workers' logs. What it knows are the receipts of the bots, the arrivals
and requests that the simulator noted, the dead letters, and the moments at which something was killed.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Row = Mapping[str, Any]
ACCEPTED = frozenset({"accepted", "spooled"})
MAYBE = frozenset({"unconfirmed", "unheard"})
"""Nobody could promise: the receipt says so, or the bot was killed before it had heard."""
ACK_S = 1.5
"""Seconds after an answer within which a busy machine has its acknowledgement in Redis; before, a kill may repeat."""


@dataclass(frozen=True, slots=True)
class Issued:
    """One event as its bot knows it: `outcome` is the receipt's word, `at` the wall clock (s) when it was told."""

    message_id: str
    user: str
    outcome: str
    at: float = 0.0
    took: float = 0.0
    """Seconds from the call to the receipt's word."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What became of every id: counts of what is well, ids of what is not."""

    issued: int
    accepted: int
    kept: int
    dead: int
    unconfirmed: int
    """Ids that nobody could promise; they may have arrived."""
    explained: Counter[str]
    """Duplicates at Segment by their cause."""
    lost: list[str] = field(default_factory=list)
    """Accepted, but neither kept nor dead."""
    twice: list[str] = field(default_factory=list)
    """Kept more than once, or kept and dead."""
    out_of_order: list[str] = field(default_factory=list)
    """Arrived first after a later event of the same user."""
    spurious: list[str] = field(default_factory=list)
    """Arrived without having been issued, or though the receipt said that they would not."""
    dropped: list[str] = field(default_factory=list)
    """Accepted by Segment with a 200 and then dropped."""
    needless: list[str] = field(default_factory=list)
    """Sent again without a cause."""

    @property
    def faults(self) -> dict[str, list[str]]:
        """What is wrong, by kind; empty when all is well."""
        kinds = ("lost", "twice", "out_of_order", "spurious", "dropped", "needless")
        return {kind: found for kind in kinds if (found := getattr(self, kind))}

    @property
    def counts(self) -> dict[str, int | dict[str, int]]:
        """All of it as numbers."""
        plain = {name: getattr(self, name) for name in ("issued", "accepted", "kept", "dead", "unconfirmed")}
        kinds = ("lost", "twice", "out_of_order", "spurious", "dropped", "needless")
        return {**plain, **{kind: len(getattr(self, kind)) for kind in kinds}, "sent_again": dict(self.explained)}

    def assert_sound(self) -> None:
        """Fail with the first few ids of each kind of fault."""
        shown = {kind: (len(ids), ids[:5]) for kind, ids in self.faults.items()}
        assert {} == shown, f"{self}: {shown}"

    def __str__(self) -> str:
        causes = ", ".join(f"{count} {cause}" for cause, count in sorted(self.explained.items())) or "none"
        return (
            f"{self.issued:,} ids issued, {self.accepted:,} accepted, {self.unconfirmed} unconfirmed; "
            f"{self.kept:,} kept once, {self.dead} dead; lost {len(self.lost)}, out of order {len(self.out_of_order)}, "
            f"spurious {len(self.spurious)}; sent again: {causes}, without cause {len(self.needless)}"
        )


def judge(
    bots: Iterable[Sequence[Issued]],
    arrivals: Sequence[Row],
    *,
    dead: Collection[str] = (),
    requests: Sequence[Row] = (),
    kills: Sequence[float] = (),
    forgotten: Sequence[tuple[float, float]] = (),
) -> Findings:
    """Judge one run.

    Args:
        bots: what each bot issued, in order; a user's events belong to the first bot that names them, and an id
            that is issued again counts with its best outcome.
        arrivals: the simulator's rows of `events`, in order.
        dead: messageIds of the dead letters.
        requests: the simulator's rows of `requests?ids=1`, which explain what was sent again.
        kills: the wall clock (s) at each kill of a worker or of Redis.
        forgotten: begin and end (s of the wall clock) of each time of which Redis kept nothing.
    """
    outcomes, orders = _ledger(bots)
    fates = Counter((row["message_id"], row["fate"]) for row in arrivals)
    kept = Counter({message_id: count for (message_id, fate), count in fates.items() if fate == "kept"})
    accepted = {message_id for message_id, outcome in outcomes.items() if outcome in ACCEPTED}
    buried = set(dead)
    causes = _Causes(requests, kills, forgotten)
    explained, needless = causes.of_all(row for row in arrivals if row["fate"] == "duplicate")
    return Findings(
        issued=len(outcomes),
        accepted=len(accepted),
        kept=len(kept),
        dead=len(buried),
        unconfirmed=sum(outcome in MAYBE for outcome in outcomes.values()),
        explained=explained,
        lost=sorted(accepted - kept.keys() - buried),
        twice=sorted({message_id for message_id, count in kept.items() if count > 1} | (kept.keys() & buried)),
        out_of_order=_misplaced(orders, arrivals),
        spurious=sorted(i for i in kept.keys() | buried if outcomes.get(i, "never") not in ACCEPTED | MAYBE),
        dropped=sorted(message_id for message_id, fate in fates if fate not in {"kept", "duplicate"}),
        needless=needless,
    )


def _ledger(bots: Iterable[Sequence[Issued]]) -> tuple[dict[str, str], dict[str, int]]:
    """Each id's best outcome, and its place among its user's."""
    outcomes: dict[str, str] = {}
    places: dict[str, int] = {}
    count: Counter[str] = Counter()
    for issued in (one for bot in bots for one in bot):
        before = outcomes.get(issued.message_id)
        if before is None:
            places[issued.message_id] = count[issued.user]
            count[issued.user] += 1
        if before is None or _rank(issued.outcome) > _rank(before):
            outcomes[issued.message_id] = issued.outcome
    return outcomes, places


def _rank(outcome: str) -> int:
    return 2 if outcome in ACCEPTED else int(outcome in MAYBE)


def _misplaced(places: Mapping[str, int], arrivals: Sequence[Row]) -> list[str]:
    """Ids whose first arrival came after that of a later event of their user."""
    latest: dict[str, int] = defaultdict(lambda: -1)
    seen: set[str] = set()
    found = []
    for row in arrivals:
        message_id, user = row["message_id"], row["user"]
        if message_id in seen or message_id not in places:
            continue
        seen.add(message_id)
        if places[message_id] < latest[user]:
            found.append(message_id)
        latest[user] = max(latest[user], places[message_id])
    return found


class _Causes:
    """Why an id may have been sent again: each sending but the last must have ended without a durable ack."""

    def __init__(
        self, requests: Sequence[Row], kills: Sequence[float], forgotten: Sequence[tuple[float, float]] = ()
    ) -> None:
        self._spans = {
            "after kills": [(kill, kill) for kill in kills],
            "after Redis forgot": list(forgotten),
        }
        self._sendings: dict[str, list[Row]] = defaultdict(list)
        for row in requests:
            for message_id in row.get("message_ids", ()):
                self._sendings[message_id].append(row)

    def of_all(self, duplicates: Iterable[Row]) -> tuple[Counter[str], list[str]]:
        """Count the duplicates by cause; those without one by id."""
        explained: Counter[str] = Counter()
        needless = []
        for row in duplicates:
            cause = self._of(row["message_id"], row["request"])
            if cause is None:
                needless.append(row["message_id"])
            else:
                explained[cause] += 1
        return explained, needless

    def _of(self, message_id: str, request: int) -> str | None:
        sendings = self._sendings[message_id]
        if any(row["n"] == request and row["action"] == "late" for row in sendings):
            return "copies that came late"
        earlier = [row for row in sendings if row["n"] < request and _arrived(row)]
        if not earlier:
            return None
        last = earlier[-1]
        if last["action"] is not None:
            return "after lost answers"
        found = (cause for cause, spans in self._spans.items() if any(_covers(last, *span) for span in spans))
        return next(found, None)


def _arrived(row: Row) -> bool:
    """Whether a request's events were taken in by Segment."""
    return bool(row["action"] == "reset_after" or row["status"] == 200)


def _covers(row: Row, begun: float, ended: float) -> bool:
    """Whether what was noted between two moments, and is gone, may have been this request or that it is over."""
    finished = seconds(row["finished_at"]) if row["finished_at"] else ended
    return seconds(row["at"]) - ACK_S <= ended and begun <= finished + ACK_S


def seconds(moment: str) -> float:
    """An ISO 8601 moment as seconds of the wall clock."""
    return datetime.fromisoformat(moment).timestamp()
