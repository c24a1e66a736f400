"""Moves of many dead letters: what a redrive, discard or export would do, and the jobs that do it."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final, Literal, Self

from redis.client import Redis
from rq.job import Job
from starlette.datastructures import FormData, QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pombo.ops import wording
from pombo.ops.console.control import control_plane
from pombo.ops.console.deeds import deed
from pombo.ops.console.forms import rate, read_form, text
from pombo.ops.console.letterquery import LetterQuery
from pombo.ops.console.mailroom import Mailroom
from pombo.ops.console.pages.dead import chosen_sources, look
from pombo.ops.console.rendering import fragment, operator, page, redirect
from pombo.ops.console.state import State, session_of, state_of
from pombo.ops.jobboard import workers
from pombo.shared.deadletters import Counts, Filter, Making
from pombo.shared.errors import ConfigurationError
from pombo.worker.jobs import enqueue_discard, enqueue_export, enqueue_redrive
from pombo.worker.jobs.criteria import words

MOST_CHOSEN: Final = 500
"""Letters that may be ticked."""

Move = Literal["redrive", "discard", "export"]
MOVES: Final[Mapping[str, Move]] = {"redrive": "redrive", "discard": "discard", "export": "export"}


@dataclass(frozen=True, slots=True)
class Plan:
    """A move that somebody is about to make, and its dry run."""

    move: Move
    query: LetterQuery
    ids: tuple[str, ...]
    """The letters that were ticked; empty for all that match."""
    counts: Mapping[str, Counts]
    """By source; without those of which no letter is meant."""
    older: bool = False
    """Whether those go too that were accepted more than 24 h ago."""
    discards: bool = False
    """Whether an export discards what its file holds."""
    rate: str = ""
    making: Sequence[Making] = ()
    """Sources of which nobody can count yet what would go."""

    @classmethod
    async def make(cls, room: Mailroom, query: LetterQuery, given: QueryParams | FormData) -> Self:
        """Read what was asked for, and count.

        Raises:
            HTTPException: it is nothing that can be done.
        """
        move = MOVES.get(str(given.get("action")))
        everything = bool(given.get("all"))
        ids = () if everything else tuple(str(one) for one in given.getlist("ids")[:MOST_CHOSEN])
        if move is None or query.errors:
            raise HTTPException(400, next(iter(query.errors.values()), "choose redrive, discard or export"))
        if not everything and not ids:
            raise HTTPException(400, "tick some letters first, or all that match")
        plan = cls(move, query, ids, {}, bool(given.get("older")), bool(given.get("discards")), _rate_text(given))
        within = await chosen_sources(room, query)
        if everything and (making := await room.making(within)):
            return replace(plan, making=making)
        return replace(plan, counts=await room.count(within, plan.wanted, query.now))

    @property
    def wanted(self) -> Filter:
        """Which letters are meant."""
        return Filter(ids=frozenset(self.ids)) if self.ids else self.query.wanted

    @property
    def total(self) -> Counts:
        """The counts of all sources."""
        return sum(self.counts.values(), Counts())

    def will(self, counts: Counts) -> int:
        """How many of them the move concerns."""
        if self.move != "redrive":
            return counts.letters
        return counts.redrivable - (0 if self.older else counts.older)

    @property
    def problem(self) -> str:
        """Why it cannot be done so; "" when it can."""
        try:
            rate(self.rate)
        except ConfigurationError as error:
            return str(error)
        if self.making:
            done = min(one.share for one in self.making)
            return f"The index that tells how many these are is being made: {done:.0%}. Ask again when it is there."
        total = self.total
        if self.will(total):
            return ""
        if not total.letters:
            return "No letter matches any more; nothing is done."
        if total.older and not self.older:
            return "All of these were accepted more than 24 h ago; tick the box if they are to be sent all the same."
        return "None of these can be redriven; discard or export them."

    def enqueue(self, connection: Redis, source: str, by: str, namespace: str) -> Job:
        """Put the job for one source's letters on the queue."""
        counts = self.counts[source]
        common: dict[str, Any] = {"rate": rate(self.rate), "by": by, "namespace": namespace, "total": self.will(counts)}
        wanted = replace(self.wanted, source=None)
        if self.move == "redrive":
            return enqueue_redrive(connection, source, wanted, older=self.older, **common)
        if self.move == "discard":
            return enqueue_discard(connection, source, wanted, **common)
        return enqueue_export(connection, source, wanted, discard=self.discards, **common)


async def confirm(request: Request) -> Response:
    """The dry run, and the question whether to do it: a dialog, or a page without scripts."""
    operator(request)
    room, query, _ = await look(state_of(request), request.query_params)
    plan = await Plan.make(room, query, request.query_params)
    return await _ask(request, plan)


async def act(request: Request) -> Response:
    """Put the jobs on the queue, one a source."""
    state, form = state_of(request), await read_form(request)
    room, query, _ = await look(state, {name: text(form, name) for name in form})
    # What dies from now on was in nobody's dry run.
    plan = await Plan.make(room, query.until(query.now + timedelta(milliseconds=1)), form)
    if plan.problem:
        return await _ask(request, plan, status=422)
    by = session_of(request).name
    with control_plane(state):
        jobs = await asyncio.to_thread(_enqueue, state, plan, by)
    for source, job in jobs.items():
        await deed(request, f"dead.{plan.move}", source, _detail(plan, source, job))
    told = wording.plural(sum(plan.will(plan.counts[source]) for source in jobs), "dead letter")
    if len(jobs) == 1:
        return redirect(request, f"/jobs/{next(iter(jobs.values())).id}", f"A job is to {plan.move} {told}.")
    return redirect(request, "/jobs", f"{len(jobs)} jobs, one a source, are to {plan.move} {told}.")


async def _ask(request: Request, plan: Plan, status: int = 200) -> Response:
    state = state_of(request)
    with control_plane(state):
        able = await asyncio.to_thread(lambda: workers(state.jobs))
    context: dict[str, Any] = {"plan": plan, "total": plan.total, "able": able, "words": words(plan.wanted)}
    if request.headers.get("HX-Request"):
        return fragment(request, "dead_confirm.html", status=status, **context)
    return page(request, "dead_confirm_page.html", status=status, **context)


def _enqueue(state: State, plan: Plan, by: str) -> dict[str, Job]:
    concerned = [source for source, counts in plan.counts.items() if plan.will(counts)]
    return {source: plan.enqueue(state.jobs, source, by, state.settings.namespace) for source in concerned}


def _detail(plan: Plan, source: str, job: Job) -> dict[str, Any]:
    """What the trail tells: not whom it was about."""
    told = {"job": job.id, "letters": plan.will(plan.counts[source]), "which": words(plan.wanted).strip() or "all"}
    options = {"older": plan.older, "discards": plan.discards, "rate": plan.rate}
    return told | {name: value for name, value in options.items() if value}


def _rate_text(given: QueryParams | FormData) -> str:
    return str(given.get("rate") or "").strip()[:20]


routes = [
    Route("/dead/-/confirm", confirm, methods=["GET"]),
    Route("/dead/-/act", act, methods=["POST"]),
]
