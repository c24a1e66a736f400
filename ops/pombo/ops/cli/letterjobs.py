"""Dead letters discarded, exported or imported by jobs, which outlive this command and can be slowed down."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from redis.client import Redis
from rq.job import Job

from pombo.ops import wording
from pombo.ops.cli import following, inputs, output
from pombo.ops.cli.failures import UNWELL
from pombo.ops.cli.letters import count
from pombo.ops.cli.session import Session, run, who
from pombo.shared.deadletters import Filter
from pombo.worker.jobs import enqueue_discard, enqueue_export, enqueue_import

COUNT_TIMEOUT_S = 60.0
"""How long one answer of Redis may take while letters are counted."""


@dataclass(frozen=True, kw_only=True)
class How:
    """How jobs are started and followed, as the options say."""

    rate: float | None = None
    """Letters a second at most, of each source."""
    wait: bool | None = None
    """Whether to follow the jobs; None does on a terminal."""
    as_json: bool = False


def discard(wanted: Filter, limit: int | None, how: How, *, dry_run: bool, yes: bool) -> int:
    """Do `pombo dead discard --job`; return its exit code."""
    plan = _planned(wanted, limit)
    if dry_run or not plan:
        _tell_plan(plan, "delete", how, dry_run=dry_run)
        return 0 if plan else UNWELL
    inputs.confirm(f"Delete {wording.plural(plan.total(), 'dead letter')} for good?", yes=yes)

    def enqueue(connection: Redis, source: str, number: int) -> Job:
        most = None if limit is None else number
        return enqueue_discard(connection, source, wanted, limit=most, rate=how.rate, by=who(), total=number)

    return _start(enqueue, plan, "discarding", how)


def export(wanted: Filter, limit: int | None, how: How, *, discards: bool, yes: bool) -> int:
    """Do `pombo dead export --job`; return its exit code. What is to be discarded, too, is asked for."""
    plan = _planned(wanted, limit)
    if not plan:
        _tell_plan(plan, "export", how, dry_run=False)
        return UNWELL
    if discards:
        told = wording.plural(plan.total(), "dead letter")
        inputs.confirm(f"Export {told}, and then delete what the files hold?", yes=yes)

    def enqueue(connection: Redis, source: str, number: int) -> Job:
        most = None if limit is None else number
        return enqueue_export(
            connection, source, wanted, limit=most, rate=how.rate, discard=discards, by=who(), total=number
        )  # fmt: skip

    return _start(enqueue, plan, "exporting", how)


def import_(file: str, source: str, how: How, *, again: bool = False) -> int:
    """Do `pombo dead import --job`; return its exit code."""

    async def known(session: Session) -> None:
        await session.sources.get(source)

    run(known)

    def enqueue(connection: Redis, name: str, _: int) -> Job:
        return enqueue_import(connection, name, file, rate=how.rate, again=again, by=who())

    return _start(enqueue, Counter({source: 1}), "importing into", how)


def _planned(wanted: Filter, limit: int | None) -> Counter[str]:
    """How many letters of each source match, within the limit."""
    matches = run(lambda session: count(session, wanted), timeout_s=COUNT_TIMEOUT_S)
    plan: Counter[str] = Counter()
    for source, number in (matches.redrivable + matches.stuck).items():
        able = number if limit is None else min(number, limit - plan.total())
        if able > 0:
            plan[source] = able
    return plan


def _start(enqueue: Callable[[Redis, str, int], Job], plan: Counter[str], doing: str, how: How) -> int:
    jobs, able = following.start(enqueue, plan)
    if not how.as_json:
        output.say(*(f"job {job.id}: {job.description}" for job in jobs.values()))
    if following.wanted(how.wait, able=able):
        jobs = following.follow(jobs, doing)
        if not how.as_json:
            following.tell(jobs)
    if how.as_json:
        output.write_json({"jobs": [job.describe() for job in jobs.values()]})
    return 0 if following.well(jobs) else UNWELL


def _tell_plan(plan: Counter[str], deed: str, how: How, *, dry_run: bool) -> None:
    if how.as_json:
        output.write_json({"letters": plan.total(), "sources": dict(plan), "dry_run": dry_run, "jobs": []})
        return
    if not plan:
        output.say("no dead letter matches")
    for source, number in plan.items():
        output.say(f"would {deed} {wording.plural(number, 'dead letter')} of {source}")
