"""Generated flows and variables: only the documented error, only events that can be sent, ids that repeat."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar

from hypothesis import given
from hypothesis import strategies as st

from pombo.producer.adapted import Adapted
from pombo.producer.quickbot import Flow, SegmentBlock, Variables, adapt
from pombo.producer.quickbot.actions import ALIASES
from pombo.producer.quickbot.comparisons import OPERATORS, UnusablePattern
from pombo.producer.quickbot.effort import Effort
from pombo.producer.quickbot.matching import is_found
from pombo.producer.quickbot.pattern import InvalidPattern, UnsupportedPattern
from pombo.producer.quickbot.program import compile_pattern
from pombo.producer.quickbot.variables import Value
from pombo.shared.errors import InvalidEvent
from pombo.shared.prepared import prepare

T = TypeVar("T")


class Refused(NamedTuple):
    """A refusal: its words, and where."""

    words: str
    field: str


NOW = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = st.sampled_from(["User ID", "Plan", "Email", "List", "é", "x"])
TEXTS = st.one_of(
    NAMES.map("{{{{{}}}}}".format),
    st.sampled_from(["{{= 1 =}}", "{{", "}}", "${{x}}", "{{{x}}}", "", "u1", "42", '{"a":[1]}', "[" * 200, "9" * 30]),
    st.text(max_size=20),
    st.lists(st.one_of(st.text(alphabet="{}=x \n", max_size=6), NAMES.map("{{{{{}}}}}".format)), max_size=4).map(
        "".join
    ),
    st.text(alphabet=st.characters(categories=("Cs", "Cc", "L")), max_size=5),
    st.just("y" * 40_000),
)
ANY = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXTS, st.binary(max_size=3)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=8,
)
MAYBE = st.one_of(TEXTS, TEXTS, TEXTS, st.none(), ANY)
PAIRS = st.lists(st.one_of(st.fixed_dictionaries({"key": MAYBE, "value": st.one_of(MAYBE, ANY)}), ANY), max_size=4)
SOUND_PAIRS = st.lists(st.fixed_dictionaries({"key": TEXTS, "value": st.one_of(TEXTS, ANY)}), max_size=4)
FIELDS = ("userId", "email", "previousId", "eventName", "name", "category", "credentialsId")
ACTIONS = st.one_of(st.sampled_from(sorted(ALIASES)), st.sampled_from(sorted(ALIASES)), MAYBE)


def options(pairs: st.SearchStrategy[Any], text: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Options of a block; with sound parts, most can be sent."""
    lists = {"properties": pairs, "traits": pairs}
    return st.fixed_dictionaries({"action": ACTIONS}, optional={**dict.fromkeys(FIELDS, text), **lists})


OPTIONS = st.one_of(options(SOUND_PAIRS, TEXTS), options(SOUND_PAIRS, TEXTS), options(st.one_of(PAIRS, ANY), MAYBE))
BLOCKS = st.one_of(
    st.fixed_dictionaries(
        {"type": st.just("segment"), "options": OPTIONS}, optional={"id": st.one_of(st.just("b1"), MAYBE)}
    ),
    st.fixed_dictionaries({"type": st.just("segment"), "options": OPTIONS}),
    ANY,
)
VALUES = st.one_of(TEXTS, st.lists(st.one_of(TEXTS, st.none()), max_size=3), ANY)
VARIABLES = st.one_of(
    st.dictionaries(st.one_of(NAMES, TEXTS), VALUES, max_size=6),
    st.lists(st.fixed_dictionaries({"name": NAMES, "value": VALUES}, optional={"id": TEXTS}), max_size=6),
    st.fixed_dictionaries({"User ID": st.just("u1"), "Email": st.just("m@example.com")}, optional={"Plan": VALUES}),
    ANY,
)
CONDITIONS = st.one_of(
    st.fixed_dictionaries(
        {
            "comparisons": st.lists(
                st.fixed_dictionaries(
                    {"variableId": NAMES, "comparisonOperator": st.sampled_from(sorted(OPERATORS)), "value": TEXTS}
                ),
                max_size=3,
            )
        },
        optional={"logicalOperator": st.sampled_from(["AND", "OR", None])},
    ),
    ANY,
)
WILD = st.fixed_dictionaries(
    {"block": BLOCKS, "variables": VARIABLES},
    optional={
        "condition": CONDITIONS,
        "conditions": st.one_of(st.lists(CONDITIONS, max_size=2), ANY),
        "resultId": MAYBE,
        "idempotencyKey": MAYBE,
        "cast": st.sampled_from(["none", "json", "json", "odd", None]),
        "context": st.one_of(st.dictionaries(TEXTS, ANY, max_size=3), ANY),
        "timestamp": st.one_of(st.datetimes().map(datetime.isoformat), ANY),
    },
)
"""Requests of which nearly all are wrong somewhere."""

FILLED = st.one_of(st.just("{{User ID}}"), st.sampled_from(["{{x}}-{{User ID}}", "u1{{{Plan}}}"]), TEXTS)
SOUND_VALUES = st.one_of(TEXTS, st.lists(st.one_of(TEXTS, st.none()), max_size=3), st.integers(-5, 5), st.booleans())
SOUND_BLOCKS = st.fixed_dictionaries(
    {
        "type": st.just("segment"),
        "options": st.fixed_dictionaries(
            {"action": st.sampled_from(sorted(ALIASES)), **dict.fromkeys(FIELDS, FILLED)},
            optional=dict.fromkeys(
                ("properties", "traits"),
                st.lists(st.fixed_dictionaries({"key": FILLED, "value": st.one_of(FILLED, SOUND_VALUES)}), max_size=4),
            ),
        ),
    },
    optional={"id": st.sampled_from(["b1", "b2", ""])},
)
SOUND = st.fixed_dictionaries(
    {
        "block": SOUND_BLOCKS,
        "variables": st.fixed_dictionaries(
            {"User ID": st.just("u1")}, optional=dict.fromkeys(("Plan", "Email", "List", "x"), SOUND_VALUES)
        ),
    },
    optional={
        "resultId": st.text(max_size=5),
        "idempotencyKey": st.text(max_size=5),
        "cast": st.sampled_from(["none", "json"]),
        "context": st.dictionaries(st.sampled_from(["locale", "page", "integration"]), FILLED, max_size=3),
        "timestamp": st.datetimes().map(datetime.isoformat),
    },
)
"""Requests of which most can be sent."""
REQUESTS = st.one_of(SOUND, SOUND, WILD)


def attempt(act: Callable[[], T], refusals: tuple[type[Exception], ...] = (InvalidEvent,)) -> T | Refused:
    """What an act returns, or the words of a refusal that it is documented to raise."""
    try:
        return act()
    except refusals as error:
        return Refused(str(error), getattr(error, "field", ""))


def outcome(request: Any, key: str | None = None) -> Adapted | Refused | None:
    """What becomes of a request."""
    return attempt(lambda: adapt(request, idempotency_key=key))


@given(REQUESTS, st.one_of(st.none(), TEXTS))
def test_requests(request: dict[str, Any], key: str | None) -> None:
    """Whatever comes, it is held back, refused by the one error, or an event that the producer takes as it is."""
    made = outcome(request, key)
    if isinstance(made, Adapted):
        prepared = prepare(made.event, now=NOW, ordering_key=made.ordering_key)
        assert prepared.message_id == made.event.get("messageId", prepared.message_id)
        assert repr(made) == repr(outcome(request, key))
    else:
        assert made is None or made.words
        assert made == outcome(request, key)


@given(st.one_of(BLOCKS, SOUND_BLOCKS), VARIABLES, st.sampled_from(["none", "json"]))
def test_blocks(block: Any, variables: Any, cast: Any) -> None:
    """A block by itself makes an event that can be sent, or names the field."""
    made = attempt(lambda: SegmentBlock.model_validate(block).event(variables, cast=cast))
    assert made.words if isinstance(made, Refused) else prepare(made, now=NOW).type == made["type"]


@given(SOUND, st.text(min_size=1, max_size=10), st.text(min_size=1, max_size=10))
def test_ids(request: dict[str, Any], one: str, other: str) -> None:
    """An id is the result's and the block's, and two results have two."""
    request.pop("idempotencyKey", None)
    made = [outcome({**request, "resultId": result}) for result in (one, one, other)]
    ids = [each.event["messageId"] for each in made if isinstance(each, Adapted)]
    if len(ids) == len(made):
        assert ids[0] == ids[1]
        assert (one == other) == (ids[0] == ids[2])


@given(ANY)
def test_documents(document: Any) -> None:
    """Any JSON is a flow or refused."""
    made = attempt(lambda: Flow(document).segment_blocks())
    assert made.words if isinstance(made, Refused) else all(place.kind == "segment" for place in made)


def read(given_value: Any) -> Value | None:
    """A value as variables hold it."""
    return Variables.read({"x": given_value}).value("x")


@given(
    st.sampled_from(sorted(OPERATORS)),
    st.one_of(TEXTS, st.lists(st.one_of(TEXTS, st.none()), max_size=3), st.none()),
    st.one_of(TEXTS, st.lists(st.one_of(TEXTS, st.none()), max_size=3), st.none()),
)
def test_operators(name: str, left: Any, right: Any) -> None:
    """Every operator says yes or no to any two values, or that a pattern cannot be used."""
    held = attempt(lambda: OPERATORS[name](read(left), read(right), Effort()), (UnusablePattern,))
    assert held in (True, False) or ("regex" in name and isinstance(held, Refused) and held.words)


@given(
    st.text(alphabet="ab(){}[]|*+?^$.\\-,1:<=!bdwsuxpk/", max_size=15),
    st.sampled_from(["", "i", "m", "y"]),
    st.text("ab1 \n", max_size=8),
)
def test_patterns(pattern: str, flags: str, text: str) -> None:
    """Any text is a pattern, or one of two refusals, and a search ends."""
    found = attempt(
        lambda: is_found(compile_pattern(pattern, flags), text, Effort()), (InvalidPattern, UnsupportedPattern)
    )
    assert found in (True, False) or (isinstance(found, Refused) and found.words)
