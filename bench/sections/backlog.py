"""What backlogs and remembered ids cost: Redis' memory, its time for a claim, and the worker's memory."""

from collections.abc import Iterator
from importlib.resources import files
from typing import Any

from bench.delivering import deliver
from bench.figures import Line, most
from bench.plan import Plan
from bench.rounds import Runs
from bench.section import Say, Section
from bench.stage import Stage
from bench.trial import SOURCE, Result
from pombo.shared.batches import MAX_EVENTS
from pombo.shared.keys import Keys
from pombo.shared.scripts import script
from pombo.worker.idempotency import Table

_LOG_ENTRIES = 1_000_000


def measure(stage: Stage, plan: Plan, say: Say) -> Runs:
    """Once each: these figures hardly vary."""
    found: Result = {}
    say("record batches, full and of one")
    found["backlog.full_bytes"] = _queued(stage, plan.queued_events)
    found["backlog.single_bytes"] = _queued(stage, plan.single_events, batch=1)
    empty = _empty(stage)
    say(f"{plan.backlog_events:,} events")
    stage.fill(plan.backlog_events)
    drained = deliver(stage, plan.backlog_events, part=plan.steady)
    found["backlog.growth"] = drained.growth
    found["backlog.peak_rss"] = max(one.rss for one in drained.steady)
    found["backlog.rate"] = drained.rate
    if more := plan.remembered_ids - plan.backlog_events:
        say(f"{more:,} more, so that {plan.remembered_ids:,} ids are remembered")
        stage.fill(more)
        deliver(stage, more)
    stage.settle_log()
    found["backlog.remembered_bytes"] = (stage.used_memory() - empty) / plan.remembered_ids
    found["backlog.generations"] = len(_table(stage).generations)
    found |= _claims(stage, plan.claimed_events)
    stage.clear()
    return {name: [value] for name, value in found.items()}


def _empty(stage: Stage) -> int:
    """The server's memory with nothing but the source."""
    stage.clear()
    stage.settle_log()
    return stage.used_memory()


def _queued(stage: Stage, count: int, batch: int = MAX_EVENTS) -> float:
    """Bytes that the server holds for each queued event."""
    empty = _empty(stage)
    stage.fill(count, batch=batch)
    stage.settle_log()
    return (stage.used_memory() - empty) / count


def _table(stage: Stage) -> Table:
    version, table = stage.redis.hmget(Keys().of(SOURCE).ids, ["version", "table"])
    return Table.load(version, table)


def _claims(stage: Stage, count: int) -> Result:
    """Microseconds of the server for each event that is claimed now, from its log of commands that took any time."""
    stage.fill(count)
    stage.redis.config_set("slowlog-max-len", _LOG_ENTRIES)
    stage.redis.config_set("slowlog-log-slower-than", 0)
    stage.redis.slowlog_reset()
    deliver(stage, count)
    stage.redis.config_set("slowlog-log-slower-than", -1)
    logged: list[dict[str, Any]] = stage.redis.slowlog_get(_LOG_ENTRIES)
    stage.redis.slowlog_reset()
    claims = {script(name).sha.encode() for name in _claim_scripts()}
    scripts = [entry for entry in logged if entry["command"].startswith((b"EVALSHA ", b"EVAL "))]
    claimed = [entry for entry in scripts if entry["command"].split(b" ", 2)[1] in claims]
    return {
        "backlog.claim_us": sum(entry["duration"] for entry in claimed) / count,
        "backlog.scripts_us": sum(entry["duration"] for entry in scripts) / count,
        "backlog.claim_events": count / len(claimed),
    }


def _claim_scripts() -> Iterator[str]:
    for file in files("pombo.shared").joinpath("lua").iterdir():
        if file.name.startswith("claim"):
            yield file.name.removesuffix(".lua")


_LINES = (
    Line("queued_full", "a queued event, in full record batches", "B", "backlog.full_bytes", most(90)),
    Line("queued_single", "a queued event, in a record batch of its own", "B", "backlog.single_bytes", most(140)),
    Line("remembered", "a remembered id", "B", "backlog.remembered_bytes", most(10)),
    Line("claim_us", "Redis' time for a claim then", "µs/id", "backlog.claim_us", most(5)),
    Line("scripts_us", "Redis' time for all scripts of a delivery then", "µs/event", "backlog.scripts_us"),
    Line("claim_events", "events in a claim then", "events", "backlog.claim_events"),
    Line("generations", "live generations of ids then", "", "backlog.generations"),
    Line("rss_growth", "growth of the worker's memory over the drain", "MB", "backlog.growth", most(20)),
    Line("rss_peak", "the worker's memory at its peak", "MB", "backlog.peak_rss"),
    Line("backlog_rate", "delivered, over the whole drain", "events/s", "backlog.rate"),
)


def method(plan: Plan) -> str:
    """How it is measured."""
    return (
        "Memory of Redis is the change of `used_memory`, without buffers of clients and of the append-only file:"
        f" {plan.queued_events:,} events in full record batches, {plan.single_events:,} in batches of their own, and"
        f" once {plan.remembered_ids:,} events are delivered and their ids remembered, in the generations that grew on"
        f" the way. Then {plan.claimed_events:,} more are delivered while the server logs every command with its"
        " duration: a claim's time is that of the claiming script, with all that it does inside. The worker's memory is"
        f" its resident set, looked at fifty times a second while it drains {plan.backlog_events:,} queued events; its"
        " growth is from a tenth of them to its peak."
    )


SECTION = Section("Backlogs and remembered ids", measure, _LINES, method)
