"""Rows of the table, by themselves."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pombo.shared.deadletters import LetterHeader, row_of
from pombo.shared.deadletters.kind import UNREADABLE
from pombo.shared.deadletters.rows import GONE, SIZE, UNKNOWN, Rows, Wanted, hash_of
from support.letters import body, header

Told = tuple[int, str | None, str | None, str | None]
"""A letter's group, userId, anonymousId and messageId."""
Asked = tuple[frozenset[int] | None, str | None, str | None, int | None]
"""Groups, a user, a messageId, and the group that is always wanted."""

_users = st.none() | st.sampled_from(["ana", "bob", "cy"])
_letters = st.lists(st.tuples(st.integers(1, 4) | st.just(GONE), _users, _users, _users), max_size=40)
_wanted = st.tuples(st.none() | st.frozensets(st.integers(1, 4)), _users, _users, st.none() | st.just(4))


def rows(letters: list[Told]) -> Rows:
    """The rows of letters."""
    packed = b""
    for number, (group, user, anonymous, message) in enumerate(letters):
        fields: dict[str, Any] = {"userId": user, "anonymousId": anonymous}
        payload = body(message or "", **fields) if message else b"{}" if user is anonymous is None else body(**fields)
        packed += row_of(header().dump(), payload).packed(f"{(1 << 33) + number}-{number}", group)
    return Rows(packed)


@given(_letters, _wanted)
def test_wanted_rows_are_those_that_fit(letters: list[Told], asked: Asked) -> None:
    """Looking through columns finds exactly what looking at each row does."""
    groups, user, message, always = asked
    known = [(group, *(name if name else None for name in names)) for group, *names in letters]

    def fits(group: int, user_id: str | None, anonymous: str | None, message_id: str | None) -> bool:
        empty = user_id is None and anonymous is None and message_id is None
        its = None if empty else message_id or "m1"
        by_hash = (user is None or user in {user_id, anonymous}) and (message is None or message == its)
        return group != GONE and (group == always or (by_hash and (groups is None or group in groups)))

    wanted = Wanted(
        groups, None if user is None else hash_of(user), None if message is None else hash_of(message), always
    )
    assert [place for place, one in enumerate(known) if fits(*one)] == rows(letters).wanted(wanted)  # type: ignore[arg-type]


@given(_letters)
def test_rows_of_letters_that_left_can_be_left_out(letters: list[Told]) -> None:
    """What is live stays as it was, in its order."""
    made = rows(letters)
    live = [place for place, letter in enumerate(letters) if letter[0] != GONE]
    kept = Rows(made.live())
    assert [made.id(place) for place in live] == [kept.id(place) for place in range(len(kept))]
    assert [made.groups[place] for place in live] == [*kept.groups]


def test_a_row_has_its_size_and_gives_its_id_back() -> None:
    """Also beyond 32 bits of milliseconds, as they are since 1970."""
    packed = row_of(header().dump(), body()).packed("1795865569446-7", 3)
    assert (SIZE, "1795865569446-7", [3]) == (len(packed), Rows(packed).id(0), [*Rows(packed).groups])


@pytest.mark.parametrize(
    ("accepted", "seconds"),
    [
        ("2026-01-02T03:04:05.678Z", 1767323045),
        ("2026-01-02T03:04:05", 1767323045),
        ("1969-01-01T00:00:00Z", 0),
        (None, UNKNOWN),
        ("soon", UNKNOWN),
    ],
)
def test_acceptance_is_kept_to_the_second(accepted: str | None, seconds: int) -> None:
    """Nobody knows when something was accepted that does not say so: it is not old."""
    packed = row_of(header(accepted_at=accepted).dump(), body()).packed("1-0", 1)
    assert [seconds] == [*Rows(packed).accepted]


def test_letters_that_cannot_be_read_have_a_kind_of_their_own() -> None:
    """Nothing of them is known but that they are there."""
    row = row_of(b'{"v":2}', body())
    assert (UNREADABLE, b"\0" * 12 + b"\xff" * 4) == (row.kind, row.marks)


def test_only_what_can_be_sent_again_is_not_stuck() -> None:
    """The kind tells, so that a group's letters can be counted as one or the other."""
    stuck = [
        row_of(LetterHeader(reason, 0).dump(), payload, events).kind.stuck
        for reason, payload, events in (
            ("poison", body(), 1), ("invalid", body(), 1), ("corrupt", b"\x01?", 7), ("policy", b"{}", 1),
        )
    ]  # fmt: skip
    assert [False, True, True, True] == stuck
