from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pombo.ops.simulator import PlanError, Rule, SimulatorError, load_plan, parse_plan
from pombo.ops.simulator.faults import Facts, FaultPlan


def facts(n: int = 1, key: str = "k", *message_ids: str) -> Facts:
    return Facts(n, frozenset({key}), message_ids)


def fired(rules: list[Any], *requests: Facts, seed: int = 0) -> list[int | None]:
    """Return the number of the rule that fires for each request."""
    plan = FaultPlan(parse_plan(rules), seed)
    faults = [plan.choose(request) for request in requests]
    return [fault.rule if fault else None for fault in faults]


def rule(times: int | None = None, **when: Any) -> dict[str, Any]:
    return {"when": when, "answer": {"status": 503}, "times": times}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"rules": []}, 'a plan must be a list of rules, not {"rules":[]}'),
        ("x" * 99, f'a plan must be a list of rules, not "{"x" * 56}...'),
        ([3], "plan rule 1: a rule must be an object, not 3"),
        ([{"answer": {}}, "hang"], 'plan rule 2: a rule must be an object, not "hang"'),
        ([{}], 'plan rule 1: "answer" is missing; a rule has: when, answer, times'),
        ([{"anwser": {}}], 'plan rule 1: unknown key "anwser" in the rule; allowed: when, answer, times'),
        (
            [{"answer": {}}, {"wen": {}, "answer": {}}],
            'plan rule 2: unknown key "wen" in the rule; allowed: when, answer, times',
        ),
        (
            [{"when": {"keys": "k"}, "answer": {}}],
            'plan rule 1: unknown key "keys" in when; allowed: key, requests, message_id, share',
        ),
        (
            [{"answer": {"code": 500}}],
            'plan rule 1: unknown key "code" in answer; allowed: status, headers, body, delay_s, action',
        ),
        ([{"when": [], "answer": {}}], "plan rule 1: when must be an object, not []"),
        ([{"answer": 503}], "plan rule 1: answer must be an object, not 503"),
        ([{"answer": {}, "times": 0}], "plan rule 1: times must be a whole number from 1, not 0"),
        ([{"answer": {}, "times": True}], "plan rule 1: times must be a whole number from 1, not true"),
        (
            [{"answer": {"action": "explode"}}],
            'plan rule 1: answer.action must be "hang", "reset_before" or "reset_after", not "explode"',
        ),
        (
            [{"when": {"share": 1.5}, "answer": {}}],
            "plan rule 1: when.share must be a number from 0 to 1, not 1.5",
        ),
        (
            [{"when": {"key": 7}, "answer": {}}],
            "plan rule 1: when.key must be a string or a list of strings, not 7",
        ),
    ],
)
def test_complaints(document: object, message: str) -> None:
    """A plan that cannot be obeyed is refused in one line that says where and what."""
    with pytest.raises(PlanError) as caught:
        parse_plan(document)
    assert str(caught.value) == message


@pytest.mark.parametrize("status", [199, 600, "503", 503.5, True, [503]])
def test_bad_status(status: object) -> None:
    """A status is a whole number from 200 to 599."""
    with pytest.raises(PlanError, match=r"^plan rule 1: answer\.status must be a whole number from 200 to 599, not "):
        parse_plan([{"answer": {"status": status}}])


@pytest.mark.parametrize("requests", [0, -1, "3", 1.5, True, [], [1], [3, 2], [0, 4], [1, 2, 3], [None, 4], ["1", 2]])
def test_bad_requests(requests: object) -> None:
    """Numbers count from 1, and a range has two ends in order, of which the last may be open."""
    with pytest.raises(PlanError, match=r"^plan rule 1: when\.requests must be a whole number from 1, or "):
        parse_plan([rule(requests=requests)])


@pytest.mark.parametrize(
    "headers",
    [
        [],
        {"Retry-After": 1.5},
        {"Retry-After": True},
        {"Retry-After": ["1"]},
        {"bad name": "x"},
        {"": "x"},
        {"X": "a\r\nY: b"},
        {"X": " padded"},
        {"Content-Length": "3"},
        {"transfer-encoding": "chunked"},
    ],
)
def test_bad_headers(headers: object) -> None:
    """Headers are what HTTP can carry, as strings or whole numbers, without those that frame the body."""
    with pytest.raises(PlanError, match=r"^plan rule 1: answer\.headers must be an object of header names"):
        parse_plan([{"answer": {"headers": headers}}])


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        ({"delay_s": -1}, "delay_s"),
        ({"delay_s": "1"}, "delay_s"),
        ({"body": 3}, "body"),
        ({"body": True}, "body"),
    ],
)
def test_bad_values(answer: dict[str, Any], name: str) -> None:
    """Delays are numbers from 0, bodies strings, objects or lists."""
    with pytest.raises(PlanError, match=rf"^plan rule 1: answer\.{name} must be "):
        parse_plan([{"answer": answer}])


def test_everything_at_once() -> None:
    """A rule with every key is read, with single values for lists and numbers for headers."""
    [read] = parse_plan(
        [
            {
                "when": {"key": "k", "requests": [2, None], "message_id": ["a", "b"], "share": 1},
                "answer": {
                    "status": 429,
                    "headers": {"Retry-After": 2},
                    "body": {"a": [1]},
                    "delay_s": 1,
                    "action": None,
                },
                "times": 3,
            }
        ]
    )
    assert (read.when.key, read.when.requests, read.when.message_id) == (
        frozenset({"k"}),
        (2, None),
        frozenset({"a", "b"}),
    )
    assert read.answer.headers == {"Retry-After": "2"}
    assert parse_plan([read]) == (read,)


def test_nulls_are_absent() -> None:
    """Null is the same as leaving a key out."""
    nulls = {"when": {"key": None, "share": None}, "answer": {"status": None}, "times": None}
    assert parse_plan([nulls]) == parse_plan([{"answer": {}}])


def test_load_plan(tmp_path: Path) -> None:
    """A plan is loaded from a file."""
    path = tmp_path / "plan.json"
    path.write_text('[{"answer": {"status": 500}}]')
    assert load_plan(path) == parse_plan([{"answer": {"status": 500}}])


def test_load_plan_problems(tmp_path: Path) -> None:
    """A file that is missing or no JSON is named in the one line."""
    path = tmp_path / "plan.json"
    with pytest.raises(PlanError, match=r"^plan .*plan\.json cannot be read: No such file or directory$"):
        load_plan(path)
    path.write_text("[{]")
    with pytest.raises(SimulatorError, match=r"^plan .*plan\.json is not valid JSON: .*line 1 column 3"):
        load_plan(path)


def test_first_match_wins() -> None:
    """Of several rules that match the first fires."""
    assert fired([rule(key="other"), rule(), rule(key="k")], facts()) == [2]


def test_empty_when_matches_everything() -> None:
    """A rule without `when` is for every request."""
    assert fired([{"answer": {}}], facts(), facts(9, "z")) == [1, 1]


@pytest.mark.parametrize(
    ("requests", "numbers"),
    [(2, [2]), ([2, 3], [2, 3]), ([3, None], [3, 4, 5]), ([1, 1], [1]), ([9, 9], [])],
)
def test_requests(requests: object, numbers: list[int]) -> None:
    """A number means that request alone, a pair everything from its first to its second, null the rest."""
    matched = fired([rule(requests=requests)], *(facts(n) for n in range(1, 6)))
    assert [n for n, number in enumerate(matched, start=1) if number] == numbers


def test_keys() -> None:
    """A rule by key is for each request that holds one of the keys."""
    assert fired([rule(key=["a", "b"])], facts(1, "a"), facts(2, "c"), facts(3, "b")) == [1, None, 1]


def test_message_ids() -> None:
    """A rule by messageId is for each request that contains it."""
    rules = [rule(message_id="m"), rule(message_id=["x", "y"])]
    assert fired(rules, facts(1, "k", "a", "m"), facts(2, "k", "y", "z"), facts(3, "k")) == [1, 2, None]


def test_all_conditions_hold() -> None:
    """Everything in `when` has to hold."""
    rules = [rule(key="a", requests=2)]
    assert fired(rules, facts(1, "a"), facts(2, "b"), facts(2, "a")) == [None, None, 1]


def test_times() -> None:
    """A rule that fired as often as it may makes way for those behind it."""
    assert fired([rule(times=2), rule(times=1)], *[facts()] * 4) == [1, 1, 2, None]


def test_times_counts_firing_only() -> None:
    """A request that does not match uses nothing up."""
    assert fired([rule(times=1, key="a")], facts(1, "b"), facts(2, "a"), facts(3, "a")) == [None, 1, None]


@pytest.mark.parametrize(("share", "expected"), [(0, 0), (1, 200)])
def test_certain_shares(share: int, expected: int) -> None:
    """A share of 0 never fires and a share of 1 always does."""
    assert sum(number == 1 for number in fired([rule(share=share)], *[facts()] * 200)) == expected


@settings(deadline=None)
@given(st.integers(0, 2**32))
def test_shares_repeat_with_their_seed(seed: int) -> None:
    """The same seed makes the same draws, in about the share that was asked for."""
    rules, requests = [rule(share=0.3)], [facts()] * 300
    first = fired(rules, *requests, seed=seed)
    assert first == fired(rules, *requests, seed=seed)
    assert 30 < sum(number == 1 for number in first) < 160


def test_dice_are_thrown_last() -> None:
    """A share is drawn only once the rest matches, so that other traffic does not change it."""
    rules = [rule(share=0.5, key="k")]
    alone = fired(rules, *[facts()] * 50)
    mixed = fired(rules, *[facts(1, key) for _ in range(50) for key in ("other", "k")])
    assert alone == mixed[1::2]


def test_rule_is_public() -> None:
    """Rules can be written as models instead of JSON."""
    assert parse_plan([Rule.model_validate({"answer": {"status": 500}})])[0].answer.status == 500
