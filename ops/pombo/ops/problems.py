"""Problems: what of an installation needs somebody, the worst first, each with what to do about it.

Every screen begins with these: the console, `pombo status` and `pombo top` say the same words.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from pombo.ops.jobcount import Jobs
from pombo.ops.overview import Overview, SourceView
from pombo.ops.wording import age, plural, size
from pombo.shared.deadletters import FULL

Severity = Literal["critical", "warning", "note"]
"""Critical: events wait until somebody acts, or were lost. Warning: it gets there if it goes on, or heals by itself
late. Note: good to know; nobody has to act."""
RANKS: Final[Mapping[str, int]] = {"critical": 0, "warning": 1, "note": 2}

NEAR: Final = 0.8
"""Part of a limit from which its nearness is told."""
FULL_MEMORY: Final = 0.95
"""Part of Redis' maxmemory from which appends are about to be refused."""
BROKEN_LONG_S: Final = 300.0
"""A breaker open for longer is more than a hiccup of Segment's."""
LATE_S: Final = 60.0
"""Age of the oldest event from which a source that may send is called late."""
CATCH_UP_S: Final = 600.0
"""A backlog that will be gone within so many seconds needs nobody."""
STATUS_PAGE: Final = "https://status.segment.com/"
"""Where Segment says what it knows of its own outages."""
ORPHAN_S: Final = 30.0
"""A partition without owner for longer was not taken over, as it would be within 8 s and a look."""


AT_RISK: Final[Mapping[str, tuple[str, str, str]]] = {
    "none": (
        "Redis keeps nothing", "it writes nothing to disk: a restart of it loses the sources, every event that waits,"
        " the dead letters and the remembered ids", "redis-cli CONFIG SET appendonly yes",
    ),
    "rdb": (
        "Redis keeps snapshots only", "a crash of it loses every event that was accepted since the last one,"
        " and lets what was delivered since be sent again", "redis-cli CONFIG SET appendonly yes",
    ),
    "aof no": (
        "Redis writes late", "it leaves it to the system when its log reaches the disk: a crash of its machine"
        " can lose half a minute of accepted events", "redis-cli CONFIG SET appendfsync everysec",
    ),
}  # fmt: skip
"""By what a server keeps: what is wrong with that, as `pombo doctor` judges it, what can be lost, and what to type.

Where nobody can see what is kept, as on managed servers, nothing is claimed; nor where no source is, so that nothing
can be lost yet. Who runs a Redis without a disk on purpose is told so nonetheless: it was promised that nothing
accepted is lost, as long as Redis keeps what it acknowledged.
"""


@dataclass(frozen=True, slots=True)
class Action:
    """What to do about a problem: in words, as a command, and where in the console."""

    words: str
    command: str = ""
    """What to type; "" when nothing can be typed."""
    page: str = ""
    """Path in the console where it is done, or the address of a page elsewhere; "" when there is none."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that needs somebody, or that somebody should know."""

    severity: Severity
    source: str | None
    """The source that it is of; None for one of the whole installation."""
    what: str
    """A word or a few: `parked`, `no worker lives`."""
    why: str
    """A sentence without a full stop, with figures."""
    action: Action

    @property
    def line(self) -> str:
        """All of it on one line: `bot — parked: Segment answered 401 → rotate the key`."""
        subject = f"{self.source} — " if self.source else ""
        return f"{subject}{self.what}: {self.why} → {self.action.words}"

    def describe(self) -> dict[str, Any]:
        """The problem's part of `status --json`."""
        return {
            "severity": self.severity,
            "source": self.source,
            "what": self.what,
            "why": self.why,
            "action": self.action.words,
            "command": self.action.command or None,
        }


@dataclass(frozen=True, slots=True)
class Recent:
    """What the last minutes of a source's history say that one look cannot."""

    died: int = 0
    """Events that became dead letters in the last quarter of an hour."""
    reasons: Mapping[str, int] = field(default_factory=dict)
    """Those by reason, if known."""
    drain_s: float | None = None
    """Seconds until nothing waits, if all goes on as in the last minute; None while the backlog does not shrink."""


def problems(overview: Overview, history: Mapping[str, Recent] | None, now: int) -> list[Problem]:
    """Everything that is not well, the worst first, then by source.

    Args:
        overview: what was read.
        history: by source what its history says; None when there is none.
        now: ms of Redis' clock.
    """
    found = [*_fleet(overview, now), *_server(overview)]
    for view in overview.sources.values():
        found += _source(view, (history or {}).get(view.name), overview, now)
    return ordered(found)


def ordered(found: Iterable[Problem]) -> list[Problem]:
    """The worst first, then by source; those of the whole installation before any source's."""
    return sorted(found, key=lambda one: (RANKS[one.severity], one.source or "", one.what))


def headline(found: Sequence[Problem]) -> str:
    """The verdict in a few words: `All well`, or who needs somebody."""
    urgent = [one for one in found if one.severity != "note"]
    if not urgent:
        return "All well"
    sources = {one.source for one in urgent if one.source}
    parts = [plural(len(sources), "source")] if sources else []
    if any(one.source is None for one in urgent):
        parts.append("the installation")
    verb = "needs" if len(sources) + (len(parts) > bool(sources)) == 1 else "need"
    whole = f"{' and '.join(parts)} {verb} you"
    return whole[0].upper() + whole[1:]


def foremost(found: Sequence[Problem]) -> str:
    """What of it to begin with, in a few words: `bot — parked`; "" when nobody has to act."""
    urgent = next((one for one in found if one.severity != "note"), None)
    if urgent is None:
        return ""
    return f"{urgent.source} — {urgent.what}" if urgent.source else urgent.what


def worst(found: Sequence[Problem]) -> Severity | None:
    """The worst severity there is; None when all is well and nothing is to be said."""
    return min((one.severity for one in found), key=RANKS.__getitem__, default=None)


def orphans(view: SourceView, live: Set[str], now: int) -> int:
    """A source's partitions whose events waited for long, and that no worker of `live` holds, at `now` (ms)."""
    return sum(head.owner not in live and (now - head.at) / 1000 > ORPHAN_S for head in view.heads)


def job_problems(jobs: Jobs) -> Iterator[Problem]:
    """What is wrong with the control plane's jobs."""
    if jobs.open and not jobs.workers:
        told = f"{plural(jobs.open, 'job')} and no worker that does any"
        yield Problem("warning", None, "jobs wait", told, Action("start a worker, without --no-jobs", "pombo worker"))
    if jobs.failed:
        told = f"{plural(jobs.failed, 'job')} of the last week ended with an error"
        yield Problem("note", None, "jobs failed", told, Action("read why", "pombo jobs list", "/jobs"))


def away(words: str, for_s: float | None) -> Problem:
    """Redis does not answer: `words` say why, `for_s` seconds since it did last (None: never since we started)."""
    since = "" if for_s is None else f"last heard {age(for_s)} ago: "
    why = f"{since}{words}; bots keep their events in spools, and delivery goes on when it is back"
    return Problem("critical", None, "Redis is away", why, Action("see why, and start it", "pombo doctor"))


# -- of the whole installation --


def _fleet(overview: Overview, now: int) -> Iterator[Problem]:
    alive = [worker for worker in overview.workers if worker.alive(now)]
    silent = [worker.id for worker in overview.workers if not worker.alive(now)]
    waiting = sum(_waiting(view) for view in overview.sources.values())
    if not alive:
        severity: Severity = "critical" if waiting else "warning"
        told = f"{plural(waiting, 'event')} wait and nothing is sent" if waiting else "what is accepted will wait"
        if last := max((worker.at for worker in overview.workers if worker.at), default=None):
            told += f"; the last one was heard {age(max(0.0, now / 1000 - last))} ago"
        yield Problem(severity, None, "no worker lives", told, Action("start a worker", "pombo worker"))
    elif silent:
        theirs = "its" if len(silent) == 1 else "their"
        told = f"{_listed(silent)} stopped beating without a goodbye; others take over {theirs} partitions"
        yield Problem("warning", None, "worker silent", told, Action("see why it ended", "pombo doctor", "/workers"))
    versions = sorted({worker.version for worker in alive if worker.version})
    if len(versions) > 1:
        told = f"workers run {_listed(versions)}"
        yield Problem("note", None, "mixed versions", told, Action("finish the roll-out", "", "/workers"))
    if overview.unreadable:
        told = f"{_listed(overview.unreadable)}: stored in a form that this pombo does not know"
        yield Problem("warning", None, "unreadable source", told, Action("see which; upgrade here", "pombo doctor"))


def _server(overview: Overview) -> Iterator[Problem]:
    server = overview.redis
    used = server.used_memory / server.maxmemory if server.maxmemory else 0.0
    if used >= NEAR:
        severity: Severity = "critical" if used >= FULL_MEMORY else "warning"
        full = used >= 1
        told = f"{size(server.used_memory)} of {size(server.maxmemory)} used ({used:.0%}); " + (
            "it refuses new events, and bots keep them in spools" if full else "a full one refuses new events"
        )
        action = Action("free memory, or raise maxmemory", "pombo dead discard", "/dead")
        yield Problem(severity, None, "Redis is full" if full else "Redis is nearly full", told, action)
    if server.eviction not in {"", "noeviction"}:
        told = f"maxmemory-policy is {server.eviction}: when it is full it deletes accepted events and remembered ids"
        action = Action("set it to noeviction", "redis-cli CONFIG SET maxmemory-policy noeviction")
        yield Problem("warning", None, "Redis may delete events", told, action)
    for told in overview.losses.fleet_sentences():
        action = Action("read the audit, then acknowledge it", "pombo audit")
        yield Problem("critical", None, "Redis lost events", told, action)
    if server.persistence in AT_RISK and overview.sources:
        what, told, command = AT_RISK[server.persistence]
        yield Problem("warning", None, what, told, Action("have it write to disk", command))


# -- of one source --


def _source(view: SourceView, recent: Recent | None, overview: Overview, now: int) -> Iterator[Problem]:
    yield from _gate(view, now)
    yield from _books(view)
    yield from _limits(view)
    yield from _lateness(view, recent, overview, now)
    yield from _letters(view, recent)


def _gate(view: SourceView, now: int) -> Iterator[Problem]:
    """Why it does not send; the first reason, as it hides the others."""
    flow, name = view.flow, view.name
    waiting = plural(_waiting(view), "event")
    if flow.parked is not None:
        since = "" if flow.parked_at is None else f", for {age((now - flow.parked_at) / 1000)} now"
        why = f"{plain(flow.parked)}{since}; {waiting} wait"
        yield Problem("critical", name, "parked", why, _parked_action(name, flow.parked))
    elif flow.blocked:
        why = f"{plain(flow.reason or '')}; {waiting} wait"
        yield Problem("critical", name, "blocked", why, Action("upgrade or repair", "pombo doctor", f"/sources/{name}"))
    elif flow.paused:
        severity: Severity = "warning" if _waiting(view) else "note"
        action = Action("resume it", f"pombo sources resume {name}", f"/sources/{name}")
        since = "" if flow.paused_at is None else f", for {age((now - flow.paused_at) / 1000)} now"
        yield Problem(severity, name, "paused", f"by an operator{since}; {waiting} wait", action)
    elif flow.held_until is not None:
        left = (flow.held_until.timestamp() * 1000 - now) / 1000
        why = f"Segment asked to wait {age(max(0.0, left))} more; {waiting} wait, and it goes on by itself"
        yield Problem("note", name, "held", why, Action("wait", "", f"/sources/{name}"))
    elif flow.broken_at is not None:
        broken_s = max(0.0, (now - flow.broken_at) / 1000)
        long = broken_s >= BROKEN_LONG_S
        said = flow.broken_why or "requests fail"
        why = f"Segment has failed for {age(broken_s)} ({said}); it is tried every few seconds, and resumes by itself"
        action = Action("look at status.segment.com", f"pombo sources test {name}", STATUS_PAGE)
        yield Problem("critical" if long else "warning", name, "broken", f"{why}; {waiting} wait", action)


def _parked_action(name: str, reason: str) -> Action:
    page = f"/sources/{name}"
    if "write key" in reason:
        return Action("rotate the key", f"pombo sources rotate-key {name} --write-key -", f"{page}#key")
    if reason.startswith(FULL):
        return Action("make room", f"pombo dead list --source {name}", f"/dead?source={name}")
    if "refuses every event" in reason:
        return Action("see what Segment says", f"pombo sources test {name}", page)
    if "endpoint" in reason:
        return Action("correct the endpoint", f"pombo sources set {name} --endpoint URL", f"{page}#settings")
    return Action("repair it, then resume", f"pombo sources resume {name}", page)


def _books(view: SourceView) -> Iterator[Problem]:
    ledger, name = view.ledger, view.name
    lost = max(ledger.forgotten, ledger.fallen)
    if lost:
        told = f"of {plural(lost, 'accepted event')} Redis has no trace any more"
        yield Problem("critical", name, "Redis lost events", told, Action("read the audit", "pombo audit"))
    elif not ledger.balanced:
        yield Problem("critical", name, "unbalanced", ledger.problems[0], Action("recount", "pombo audit"))


def _limits(view: SourceView) -> Iterator[Problem]:
    ledger, source, name = view.ledger, view.source, view.name
    queued = _part(ledger.queued_bytes, source.backlog_bytes)
    if queued >= NEAR:
        full = queued >= 1
        told = f"{size(ledger.queued_bytes)} of {size(source.backlog_bytes)} wait"
        action = Action("raise the limit", f"pombo sources set {name} --backlog-bytes N", f"/sources/{name}#settings")
        what = "backlog full" if full else "backlog nearly full"
        told += ", new events are refused" if full else f" ({queued:.0%}); beyond, new events are refused"
        yield Problem("critical" if full else "warning", name, what, told, action)
    dead = _part(ledger.dead_bytes, source.dead_bytes)
    if dead >= NEAR and view.flow.parked is None:
        told = f"{size(ledger.dead_bytes)} of {size(source.dead_bytes)} ({dead:.0%}); at the limit the source is parked"
        action = Action("redrive or discard", f"pombo dead list --source {name}", f"/dead?source={name}")
        yield Problem("warning", name, "dead letters nearly full", told, action)
    if view.remembered_s < source.window_s:
        told = f"messageIds are remembered for {age(view.remembered_s)} instead of {age(source.window_s)}"
        action = Action("raise the limit", f"pombo sources set {name} --ids-limit N", f"/sources/{name}#settings")
        yield Problem("note", name, "short memory", told, action)


def _lateness(view: SourceView, recent: Recent | None, overview: Overview, now: int) -> Iterator[Problem]:
    oldest, name = view.oldest_ms, view.name
    live = {worker.id for worker in overview.workers if worker.alive(now)}
    if view.state != "active" or view.flow.blocked or oldest is None or not live:
        return
    waited = max(0.0, (now - oldest) / 1000)
    alone = orphans(view, live, now)
    if alone:
        told = f"{plural(alone, 'partition')} with events are nobody's; the oldest event waits for {age(waited)}"
        yield Problem("critical", name, "not taken over", told, Action("see the workers", "pombo doctor", "/workers"))
    elif waited >= LATE_S:
        drain = recent and recent.drain_s
        told = f"the oldest of {plural(_waiting(view), 'event')} waits for {age(waited)}"
        if drain and drain <= CATCH_UP_S:
            told += f", and all are gone in {age(drain)} at this pace"
            yield Problem("note", name, "catching up", told, Action("wait", "pombo top", f"/sources/{name}"))
            return
        told += f"; empty in {age(drain)} at this pace" if drain else "; the backlog does not shrink" if recent else ""
        command = f"pombo sources set {name} --rate N"
        action = Action("add a worker, or raise the rate", command, f"/sources/{name}")
        yield Problem("warning", name, "late", told, action)


def _letters(view: SourceView, recent: Recent | None) -> Iterator[Problem]:
    dead, name = view.ledger.dead, view.name
    died = recent.died if recent else 0
    action = Action("look at them", f"pombo dead list --source {name}", f"/dead?source={name}")
    if died and dead > 0:
        reasons = _reasons(recent.reasons if recent and recent.reasons else view.ledger.dead_by_reason)
        told = f"{plural(died, 'event')} died in the last 15 min ({reasons}); {plural(dead, 'dead letter')} in all"
        yield Problem("warning", name, "events die", told, action)
    elif dead > 0:
        told = f"{plural(dead, 'event')} wait for a decision ({_reasons(view.ledger.dead_by_reason)})"
        yield Problem("note", name, "dead letters", told, action)


def _waiting(view: SourceView) -> int:
    return view.ledger.queued + view.ledger.in_flight


def _part(held: int, limit: int) -> float:
    return held / limit if limit else 0.0


def _reasons(counts: Mapping[str, int]) -> str:
    ordered = sorted(((count, reason) for reason, count in counts.items() if count > 0), reverse=True)
    return _listed([reason for _, reason in ordered]) or "of unknown reason"


def _listed(names: Sequence[str], most: int = 3) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def plain(reason: str) -> str:
    """A stored reason without the command that it ends with: that is the action's part."""
    return re.sub(r"; ?`[^`]*`$", "", reason)
