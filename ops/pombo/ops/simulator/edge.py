"""Segment's edge: it takes a request through fault, judgement and journal, and leaves the I/O to others."""

from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

from pombo.ops.simulator.answers import Judgement, compose, judge, limited, shared, stray
from pombo.ops.simulator.faults import Facts, Fault, FaultPlan
from pombo.ops.simulator.journal import Exchange, Journal
from pombo.ops.simulator.limiter import WINDOW_S, Limiter
from pombo.ops.simulator.messages import Request, Response
from pombo.ops.simulator.plan import Answer, Rule
from pombo.ops.simulator.submission import Submission, read, route_of
from pombo.ops.simulator.switches import Switches
from pombo.shared.clock import Clock


@dataclass(frozen=True, slots=True)
class Turn:
    """One request on its way, with its submission, if it submits anything, and its fault, if any."""

    request: Request
    exchange: Exchange
    submission: Submission | None = None
    planned: Answer | None = None

    @property
    def delay_s(self) -> float:
        """Seconds to wait before the turn goes on."""
        return (self.planned.delay_s or 0.0) if self.planned else 0.0

    @property
    def action(self) -> str | None:
        """What happens to the connection in place of an answer."""
        return self.planned.action if self.planned else None


class Edge:
    """Hold the simulator's state: switches, plan and journal.

    A request's turn: `begin` as soon as it is read, then its delay, then — unless it hangs or is reset
    before — `answer`, then `finish` when the answer goes out. Events arrive in `answer`.
    """

    def __init__(self, switches: Switches, clock: Clock, seed: int, rules: Iterable[Rule] = ()) -> None:
        self.clock = clock
        self.seed = seed
        self.reset()
        self.set_switches(switches)
        self.set_plan(rules)

    def reset(self) -> None:
        """Forget requests, events, remembered ids and the plan; the switches stay."""
        self._ids = Random(self.seed)
        self.journal = Journal(self._mint)
        self.plan = FaultPlan(seed=self.seed)

    def set_plan(self, rules: Iterable[Rule]) -> None:
        """Put a plan in the place of the one before; requests go on being counted."""
        self.plan = FaultPlan(rules, self.seed)

    def set_switches(self, switches: Switches) -> None:
        """Put switches in the place of those before."""
        self.switches = switches
        self._limiter = Limiter(switches)

    def begin(self, request: Request) -> Turn:
        """Note a request and choose its fault."""
        if request.method != "POST" or route_of(request.path) is None:
            return Turn(request, self.journal.open(request, None))
        submission = read(request)
        exchange = self.journal.open(request, submission)
        fault = self.plan.choose(Facts(exchange.n, submission.keys(), exchange.message_ids))
        return Turn(request, exchange, submission, _noted(exchange, fault))

    def answer(self, turn: Turn) -> Response:
        """Judge a request, let its events arrive if it is accepted, and return the answer to it."""
        if turn.submission is None:
            known = route_of(turn.request.path) is not None
            return shared(stray(turn.request.method, known, self.switches), self.switches)
        judgement = self._judge(turn.submission)
        response = compose(judgement.response, turn.planned, self.switches)
        if judgement.fates is not None and _accepts(response, turn.planned):
            self._admit(turn, turn.submission, judgement.fates, judgement.code)
        return shared(response, self.switches)

    def finish(self, turn: Turn, status: int | None) -> None:
        """Note that a request is over, with the status that is being sent, or None where none is."""
        turn.exchange.status = status
        turn.exchange.finished_at = self.clock.now()

    def _judge(self, submission: Submission) -> Judgement:
        events = len(submission.items or ())
        if self._limiter.admits(submission.key, events, self.clock.monotonic()):
            return judge(submission, self.switches)
        return Judgement(limited(self.switches, WINDOW_S))

    def _admit(self, turn: Turn, submission: Submission, fates: list[str], code: str | None) -> None:
        turn.exchange.code = code
        turn.exchange.sealed = turn.request.sealed()
        self.journal.admit(turn.exchange, submission, fates, self.clock.now(), self.switches)

    def _mint(self) -> str:
        return f"api-{self._ids.getrandbits(128):032x}"


def _noted(exchange: Exchange, fault: Fault | None) -> Answer | None:
    if fault is None:
        return None
    exchange.rule, exchange.action = fault.rule, fault.answer.action
    return fault.answer


def _accepts(response: Response, planned: Answer | None) -> bool:
    if planned is not None and planned.action is None and planned.refuses():
        return False
    return 200 <= response.status < 300
