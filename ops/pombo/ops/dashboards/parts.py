"""Panels that more than one dashboard shows, and the thresholds that go with them."""

from typing import Final

from pombo.ops.dashboards.grafana import Panel, Query

MINE: Final = '{source=~"$source"}'
"""Selects the chosen sources."""
_RATES: Final = f"{MINE}[$__rate_interval]"
NONE_IS_GOOD: Final = ((None, "green"), (1, "red"))
SHARE: Final = ((None, "green"), (0.8, "orange"), (0.95, "red"))
LATE: Final = ((None, "green"), (60, "orange"), (300, "red"))
STATES: Final = {
    0: ("active", "green"),
    1: ("held", "yellow"),
    2: ("broken", "red"),
    3: ("paused", "blue"),
    4: ("parked", "purple"),
}


def state_of(number: int) -> str:
    """A term that is `number` while the source is in that of `STATES`."""
    return f'{number} * max by (source) (pombo_source_state{{source=~"$source", state="{STATES[number][0]}"}})'


FRESHNESS: Final = Panel(
    "Freshness",
    "From acceptance to Segment's answer, over five minutes; of several sources the slowest.",
    "s",
    [Query(f"max(source:pombo_end_to_end_seconds:{p}_5m{MINE})", p) for p in ("p50", "p95", "p99")],
    width=12,
)
SUCCESS: Final = Panel(
    "Delivered",
    "Of the events that ended in the last hour, the share that Segment took; the rest became dead letters.",
    "percentunit",
    [
        Query(
            f"sum(max by (source) (increase(pombo_delivered_events_total{MINE}[1h]))) / clamp_min("
            f"sum(max by (source) (increase(pombo_delivered_events_total{MINE}[1h])))"
            f" + sum(max by (source, reason) (increase(pombo_dead_events_total{MINE}[1h]))), 1)"
        )
    ],
    kind="stat",
    width=4,
    steps=((None, "red"), (0.99, "orange"), (0.999, "green")),
)
BUDGET: Final = Panel(
    "Loss budget left",
    "Of one dead letter in a thousand accepted events, over seven days: 100 % is untouched, below 0 it is overdrawn.",
    "percentunit",
    [
        Query(
            f"1 - 1000 * sum(max by (source, reason) (increase(pombo_dead_events_total{MINE}[7d])))"
            f" / clamp_min(sum(max by (source, type) (increase(pombo_accepted_events_total{MINE}[7d]))), 1)"
        )
    ],
    kind="stat",
    width=4,
    steps=((None, "red"), (0, "orange"), (0.5, "green")),
)
LEDGER: Final = Panel(
    "Ledger",
    "Accepted events that are nowhere, or too many; anything but 0 is a defect, a loss, or a changed counter.",
    "short",
    [Query(f"sum(abs(max by (source) (pombo_ledger_imbalance{MINE})))")],
    kind="stat",
    width=4,
    steps=NONE_IS_GOOD,
)
FLOW: Final = Panel(
    "Flow",
    "Events a second: what is accepted leaves as delivered, deduplicated or dead; what is missing from the sum of "
    "these becomes backlog.",
    "eps",
    [Query(f"sum(source:pombo_{name}_events:rate1m{MINE})", name) for name in (
        "accepted", "delivered", "deduplicated", "dead",
    )],
    width=12,
)  # fmt: skip
BY_TYPE: Final = Panel(
    "Accepted by type",
    "Events a second by Segment's type of call.",
    "eps",
    [Query(f"sum by (type) (max by (source, type) (rate(pombo_accepted_events_total{_RATES})))", "{{type}}")],
    width=12,
    stacked=True,
)  # fmt: skip
BYTES: Final = Panel(
    "Queue against its limit",
    "Share of the bytes that a source may have in Redis; at 100 % events are refused. One without a limit is not here.",
    "percentunit",
    [
        Query(
            f"max by (source) (pombo_queue_bytes{MINE}) / (max by (source) (pombo_queue_limit_bytes{MINE}) > 0)",
            "{{source}}",
        )
    ],
    width=6,
    steps=SHARE,
)  # fmt: skip
AGE: Final = Panel(
    "Age of the oldest event",
    "How long the event at the head of the queue has waited: the first figure that goes wrong.",
    "s",
    [Query(f"max by (source) (pombo_oldest_event_age_seconds{MINE})", "{{source}}")],
    width=6,
    steps=LATE,
)
DRAIN: Final = Panel(
    "Time to drain",
    "Until the backlog is gone, if all goes on as in the last five minutes; a week stands for never.",
    "s",
    [Query(f"source:pombo_drain_seconds:rate5m{MINE}", "{{source}}")],
    width=6,
)
TIMELINE: Final = Panel(
    "States",
    "What kept each source from sending: Segment asked to wait (held), does not answer (broken), refuses it as a whole "
    "(parked), or somebody paused it.",
    "short",
    [Query(" + ".join(state_of(number) for number in (1, 2, 3, 4)), "{{source}}")],
    kind="state-timeline",
    width=12,
    words=STATES,
    console="/sources",
)
DYING: Final = Panel(
    "Events that die",
    "Events a second that become dead letters, by reason.",
    "eps",
    [Query(f"sum by (reason) (max by (source, reason) (rate(pombo_dead_events_total{_RATES})))", "{{reason}}")],
    stacked=True,
    console="/dead",
)  # fmt: skip
REJECTED: Final = Panel(
    "Refused by producers",
    "Events a second that never got in, by reason; who sent them was told. backlog_full, unavailable and unconfirmed "
    "are no fault of theirs.",
    "eps",
    [Query(f"sum by (reason) (rate(pombo_rejected_events_total{_RATES}))", "{{reason}}")],
    width=12,
    stacked=True,
)
