import pytest
from starlette.datastructures import FormData

from pombo.ops.console.sourceform import FIELDS, PARTITIONS, changes, read, shown, told, usual
from pombo.shared.options import Options
from pombo.shared.sources import Source


def test_every_setting_has_a_field() -> None:
    """Whatever an operator may set of a source by a command, the form has too."""
    assert set(Options.__annotations__) == set(FIELDS)


def test_a_form_that_nobody_touched_is_the_source() -> None:
    """What a form shows is read back as what it was made of, so that saving it changes nothing."""
    for source in (
        Source(name="bot", incarnation="i"),
        Source(name="bot", incarnation="i", region=None, endpoint="http://h:1", rate=0.5, burst=3.0, rate_group="g",
               bots=("a@b", "c@d"), blip=True, retention_s=2_592_000, dead_bytes=1_234_567),
    ):  # fmt: skip
        filled = read(FormData(shown(source)), FIELDS.values(), "bot")
        assert ({}, {}) == (filled.errors, changes(filled, shown(source)))
        assert source == Source.model_validate({"name": "bot", "incarnation": "i", **filled.options})


def test_a_new_source_has_the_usual_settings() -> None:
    """The form of a new source begins with the defaults."""
    filled = read(FormData(usual()), [PARTITIONS, *FIELDS.values()], "bot")
    assert {} == filled.errors
    assert Source(name="bot", incarnation="i") == Source(incarnation="i", name="bot", **filled.options)


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("rate", "many"), ("rate", "-1"), ("rate", "inf"), ("burst", "0"), ("rate_group", "no spaces"),
        ("max_age_s", "soon"), ("window_s", "1s"), ("ids_limit", "1.5"), ("backlog_bytes", "a lot"),
        ("retention_s", "-1d"), ("intake_header", "no header"), ("bots", "nobody"), ("region", "moon"),
        ("identity", "x"),
    ],
)  # fmt: skip
def test_errors_are_told_by_field(field: str, given: str) -> None:
    """What cannot be used is told at its field, and at no other, and stays in the field."""
    filled = read(FormData(usual() | {field: given}), FIELDS.values(), "bot")
    assert ([field], given) == ([*filled.errors], filled.values[field])


def test_an_endpoint_counts_only_when_chosen() -> None:
    """The region and the endpoint replace each other; another endpoint that is not given is an error of its field."""
    both = usual() | {"region": "eu", "endpoint": "http://h:1"}
    assert ("eu", None) == tuple(read(FormData(both), FIELDS.values(), "b").options[n] for n in ("region", "endpoint"))
    other = both | {"region": "other"}
    assert (None, "http://h:1") == tuple(
        read(FormData(other), FIELDS.values(), "b").options[n] for n in ("region", "endpoint")
    )
    none = read(FormData(other | {"endpoint": ""}), FIELDS.values(), "b")
    assert {"endpoint": "give its URL, or choose a region"} == none.errors
    wrong = read(FormData(other | {"endpoint": "http://user:key@h"}), FIELDS.values(), "b")
    assert ["endpoint"] == [*wrong.errors]


def test_the_trail_is_told_no_addresses() -> None:
    """Of an endpoint, a header and bots only that they were given; the rest with its values."""
    given = {"rate": 5.0, "endpoint": "http://h", "intake_header": "X", "bots": ("a@b",), "burst": None}
    assert {"rate": 5.0, "endpoint": "given", "intake_header": "given", "bots": "given"} == told(given)
