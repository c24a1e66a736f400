from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random

from pombo.ops.simulator.plan import Answer, Rule, When


@dataclass(frozen=True, slots=True)
class Facts:
    """What a rule may look at: the request's number, its write keys and its messageIds."""

    n: int
    keys: frozenset[str]
    message_ids: Sequence[str]


@dataclass(frozen=True, slots=True)
class Fault:
    """The rule that fired, by its number from 1, and its answer."""

    rule: int
    answer: Answer


class FaultPlan:
    """Choose each request's fault and count how often each rule fired.

    The dice start anew with each plan: the same seed, plan and order of requests give the same faults.
    """

    def __init__(self, rules: Iterable[Rule] = (), seed: int = 0) -> None:
        self.rules = tuple(rules)
        self.fired = [0] * len(self.rules)
        self._dice = Random(seed)

    def choose(self, facts: Facts) -> Fault | None:
        """Return the first rule that matches and may still fire, or None, and count it."""
        for index, rule in enumerate(self.rules):
            if self._may_fire(index) and self._matches(rule.when, facts):
                self.fired[index] += 1
                return Fault(index + 1, rule.answer)
        return None

    def _may_fire(self, index: int) -> bool:
        times = self.rules[index].times
        return times is None or self.fired[index] < times

    def _matches(self, when: When, facts: Facts) -> bool:
        return (
            (when.requests is None or _within(when.requests, facts.n))
            and (when.key is None or not when.key.isdisjoint(facts.keys))
            and (when.message_id is None or not when.message_id.isdisjoint(facts.message_ids))
            and (when.share is None or self._dice.random() < when.share)
        )


def _within(span: tuple[int, int | None], n: int) -> bool:
    return span[0] <= n and (span[1] is None or n <= span[1])
