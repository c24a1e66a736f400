"""What keeps a source's events, or would: its state, its limits, its ledger and what lies dead."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from pombo.ops.doctor.check import Check, listed
from pombo.ops.overview import SourceView
from pombo.ops.wording import age, plural, size
from pombo.shared.sources import Source

FULL, WORTH_A_WORD = 0.8, 0.5
"""Parts of a source's backlog limit from which it is trouble, and from which it is worth a word."""


def source_checks(views: Sequence[SourceView], unreadable: Sequence[str]) -> Iterator[Check]:
    """One check for all sources that are well, and one for each thing that is wrong with another."""
    findings = [check for view in views for check in _findings(view)]
    if unreadable:
        detail = f"stored in a form that this pombo cannot read: {listed(unreadable)}"
        findings.append(Check("sources", False, detail, "upgrade pombo here"))
    if not views and not unreadable:
        yield Check("sources", True, "there are none", "`pombo sources add NAME --write-key -` makes one")
    elif all(check.ok for check in findings):
        waiting = sum(view.ledger.queued + view.ledger.in_flight for view in views)
        told = f"{plural(len(views), 'source')}, {plural(waiting, 'event')} under way, nothing keeps them"
        yield Check("sources", True, told)
    yield from findings
    yield from _rate_groups([view.source for view in views])


def _findings(view: SourceView) -> Iterator[Check]:
    for judge in (_state, _blocks, _ledger, _backlog, _dead, _memory, _identity):
        found = judge(view)
        if found is not None:
            yield found


def _state(view: SourceView) -> Check | None:
    flow, name, waiting = view.flow, f"source {view.name}", view.ledger.queued + view.ledger.in_flight
    told = f"{plural(waiting, 'event')} {'waits' if waiting == 1 else 'wait'}"
    if view.state == "parked":
        detail = f"parked: {flow.parked}; {told}"
        return Check(name, False, detail, f"repair that, then `pombo sources resume {view.name}`")
    if view.state == "paused":
        return Check(name, not waiting, f"paused by hand; {told}", f"`pombo sources resume {view.name}`")
    if view.state == "held":
        left = ((flow.hold_until or 0) - flow.now) / 1000
        return Check(name, True, f"held for {age(left)} more, as Segment asked; {told}")
    if view.state == "active":
        return None
    detail = f"{view.state}: {flow.reason or 'Segment does not answer'}; {told}"
    return Check(name, False, detail, "wait: workers probe it and go on by themselves; see its endpoint below")


def _blocks(view: SourceView) -> Check | None:
    blocked = view.flow.blocked
    if not blocked:
        return None
    where, why = next(iter(blocked.items()))
    detail = why if where == "key" else f"{plural(len(blocked), 'partition')} blocked, {where}: {why}"
    remedy = "give workers the POMBO_SECRET_KEY that opens it" if where == "key" else "upgrade the workers"
    return Check(f"source {view.name}", False, detail, remedy)


def _ledger(view: SourceView) -> Check | None:
    name, ledger = f"ledger of {view.name}", view.ledger
    if ledger.incarnation is None:
        detail = "gone, Redis lost it: producers are refused"
    elif ledger.incarnation != view.source.incarnation:
        detail = "of another incarnation than the source: Redis lost part of the data"
    elif ledger.problems:
        return Check(name, False, ledger.problems[0], "`pombo audit` recounts")
    else:
        return None
    return Check(name, False, detail, f"`pombo sources remove {view.name} --discard`, and add it again")


def _backlog(view: SourceView) -> Check | None:
    most, used = view.source.backlog_bytes, view.ledger.queued_bytes
    if not most or used < WORTH_A_WORD * most:
        return None
    detail = f"{size(used)} of {size(most)} wait; at the limit producers are refused"
    remedy = f"see what keeps it, start more workers, or `pombo sources set {view.name} --backlog-bytes …`"
    return Check(f"backlog of {view.name}", used < FULL * most, detail, remedy)


def _dead(view: SourceView) -> Check | None:
    dead = view.ledger.dead
    if not dead:
        return None
    reasons = listed([f"{count:,} {reason}" for reason, count in view.ledger.dead_by_reason.items() if count])
    detail = f"{plural(dead, 'event')} dead: {reasons}"
    most, used = view.source.dead_bytes, view.ledger.dead_bytes
    if most and used >= FULL * most:
        detail += f"; {size(used)} of {size(most)}, and at the limit the source is parked"
        remedy = f"`pombo dead redrive|discard --source {view.name}`, or raise --dead-bytes"
        return Check(f"dead letters of {view.name}", False, detail, remedy)
    return Check(f"dead letters of {view.name}", True, detail, f"`pombo dead list --source {view.name}`")


def _memory(view: SourceView) -> Check | None:
    if view.remembered_s >= view.source.window_s:
        return None
    told, wanted = age(view.remembered_s), age(view.source.window_s)
    detail = f"remembered for {told} instead of {wanted}: later copies of an event are sent again"
    remedy = f"`pombo sources set {view.name} --ids-limit …`, about 9 bytes of Redis each"
    return Check(f"ids of {view.name}", False, detail, remedy)


def _identity(view: SourceView) -> Check | None:
    if not view.source.blip or view.source.identity != "raw":
        return None
    detail = "userIds are Blip's identities, and on WhatsApp that is the customer's phone number"
    remedy = f"if Segment is not to have it: `pombo sources set {view.name} --identity hmac`"
    return Check(f"userIds of {view.name}", True, detail, remedy)


def _rate_groups(sources: Sequence[Source]) -> Iterator[Check]:
    groups: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for source in sources:
        if source.rate_group is not None:
            groups[source.rate_group][source.name] = source.rate
    for group, rates in groups.items():
        if len(set(rates.values())) > 1:
            yield _disagreement(group, rates)


def _disagreement(group: str, rates: Mapping[str, float]) -> Check:
    told = listed([f"{name} {rate:g}/s" for name, rate in rates.items()])
    detail = f"its sources disagree about the rate ({told}); the lowest counts"
    return Check(f"rate group {group}", True, detail, "`pombo sources set NAME --rate …`, the same for all")
