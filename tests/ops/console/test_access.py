"""Which token opens the console, and how often a wrong one may be tried."""

import pytest

from ops.console.rig import Ahead
from pombo.ops.console.access import ADDRESSES, BURST, TOTAL_BURST, Attempts, Role, Tokens
from pombo.shared.settings import Settings


@pytest.mark.parametrize(
    ("token", "role"),
    [
        ("op", "operator"),
        ("vi", "viewer"),
        ("", "stranger"),
        ("o", "stranger"),
        ("opp", "stranger"),
        ("ö\ud800", "stranger"),
    ],
)
def test_a_token_opens_for_its_role(token: str, role: Role) -> None:
    """The whole token and nothing else, whatever characters are typed."""
    assert role == Tokens("op", "vi").role_of(token)


def test_a_token_that_is_not_set_opens_nothing() -> None:
    """An empty input is not the missing viewer's token."""
    assert "stranger" == Tokens("op").role_of("")
    assert "viewer" == Tokens(viewer="vi").role_of("vi")


def test_the_same_token_for_both_is_the_operators() -> None:
    """Whoever sets one token twice loses no power."""
    assert "operator" == Tokens("same", "same").role_of("same")


def test_empty_settings_set_no_token() -> None:
    """A variable that is there and blank opens the console on loopback, as an absent one does."""
    blank = Settings(console_token="  ", console_viewer_token=None, _env_file=None)  # type: ignore[arg-type,call-arg]
    assert Tokens.of(blank).open
    assert not Tokens.of(Settings(console_viewer_token="v", _env_file=None)).open  # type: ignore[arg-type,call-arg]


def test_changed_tokens_change_the_fingerprint() -> None:
    """Sessions of another set of tokens end; roles cannot be swapped for one another."""
    prints = {Tokens("a", "b").fingerprint(), Tokens("b", "a").fingerprint(), Tokens("a").fingerprint()}
    assert 3 == len(prints)


def test_an_address_has_some_tries_and_then_waits() -> None:
    """Five wrong tokens, then one every ten seconds."""
    clock = Ahead()
    attempts = Attempts(clock)
    for _ in range(BURST):
        assert 0 == attempts.wait_s("10.0.0.1")
        attempts.failed("10.0.0.1")
    assert 9 < attempts.wait_s("10.0.0.1") <= 10
    assert 0 == attempts.wait_s("10.0.0.2")
    clock.by = 11
    assert 0 == attempts.wait_s("10.0.0.1")


def test_many_addresses_are_slowed_down_together() -> None:
    """A botnet has no more tries in all than the console can stand."""
    attempts = Attempts(Ahead())
    for number in range(TOTAL_BURST):
        attempts.failed(f"10.0.{number}.1")
    assert 0 < attempts.wait_s("192.168.0.1") <= 1


def test_an_ipv6_network_is_one_address() -> None:
    """Who has a /64 has 2^64 addresses to try from."""
    attempts = Attempts(Ahead())
    for number in range(BURST):
        attempts.failed(f"2001:db8::{number:x}")
    assert attempts.wait_s("2001:db8::ffff") > 0
    assert 0 == attempts.wait_s("2001:db8:0:1::1")


def test_attempts_are_bounded() -> None:
    """Addresses are forgotten, the longest quiet first."""
    clock = Ahead()
    attempts = Attempts(clock)
    for _ in range(BURST):
        attempts.failed("10.9.9.9")
    for number in range(ADDRESSES):
        attempts.failed(f"10.1.{number // 250}.{number % 250}")
    clock.by = 5000  # So that what all of them share is over.
    assert 0 == attempts.wait_s("10.9.9.9")
    assert ADDRESSES == len(attempts._by_address)
