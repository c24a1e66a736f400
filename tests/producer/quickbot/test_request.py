from typing import Any

import pytest

from pombo.producer.adapted import Adapted
from pombo.producer.quickbot import adapt
from producer.quickbot.samples import ALIAS, CONTEXT, IDENTIFY, KNOWN, PAGE, TRACK, refused, with_options

GOLD = {"comparisons": [{"variableId": "Plan", "comparisonOperator": "Equal to", "value": "Gold"}]}
SILVER = {"comparisons": [{"variableId": "Plan", "comparisonOperator": "Equal to", "value": "Silver"}]}


def adapted(block: dict[str, Any] = TRACK, key: str | None = None, scope: str = "", **more: Any) -> Adapted:
    """What becomes of a request that is not held back."""
    made = adapt({"block": block, "variables": KNOWN, **more}, idempotency_key=key, scope=scope)
    assert made is not None
    return made


def id_of(*args: Any, **more: Any) -> str:
    """The messageId of a request."""
    made: str = adapted(*args, **more).event["messageId"]
    return made


def test_a_request() -> None:
    """Block and variables become an event that is ready to be enqueued; its id is left to the producer."""
    event = {"type": "track", "userId": "u1", "event": "Plan Chosen", "properties": {"plan": "Gold"}}
    assert Adapted({**event, "context": CONTEXT}, None) == adapted()


def test_ids_are_stable() -> None:
    """The same result and block have the same id whenever they come, and so has the same key."""
    assert id_of(resultId="r1") == id_of(resultId="r1", variables={**KNOWN, "Plan": "Silver"})
    assert id_of(key="k1") == id_of(key="k1", resultId="r2") == id_of(idempotencyKey="k1")
    assert id_of(key="k1", idempotencyKey="other") == id_of(key="k1")
    assert id_of(resultId=7) == id_of(resultId="7")


def test_ids_differ() -> None:
    """Another block, result, key or source has another id, and a key is no result."""
    ids = [
        id_of(resultId="r1"),
        id_of(resultId="r2"),
        id_of(key="r1"),
        id_of(IDENTIFY, resultId="r1"),
        id_of(IDENTIFY, key="r1"),
        id_of(ALIAS, resultId="r1"),
        id_of(PAGE, resultId="r1"),
        id_of(resultId="r1", scope="other"),
        id_of({**TRACK, "id": None}, resultId="r1"),
        id_of({**with_options(TRACK, eventName="Other"), "id": None}, resultId="r1"),
    ]
    assert len(ids) == len(set(ids))


def test_ids_fit() -> None:
    """An id is short and says whose it is, not which result or key it was made from."""
    made = id_of(key="conversation of +55 11 98765-4321 " * 100)
    assert (49, True) == (len(made), made.startswith("quickbot-"))
    assert set(made.removeprefix("quickbot-")) <= set("0123456789abcdef")


def test_the_conversation_keeps_its_order() -> None:
    """The result is what keeps events in order, so that anonymous and known ones of a conversation do."""
    assert ["r1", None] == [adapted(resultId="r1").ordering_key, adapted(key="k1").ordering_key]


@pytest.mark.parametrize(
    ("conditions", "sent"),
    [
        ({"condition": GOLD}, True),
        ({"condition": SILVER}, False),
        ({"condition": [GOLD, GOLD]}, True),
        ({"condition": [GOLD, SILVER]}, False),
        ({"conditions": [GOLD]}, True),
        ({"conditions": [SILVER]}, False),
        ({"condition": GOLD, "conditions": [SILVER]}, False),
        ({"condition": {"id": "i", "content": GOLD}}, True),
        ({"condition": {"comparisons": []}}, False),
        ({"conditions": []}, True),
        ({"condition": None}, True),
    ],
)
def test_conditions(conditions: dict[str, Any], sent: bool) -> None:
    """Nothing is sent when a condition does not hold."""
    assert sent == (adapt({"block": TRACK, "variables": KNOWN, **conditions}) is not None)


def test_a_condition_comes_first() -> None:
    """What a condition holds back need not be complete: the flow would not have come to it."""
    assert None is adapt({"block": TRACK, "variables": {"Plan": "Gold"}, "condition": SILVER})


def test_variables_as_a_flow_has_them() -> None:
    """The flow's own list works too, and gives conditions its ids."""
    variables = [{"id": "v1", "name": "User ID", "value": "u1"}, {"id": "v2", "name": "Plan", "value": "Gold"}]
    by_id = {"comparisons": [{"variableId": "v2", "comparisonOperator": "Equal to", "value": "Gold"}]}
    made = adapt({"block": TRACK, "variables": variables, "condition": by_id})
    assert made is not None
    assert {"plan": "Gold"} == made.event["properties"]


def test_filled_in_already() -> None:
    """Without variables, the platform has filled in the fields of the body itself."""
    block = with_options(TRACK, userId="u1", properties=[{"key": "said", "value": "{{Plan}}"}])
    made = adapt({"block": block, "resultId": "r1"})
    assert made is not None
    assert {"said": "{{Plan}}"} == made.event["properties"]


def test_casting_context_and_timestamp() -> None:
    """What is optional in a request reaches the event."""
    event = adapted(
        variables={**KNOWN, "Plan": "3"},
        cast="json",
        context={"locale": "{{Name}}"},
        timestamp="2026-01-02T03:04:05+01:00",
    ).event
    assert {"plan": 3} == event["properties"]
    assert {**CONTEXT, "locale": "Maria"} == event["context"]
    assert "2026-01-02T02:04:05.000000Z" == event["timestamp"]


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        ({}, "block"),
        ({"block": None}, "block"),
        ({"block": "x"}, "block"),
        ({"block": TRACK, "variables": 5}, "variables"),
        ({"block": TRACK, "variables": {}}, "userId"),
        ({"block": TRACK}, "userId"),
        ({"block": TRACK, "variables": KNOWN, "cast": "yes"}, "cast"),
        ({"block": TRACK, "variables": KNOWN, "context": "x"}, "context"),
        ({"block": TRACK, "variables": KNOWN, "context": {"a": "{{=1=}}"}}, "context.a"),
        ({"block": TRACK, "variables": KNOWN, "resultId": []}, "resultId"),
        ({"block": TRACK, "variables": KNOWN, "resultId": "{{Result ID}}"}, "resultId"),
        ({"block": TRACK, "variables": KNOWN, "idempotencyKey": "a-{{x}}"}, "idempotencyKey"),
        ({"block": TRACK, "variables": KNOWN, "resultId": True}, "resultId"),
        ({"block": TRACK, "variables": KNOWN, "resultId": 2**70}, "resultId"),
        ({"block": TRACK, "variables": KNOWN, "idempotencyKey": {}}, "idempotencyKey"),
        ({"block": TRACK, "variables": KNOWN, "timestamp": "yesterday"}, "timestamp"),
        ({"block": TRACK, "variables": KNOWN, "condition": 5}, "condition"),
        ({"block": TRACK, "variables": KNOWN, "conditions": [GOLD, {"comparisons": 5}]}, "conditions[1].comparisons"),
        ({"block": TRACK, "variables": KNOWN, "condtion": GOLD}, "condtion"),
        ({"block": TRACK, "variable": KNOWN}, "variable"),
        ({"block": TRACK, "variables": KNOWN, "result_id": "r1"}, "result_id"),
    ],
)
def test_refusals(request_: dict[str, Any], field: str) -> None:
    """Whatever whoever made the request can correct is one error, with its place."""
    assert field == refused(lambda: adapt(request_))[0]


@pytest.mark.parametrize("given", [None, 5, "x", []])
def test_what_is_no_request(given: Any) -> None:
    """A body that is no object is refused by the same error."""
    assert ("", "not_a_request") == refused(lambda: adapt(given))


def test_other_keys_are_ignored() -> None:
    """A request may carry what others need, as long as it is no slip of a key of ours."""
    assert adapted() == adapted(botId="b1", source="bot", flow={"x": 1})


@pytest.mark.parametrize(
    "comparison",
    [
        {"variableId": "Long", "comparisonOperator": "Equal to", "value": "{{Long}}"},
        {"variableId": "Long", "comparisonOperator": "Does not contain", "value": "{{Other}}"},
        {"variableId": "Long", "comparisonOperator": "Starts with", "value": "{{Long}}"},
        {"variableId": "Text", "comparisonOperator": "Matches regex", "value": "(.*)*(.*)*(.*)*x"},
        {"variableId": "Long", "comparisonOperator": "Matches regex", "value": "{{Other}}"},
        {"variableId": "Plan", "comparisonOperator": "Matches regex", "value": "(a{40}b?){40}"},
    ],
)
def test_conditions_have_a_budget(comparison: dict[str, str]) -> None:
    """However long the lists and texts of a request, evaluating it ends soon, for all conditions together."""
    known = {**KNOWN, "Long": ["y"] * 20_000, "Other": ["z"] * 20_000, "Text": "y" * 100_000}
    conditions = [{"logicalOperator": "OR", "comparisons": [comparison] * 100}] * 10
    request = {"block": TRACK, "variables": known, "conditions": conditions}
    field, code = refused(lambda: adapt(request))
    assert ("too_costly", "conditions[0]") == (code, field.partition(".")[0])


def test_many_conditions_have_one_budget() -> None:
    """Conditions that are cheap one by one are not when there are very many."""
    field, code = refused(lambda: adapt({"block": TRACK, "variables": KNOWN, "conditions": [GOLD] * 40_000}))
    assert ("too_costly", "conditions[") == (code, field[:11])


def test_too_many_keys() -> None:
    """A request is no bag."""
    assert ("", "not_a_request") == refused(lambda: adapt({f"k{number}": 1 for number in range(65)}))
