"""Letter queries: what a URL asks, and what it cannot."""

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

from ops.console.rig import Ahead
from pombo.ops.console.letterquery import LONGEST, LetterQuery
from pombo.ops.console.people import LIFE_S, People
from pombo.shared.deadletters import Filter
from pombo.shared.secrets import Secrets, new_secret
from support.programs import SECRET

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)


CLOCK = Ahead()
PEOPLE = People(Secrets([SECRET]), CLOCK)


def parse(**asked: str) -> LetterQuery:
    return LetterQuery.parse(asked, ["bot"], NOW, PEOPLE)


def test_a_url_says_what_is_wanted() -> None:
    """Every part of a filter, with spans before now and dates in UTC; what is empty or strange is passed over."""
    query = parse(
        source="bot", reason="poison", event=" Order ", user="u", message_id="m", since="2h", until="2026-01-02T11:30",
        group="f", before="bot/1-0", strange="x",
    )  # fmt: skip
    until = datetime(2026, 1, 2, 11, 30, tzinfo=UTC)
    expected = Filter("bot", "poison", "Order", "u", NOW - timedelta(hours=2), "m", until, "f")
    assert (expected, {}) == (query.wanted, query.errors)
    assert (Filter(), "/dead") == (parse(source="", user=" ").wanted, parse(source="").url())


def test_a_query_becomes_the_url_it_came_from() -> None:
    """As it was written, so that a span stays one; parts can be added and taken out."""
    query = parse(source="bot", since="2h", group="f")
    assert "/dead?source=bot&since=2h&before=bot%2F1-0" == query.url(group=None, before="bot/1-0")


def test_a_person_is_in_no_url() -> None:
    """Only sealed: it opens at every console of the installation for half a day, and then says that it does not."""
    asked = parse(source="bot", user="maria@example.com")
    told = parse_qs(urlsplit(asked.url()).query)
    assert {"source", "who"} == told.keys()
    assert "maria" not in asked.url()
    link = {name: value[0] for name, value in told.items()}
    assert asked.wanted == parse(**link).wanted
    strange = LetterQuery.parse(link, ["bot"], NOW, People(Secrets([new_secret()]), CLOCK))
    assert (Filter(source="bot"), {"user"}) == (strange.wanted, {*strange.errors})
    assert {"user"} == {*parse(who="not a token").errors} == {*parse(who="§").errors}
    later = Ahead()
    later.by = LIFE_S + 2
    assert {"user"} == {*LetterQuery.parse(link, ["bot"], NOW, People(Secrets([SECRET]), later)).errors}


def test_what_cannot_be_understood_is_told_and_filters_nothing() -> None:
    """Each part by itself."""
    query = parse(source="nobody", reason="boredom", since="lunch", until="2026-13-01", event="Order")
    assert {"source", "reason", "since", "until"} == set(query.errors)
    assert Filter(event="Order") == query.wanted


def test_a_bound_makes_moments_absolute() -> None:
    """An end is put in, unless the filter ends earlier; a span is no longer one."""
    bounded = parse(since="2h").until(NOW)
    assert Filter(since=NOW - timedelta(hours=2), until=NOW) == bounded.wanted
    assert bounded.wanted == LetterQuery.parse(bounded.given, ["bot"], NOW + timedelta(days=9), PEOPLE).wanted
    assert NOW - timedelta(hours=1) == parse(until="1h").until(NOW).wanted.until


def test_parts_of_any_length_are_cut() -> None:
    """A URL may be long; a filter is not."""
    assert LONGEST == len(parse(user="x" * 9_999).wanted.user or "")
