"""What an installation needs, from what the benchmarks measured: a model without I/O, and its page `docs/scaling.md`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any, Self

from bench.report import number

DAY_S = 86_400
EVENT_BYTES = 326
"""Mean bytes of a dialogue's event as JSON."""
WIRE_BYTES = 78
"""Its share of a gzipped request of a dozen; 264 B alone, 28 B in a thousand."""
BUSY = 0.6
"""Of a core's time that is planned for: the rest is for peaks, takeovers and the log's rewriting."""
SOURCE_RATE = 1_000
"""Events a second that Segment takes of one workspace, as it documents."""
NODE_BYTES = 24 << 30
"""Memory of a Redis node that is planned for; half of it stays free for its log's rewriting and for peaks."""


@dataclass(frozen=True, slots=True)
class Costs:
    """Measured costs: µs of CPU an event in full requests, ms a request of few events, bytes."""

    delivery_us: float
    delivery_server_us: float
    request_ms: float
    request_server_ms: float
    enqueue_server_us: float
    queued_bytes: float
    lone_bytes: float
    id_bytes: float
    worker_bytes: float

    @classmethod
    def of(cls, medians: Mapping[str, float]) -> Self:
        """Take them from figures by their keys.

        Raises:
            KeyError: one was not measured.
        """
        return cls(
            delivery_us=medians["delivery_cpu"],
            delivery_server_us=medians["delivery_server_cpu"],
            request_ms=medians["request_cpu"],
            request_server_ms=medians["request_server_cpu"],
            enqueue_server_us=medians["enqueue_server_cpu"],
            queued_bytes=medians["queued_full"],
            lone_bytes=medians["queued_single"],
            id_bytes=medians["remembered"],
            worker_bytes=medians["rss_peak"] * 1e6,
        )


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked for: events a second, evenly over so many sources of so many partitions."""

    events: float
    sources: int
    partitions: int = 8
    latency_s: float = 0.1
    """Seconds that Segment takes for a request."""
    window_s: float = DAY_S
    """Seconds for which a messageId is remembered."""
    outage_s: float = 3_600
    """Seconds without Segment that the queue is to hold."""

    @property
    def requests(self) -> float:
        """Requests a second: one under way for each partition, and none without an event."""
        return min(self.events, self.sources * self.partitions / self.latency_s)


@dataclass(frozen=True, slots=True)
class Needs:
    """What that takes: cores at 100 %, processes and nodes as planned for, bytes."""

    worker_cores: float
    workers: int
    server_cores: float
    id_bytes: float
    queue_bytes: float
    nodes: int
    day_bytes: float
    day_wire_bytes: float
    request_events: float


def needs(load: Load, costs: Costs) -> Needs:
    """What a load needs.

    A request costs its worker a constant and a share for each event; the constant is what a request of few events costs.
    Ids are remembered for one to two windows, one and a half in the mean.
    """
    fixed = load.requests
    worker = (fixed * costs.request_ms * 1e-3) + load.events * costs.delivery_us * 1e-6
    server = fixed * costs.request_server_ms * 1e-3 + load.events * 1e-6 * (
        costs.enqueue_server_us + costs.delivery_server_us
    )
    ids = load.events * load.window_s * 1.5 * costs.id_bytes
    queue = load.events * load.outage_s * costs.queued_bytes
    nodes = max(ceil(server / BUSY), ceil((ids + queue) / (NODE_BYTES / 2)))
    return Needs(
        worker_cores=worker,
        workers=max(1, ceil(worker / BUSY)),
        server_cores=server,
        id_bytes=ids,
        queue_bytes=queue,
        nodes=max(1, min(nodes, load.sources)),
        day_bytes=load.events * DAY_S * EVENT_BYTES,
        day_wire_bytes=load.events * DAY_S * WIRE_BYTES,
        request_events=load.events / fixed,
    )


EXAMPLES = (
    ("one bot, 100 events/s", Load(100, 1)),
    ("ten busy bots, 10,000 events/s", Load(10_000, 10)),
    ("the same, 2 partitions each", Load(10_000, 10, partitions=2)),
    ("a thousand workspaces, 1,000,000 events/s", Load(1_000_000, 1_000)),
    ("the same, 2 partitions each", Load(1_000_000, 1_000, partitions=2)),
)
_HEADINGS = (
    "", "events in a request", "cores of workers", "worker processes", "cores of Redis", "ids", "an hour's queue",
    "Redis nodes", "a day's events", "to Segment, gzip",
)  # fmt: skip


def page(costs: Costs, medians: Mapping[str, float], setting: Mapping[str, Any]) -> str:
    """`docs/scaling.md`."""
    return "\n".join(_page(costs, medians, setting)) + "\n"


def _page(costs: Costs, medians: Mapping[str, float], setting: Mapping[str, Any]) -> Iterator[str]:
    yield from _opening(costs, setting)
    yield from _model(costs)
    yield from _examples(costs)
    yield from _checks(costs, medians)


def _opening(costs: Costs, setting: Mapping[str, Any]) -> Iterator[str]:
    yield from (
        "# Scaling",
        "",
        "<!-- Made by `make bench` from what it measured; edit `bench/capacity.py` instead. -->",
        "",
        "How many workers, how much Redis: a model of measured costs, worked examples, and how far the model holds on the",
        f"machine of [the benchmarks](benchmarks.md) ({setting['made_at']}, {setting['machine']}).",
        "",
        "## What scales with what",
        "",
        "- **A source is one slot of Redis**: its streams, ids and ledger live on one node, so that every step is one"
        " script.",
        f"  A node's core carries {number(_node_rate(costs))} events/s of full requests,"
        f" {_node_rate(costs) / SOURCE_RATE:.0f} times what Segment takes",
        f"  of a workspace ({SOURCE_RATE:,}/s). More sources spread over the nodes of a cluster by themselves.",
        "- **Workers** share nothing but Redis: start more, on any machine. A source gives work to as many as it has"
        " partitions.",
        "- **Partitions** are how many requests of a source may be under way. A source needs `rate × latency ÷ events in a"
        " request`",
        "  of them; more make requests smaller and so dearer, never faster: 2 carry 1,000 events/s at 100 ms with ease.",
        "- **Memory of Redis** is remembered ids first (one to two windows of them), then the queue, which is empty while"
        " Segment answers. A dead letter takes what its event and its history take, and 32 B in the table by which it is"
        " found.",
        "",
    )


def _node_rate(costs: Costs) -> float:
    return 1e6 / (costs.enqueue_server_us + costs.delivery_server_us)


def _model(costs: Costs) -> Iterator[str]:
    yield from (
        "## The model",
        "",
        "| | measured |",
        "| --- | ---: |",
        f"| worker, an event | {number(costs.delivery_us)} µs |",
        f"| worker, a request | {number(costs.request_ms)} ms |",
        f"| Redis, an event: appended, claimed and settled | {number(costs.enqueue_server_us)} +"
        f" {number(costs.delivery_server_us)} µs |",
        f"| Redis, a request | {number(costs.request_server_ms)} ms |",
        f"| Redis' memory, a queued event: in full record batches, alone | {number(costs.queued_bytes)},"
        f" {number(costs.lone_bytes)} B |",
        f"| Redis' memory, a remembered id | {number(costs.id_bytes)} B |",
        f"| worker's memory, however much is queued | {number(costs.worker_bytes / 1e6)} MB |",
        "",
        "- requests/s = min(events/s, sources × partitions ÷ latency): a partition with events has one request under way",
        "- cores of workers = requests/s × a request + events/s × an event; cores of Redis likewise",
        "- ids = events/s × window × 1.5 × an id; an hour's queue = events/s × 3,600 × a queued event",
        f"- processes and nodes: at {BUSY:.0%} of a core's time, and half of {NODE_BYTES >> 30} GiB a node for ids and"
        " queue",
        "",
    )


def _examples(costs: Costs) -> Iterator[str]:
    yield from (
        "## Examples",
        "",
        "Segment answers in 100 ms, ids are remembered for a day, an hour without Segment is to be held.",
        "",
        "| " + " | ".join(_HEADINGS) + " |",
        "| --- " + "| ---: " * (len(_HEADINGS) - 1) + "|",
    )
    for name, load in EXAMPLES:
        found = needs(load, costs)
        cells = (
            name, number(found.request_events), number(found.worker_cores), f"{found.workers:,}",
            number(found.server_cores), size(found.id_bytes), size(found.queue_bytes), f"{found.nodes:,}",
            size(found.day_bytes), size(found.day_wire_bytes),
        )  # fmt: skip
        yield "| " + " | ".join(cells) + " |"
    yield from (
        "",
        "**100 events/s**: `pombo up` on the smallest machine. **10,000 events/s**: one Redis, and workers on two or three"
        " cores;",
        "ten sources, because no workspace takes more than 1,000/s. **1,000,000 events/s**: a Redis Cluster, whose size is"
        " given by the ids:",
        "a shorter `--window` (Segment itself forgets after a day) or an `--ids-limit` is the lever. With 2 partitions"
        " instead of 8 the",
        "workers shrink to a fraction, as their requests are four times as large.",
        "",
    )


def _checks(costs: Costs, medians: Mapping[str, float]) -> Iterator[str]:
    together = costs.delivery_us + costs.delivery_server_us
    yield from (
        "## Held against measurements",
        "",
        "| | the model says | measured |",
        "| --- | ---: | ---: |",
        f"| one process delivers, alone on its core | {number(1e6 / costs.delivery_us)} events/s |"
        f" {number(medians['delivery_rate'])} events/s |",
        f"| two processes, with Redis on the same 2 cores | {number(2e6 / together)} events/s |"
        f" {number(medians['crew_rate'])} events/s |",
        f"| one process, 8 partitions, Segment takes 100 ms | {number(_slow_rate(costs, medians))} events/s |"
        f" {number(medians['slow_rate'])} events/s |",
        "",
        "The model counts CPU alone, so it is an upper bound: a worker also waits for Redis between two steps, and in the"
        " second row",
        "the sink shares the two cores. That is why processes and nodes are planned for"
        f" {BUSY:.0%} of a core. What is beyond one machine, a",
        "cluster's nodes and a fleet's size, is the model's word alone; that sources do not wait for each other, and"
        " partitions spread",
        "evenly, is shown by [the tests](reliability.md).",
    )


def _slow_rate(costs: Costs, medians: Mapping[str, float]) -> float:
    """Eight requests under way, each as long as the sink takes, or as fast as the core allows."""
    return min(8 / 0.1 * medians["slow_request_events"], 1e6 / costs.delivery_us)


def size(count: float) -> str:
    """Bytes for people."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            return f"{number(count)} {unit}"
        count /= 1000
    raise AssertionError
