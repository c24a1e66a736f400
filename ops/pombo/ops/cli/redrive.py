"""Redriving dead letters: count them, ask, put one job a source on the queue, and follow the jobs."""

from collections import Counter

from redis.client import Redis
from rq.job import Job

from pombo.ops import wording
from pombo.ops.cli import following, inputs, output
from pombo.ops.cli.failures import UNWELL
from pombo.ops.cli.letters import Matches, count
from pombo.ops.cli.session import Session, run, who
from pombo.ops.jobboard import JobView
from pombo.shared.deadletters import ALL, Filter
from pombo.worker.jobs import enqueue_redrive

COUNT_TIMEOUT_S = 60.0
"""How long one answer of Redis may take while letters are counted."""


def redrive(
    wanted: Filter, limit: int | None, *, dry_run: bool, yes: bool, wait: bool | None, as_json: bool,
    rate: float | None = None, older: bool = True,
) -> int:  # fmt: skip
    """Do `pombo dead redrive`; return its exit code.

    Args:
        wanted: which letters.
        limit: how many at most, of all sources.
        dry_run: whether only to say what would be done.
        yes: whether not to ask.
        wait: whether to follow the jobs; None does on a terminal.
        as_json: whether to print JSON.
        rate: letters a second at most, of each source.
        older: whether those go too that were accepted more than 24 h ago.
    """

    async def look(session: Session) -> Matches:
        return await count(session, wanted)

    matches = run(look, timeout_s=COUNT_TIMEOUT_S)
    plan = _planned(matches, limit, older=older)
    if dry_run or not plan:
        _tell(matches, plan, {}, older=older, dry_run=dry_run, as_json=as_json)
        return 0 if plan else UNWELL
    told = wording.plural(plan.total(), "dead letter")
    inputs.confirm(f"Redrive {told}, of every source?", yes=yes or wanted != ALL)

    def start(connection: Redis, source: str, number: int) -> Job:
        return enqueue_redrive(
            connection, source, wanted, limit=limit and number, rate=rate, older=older, total=number, by=who()
        )  # fmt: skip

    started, able = following.start(start, plan)
    if not as_json:
        _tell(matches, plan, started, older=older)
    if following.wanted(wait, able=able):
        started = following.follow(started, "redriving")
        if not as_json:
            following.tell(started)
    if as_json:
        _tell(matches, plan, started, older=older, as_json=True)
    return 0 if following.well(started) else UNWELL


def _planned(matches: Matches, limit: int | None, *, older: bool) -> Counter[str]:
    """How many letters of each source are to be moved: within the limit, and without the older unless they go too."""
    plan: Counter[str] = Counter()
    for source, number in matches.redrivable.items():
        able = number if older else number - matches.older[source]
        able = able if limit is None else min(able, limit - plan.total())
        if able > 0:
            plan[source] = able
    return plan


def _tell(
    matches: Matches, plan: Counter[str], started: dict[str, JobView], *, older: bool, dry_run: bool = False,
    as_json: bool = False,
) -> None:  # fmt: skip
    if as_json:
        output.write_json(
            {
                "letters": plan.total(), "not_redrivable": matches.stuck.total(), "older": matches.older.total(),
                "dry_run": dry_run, "sources": dict(plan), "jobs": [job.describe() for job in started.values()],
            }
        )  # fmt: skip
        return
    if not matches.letters:
        output.say("no dead letter matches")
    for source, number in plan.items():
        letters = wording.plural(number, "dead letter")
        output.say(
            f"would redrive {letters} of {source}"
            if dry_run
            else f"job {started[source].id}: redriving {letters} of {source}"
        )
    for source, number in matches.stuck.items():
        letters = wording.plural(number, "dead letter")
        output.say(
            f"{letters} of {source} cannot be redriven as they are: `pombo dead edit` repairs one that holds an event; "
            "export or discard the others"
        )
    for source, number in matches.older.items():
        output.say(_about_older(source, number, older=older))


def _about_older(source: str, number: int, *, older: bool) -> str:
    letters = wording.plural(number, "dead letter")
    known = f"{letters} of {source}: accepted more than 24 h ago, when Segment stopped telling copies of them apart"
    if older:
        return f"{known}; what it has already, it counts twice"
    return f"{known}; left where they are, --yes-older redrives them too"
