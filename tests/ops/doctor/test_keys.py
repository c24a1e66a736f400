import pytest

from pombo.ops.doctor.keys import OpenedKey, key_checks, oddity, open_keys
from pombo.shared.secrets import SealedKeys, Secrets
from pombo.shared.sources import Source

KEY = "aB3" * 10 + "xy"


def source(name: str = "bot", endpoint: str | None = None) -> Source:
    """A source."""
    return Source(name=name, incarnation="i", endpoint=endpoint)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (KEY, None),
        ("https://api.segment.io/v1", "is a URL"),
        (f'"{KEY}"', "is in quotes"),
        (f"{KEY} ", "holds white space"),
        ("pik_" + "x" * 43, "is an intake key of pombo's"),
        ("pbs_" + "x" * 43, "is a secret of pombo's"),
        ("abc123", "has 6 characters, not 32"),
        ("-" * 32, "is not letters and digits alone"),
    ],
)
def test_oddities(key: str, expected: str | None) -> None:
    """What was pasted in place of a write key is told in words that show nothing of it."""
    assert expected == oddity(key)


def test_an_odd_key_is_a_finding_where_segment_drops_its_events() -> None:
    """For Segment an odd key loses events; for an endpoint of one's own it is worth a word."""
    opened = [OpenedKey(source(), "odd"), OpenedKey(source("sim", "http://h"), "odd"), OpenedKey(source("ok"), KEY)]
    checks = {check.name: check.ok for check in key_checks(opened)}
    assert {"write keys": True, "write key of bot": False, "write key of sim": True} == checks


def test_sources_with_the_same_key() -> None:
    """The same key for the same place is worth a word, for another place it is not."""
    opened = [OpenedKey(source(name), KEY) for name in ("a", "b")] + [OpenedKey(source("c", "http://h"), KEY)]
    (found,) = [check for check in key_checks(opened) if check.remedy]
    assert found.ok
    assert "a, b have the same one" in found.detail
    assert KEY not in str(opened)


def test_keys_that_cannot_be_read(secrets: Secrets) -> None:
    """Another secret's, and lost ones, are named, with what mends them; none of it is fatal to the doctor."""
    other = Secrets(["pbs_another-secret-that-knows-nothing-of-the-first"])
    sealed = {
        "mine": SealedKeys.seal(secrets, KEY, "d").dump(),
        "theirs": SealedKeys.seal(other, KEY, "d").dump(),
        "new": b'{"v":9}',
    }
    opened = open_keys([source(name) for name in ("mine", "theirs", "new", "lost")], sealed, secrets)
    assert [True, False, False, False] == [one.key == KEY for one in opened]
    (check,) = key_checks(opened)
    assert not check.ok
    assert check.detail.startswith("3 of 4 cannot be read, and nothing is sent: theirs, new, lost")
    assert "POMBO_SECRET_KEY" in (check.remedy or "")
    (lost,) = key_checks(opened[3:])
    assert lost.remedy == "`pombo sources rotate-key lost --write-key -`"
