"""Dashboard *Source*: one source, from its promise down to each kind of answer."""

from dataclasses import replace
from typing import Final

from pombo.ops.dashboards import parts
from pombo.ops.dashboards.grafana import Dashboard, Panel, Query, Row
from pombo.ops.dashboards.parts import MINE

_RATE: Final = "$__rate_interval"


def _quantiles(metric: str) -> list[Query]:
    buckets = f"sum by (le) (rate({metric}_bucket{MINE}[{_RATE}]))"
    return [Query(f"histogram_quantile({share}, {buckets})", name) for share, name in ((0.5, "p50"), (0.95, "p95"))]


def _mean(metric: str) -> list[Query]:
    return [Query(f"sum(rate({metric}_sum{MINE}[{_RATE}])) / sum(rate({metric}_count{MINE}[{_RATE}]))", "mean")]


_LAST: Final = Panel(
    "Since the last delivery",
    "Seconds since Segment last took a request of it.",
    "s",
    [Query(f"min(pombo_last_success_age_seconds{MINE})")],
    kind="stat",
    width=4,
    steps=parts.LATE,
)
_WAITING: Final = Panel(
    "Backlog",
    "Events that wait, and events that a worker has claimed and not settled.",
    "short",
    [Query(f"max(pombo_queue_events{MINE})", "queued"), Query(f"max(pombo_in_flight_events{MINE})", "in flight")],
    width=6,
    stacked=True,
    console="/",
)
_STATUS: Final = Panel(
    "Segment's answers",
    "Requests a second by status; error where no answer came.",
    "reqps",
    [Query(f"sum by (status) (rate(pombo_requests_total{MINE}[{_RATE}]))", "{{status}}")],
    width=6,
    stacked=True,
)
_SECONDS: Final = Panel(
    "Segment's answer time",
    "From a request's first byte to its answer.",
    "s",
    _quantiles("pombo_request_seconds"),
    width=6,
)
_HOLD: Final = Panel(
    "Hold",
    "Seconds until the hold in force ends; Segment asked for it.",
    "s",
    [Query(f"max(pombo_hold_seconds{MINE})", "hold")],
    width=12,
)
_LIMIT: Final = Panel(
    "Rate against its limit",
    "Events a second that the whole fleet may send now, and that it delivers. The limit falls when Segment has had too "
    "much, and grows back; 0 is no limit.",
    "eps",
    [
        Query(f"max(pombo_send_rate_limit{MINE})", "limit"),
        Query(f"sum(source:pombo_delivered_events:rate1m{MINE})", "delivered"),
    ],
    width=6,
)
_AT_ONCE: Final = Panel(
    "Requests at once",
    "On the wire on average: the sum of their seconds in each second.",
    "short",
    [Query(f"sum(rate(pombo_request_seconds_sum{MINE}[{_RATE}]))", "requests")],
    width=6,
)
_EVENTS: Final = Panel(
    "Events in a request",
    "Of 2,500 at most; fuller requests cost less of everything.",
    "short",
    _mean("pombo_request_events"),
)
_SIZE: Final = Panel("Bytes of a request", "As sent, compressed.", "bytes", _mean("pombo_request_bytes"))
_FILLED: Final = Panel(
    "What ended the packing",
    "drained: nothing more waited. events, bytes: Segment's limits. pace: ours, so that nobody waits long.",
    "reqps",
    [Query(f"sum by (reason) (rate(pombo_requests_filled_total{MINE}[{_RATE}]))", "{{reason}}")],
    stacked=True,
)
_RETRIES: Final = Panel(
    "Requests that go again",
    "A second, by cause: failed, held, parked, refused.",
    "reqps",
    [Query(f"sum by (cause) (rate(pombo_retries_total{MINE}[{_RATE}]))", "{{cause}}")],
    stacked=True,
)
_WAITS: Final = Panel(
    "Until they go again",
    "As decided at the answer: backoff, or what Segment asked for.",
    "s",
    _quantiles("pombo_retry_wait_seconds"),
)
_DOUBTS: Final = Panel(
    "Breaker and doubts",
    "Times that the breaker opened in five minutes, and events that may have arrived twice: sent again after a send "
    "without an answer. Segment drops one of two by their messageId.",
    "short",
    [
        Query(f"sum(increase(pombo_breaker_opened_total{MINE}[5m]))", "breaker opened"),
        Query(f"sum(increase(pombo_suspected_duplicates_total{MINE}[5m]))", "duplicates suspected"),
    ],
)
_LETTERS: Final = Panel(
    "Dead letters held",
    "What waits for a redrive or a discard, by reason; the console groups them by fingerprint.",
    "short",
    [Query(f"sum by (reason) (max by (source, reason) (pombo_dead_letters{MINE}))", "{{reason}}")],
    stacked=True,
    console="/dead/$source",
)
_ROOM: Final = Panel(
    "Dead letters against their limit",
    "Share of the bytes that they may take; at 100 % the source is parked.",
    "percentunit",
    [Query(f"max(pombo_dead_letter_bytes{MINE}) / (max(pombo_dead_letter_limit_bytes{MINE}) > 0)", "share")],
    steps=parts.SHARE,
)
_SIZES: Final = Panel(
    "Bytes of an event",
    "Serialised, as Segment gets it; 32,000 at most.",
    "bytes",
    _quantiles("pombo_event_bytes"),
    width=12,
)

SOURCE: Final = Dashboard(
    "pombo-source",
    "pombo: Source",
    "One source: its freshness, flow and backlog, what Segment says to it, and what became of the rest.",
    [
        Row("Is all well", [replace(parts.FRESHNESS, width=8), parts.SUCCESS, parts.BUDGET, parts.LEDGER, _LAST]),
        Row("Flow", [parts.FLOW, parts.BY_TYPE]),
        Row("Backlog", [_WAITING, parts.BYTES, parts.AGE, parts.DRAIN]),
        Row("Segment", [parts.TIMELINE, _HOLD, _STATUS, _SECONDS, _LIMIT, _AT_ONCE]),
        Row("Batches", [_EVENTS, _SIZE, _FILLED]),
        Row("Retries", [_RETRIES, _WAITS, _DOUBTS]),
        Row("Dead letters", [parts.DYING, _LETTERS, _ROOM]),
        Row("Producers", [parts.REJECTED, _SIZES]),
    ],
    sources="one",
)
