"""Kinds of death: which letters are alike."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pombo.shared.deadletters.kind import LONGEST_ANSWER, LONGEST_EVENT, Kind, kind_of, normalised


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("field 3 is bad", "field 17 is bad"),
        ('no user "ana" here', 'no user "bob" here'),
        ("no user 'ana' here", "no user 'bob' here"),
        ("id 0f8fad5b-d9cb-469f-a165-70867728950e unknown", "id 7c9e6679-7425-40de-944b-e07fc1f90ae7 unknown"),
        ("ana@example.com is taken", "bob.b@example.org is taken"),
        ('{"ok":false,"message":"event 3 is too large"}', '{"ok": false, "message": "event 44 is too large"}'),
        ("  spaced \n out", "spaced out"),
        ("at 2026-01-02T03:04:05Z", "at 2027-11-12T13:14:15.678Z"),
    ],
)  # fmt: skip
def test_answers_alike(one: str, other: str) -> None:
    """Numbers, ids, addresses, quoted values and the layout of JSON do not tell answers apart."""
    assert normalised(one) == normalised(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("malformed JSON", "Exceed payload limit"),
        ('{"message":"malformed JSON"}', '{"message":"Exceed payload limit"}'),
        ('{"code":"a"}', '{"message":"a"}'),
    ],
)
def test_answers_unlike(one: str, other: str) -> None:
    """What Segment says tells them apart, also inside JSON."""
    assert normalised(one) != normalised(other)


def test_a_normalised_answer_is_read_by_people() -> None:
    """Of JSON its members stand there with their names."""
    answer = '{\n  "success": false,\n  "message": "userId \\"u1\\" of event 17 is unknown"\n}'
    assert "success: false message: userId … of event # is unknown" == normalised(answer)


@given(st.text(max_size=400))
def test_any_answer_is_normalised(answer: str) -> None:
    """Whatever it is, the result is short, and JSON carries it; to normalise it again changes nothing in its length."""
    assert LONGEST_ANSWER >= len(normalised(answer))
    kind = kind_of("poison", 400, type_=None, event=None, answer=answer, stuck=False)
    assert kind == Kind.parse(kind.dump())


@pytest.mark.parametrize("depth", [60, 400, 1000])
@pytest.mark.parametrize("ends", ["[]", "{}"])
def test_an_answer_may_be_nested(depth: int, ends: str) -> None:
    """As deeply as its length allows: an event that dies of it dies all the same, in an alike's group."""
    start, end = ("[", "]") if ends == "[]" else ('{"a":', "}")
    answers = [f"{start * depth}{number}{end * depth}" for number in (1, 2)]
    assert normalised(answers[0]) == normalised(answers[1])


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("a" * 2048, "a" * LONGEST_ANSWER),
        ("a.b-" * 512, ("a.b-" * 512)[:LONGEST_ANSWER]),
        ("x@y z9; 1a,b2:c q.w", "# #; #,# q.w"),
        ("a1;b@c d", "# d"),
    ],
)
def test_long_words_are_looked_at_once(answer: str, expected: str) -> None:
    """What tells events apart is found word by word, however long one is."""
    assert expected == normalised(answer)


def kind(**changes: Any) -> Kind:
    usual = {"reason": "poison", "status": 400, "type_": "track", "event": "E", "answer": "no", "stuck": False}
    return kind_of(**{**usual, **changes})


@pytest.mark.parametrize(
    "change", [{"reason": "expired"}, {"status": None}, {"type_": "page"}, {"event": "F"}, {"answer": None},
               {"stuck": True}],
)  # fmt: skip
def test_each_part_of_a_fingerprint_counts(change: dict[str, Any]) -> None:
    """Letters of another reason, status, type, event or answer are another group."""
    assert kind().fingerprint != kind(**change).fingerprint


def test_fingerprints_are_pinned() -> None:
    """Fingerprints stand in URLs, jobs and tables: another algorithm needs another version of the table."""
    assert "4410b16d7701" == kind().fingerprint


def test_long_names_are_cut_and_still_told_apart() -> None:
    """Of a long event's name a start is kept; whether it is meant, the letter itself has to tell."""
    long = "x" * LONGEST_EVENT
    assert kind(event=f"{long}1").fingerprint != kind(event=f"{long}2").fingerprint
    assert [None, None, False] == [kind(event=f"{long}1").may_be(name) for name in (f"{long}1", f"{long}2", "y")]
    assert [True, False] == [kind().may_be(name) for name in ("E", "F")]
