from typing import Any

import pytest

from pombo.ops.doctor.sources import source_checks
from pombo.ops.overview import SourceView
from pombo.shared.flow import Flow
from pombo.shared.ledger import Ledger
from pombo.shared.sources import Source

NOW = 1_000_000_000


def view(
    name: str = "bot", *, flow: dict[str, Any] | None = None, ledger: dict[str, Any] | None = None, **settings: Any
) -> SourceView:
    """A source that holds ten events, unless said otherwise."""
    counted = {"incarnation": "i", "accepted": 10, "queued": 10, **(ledger or {})}
    return SourceView(Source(name=name, incarnation="i", **settings), Flow(NOW, **(flow or {})), Ledger(**counted))


def found(*views: SourceView) -> list[tuple[str, bool]]:
    """Names and verdicts."""
    return [(check.name, check.ok) for check in source_checks(views, ())]


def test_sources_that_are_well_are_one_line() -> None:
    """Nothing wrong with many sources is one check with the counts."""
    (check,) = source_checks([view("a"), view("b")], ())
    assert (True, None) == (check.ok, check.remedy)
    assert check.detail.startswith("2 sources, 20 events under way")


@pytest.mark.parametrize(
    ("flow", "ok", "words"),
    [
        ({"parked": "answer 404"}, False, "parked: answer 404"),
        ({"paused": True}, False, "paused by hand; 10 events wait"),
        ({"hold_until": NOW + 60_000}, True, "held for 60 s more"),
        ({"broken_at": NOW - 1000, "broken_why": "HTTP 503"}, False, "HTTP 503"),
        ({"blocked": {"key": "cannot be decrypted"}}, False, "cannot be decrypted"),
        ({"blocked": {"3": "version 9", "4": "version 9"}}, False, "2 partitions blocked, 3: version 9"),
    ],
)
def test_what_keeps_a_source(flow: dict[str, Any], ok: bool, words: str) -> None:
    """Each state that keeps events from being sent is told with its reason; what needs somebody is a finding."""
    checks = [check for check in source_checks([view(flow=flow)], ()) if check.name == "source bot"]
    assert [ok] == [check.ok for check in checks]
    assert words in checks[0].detail
    assert ok or checks[0].remedy


def test_a_pause_without_events_hurts_nobody() -> None:
    """A paused source is a finding when events wait, and a word otherwise."""
    idle = view(flow={"paused": True}, ledger={"accepted": 0, "queued": 0})
    assert ("source bot", True) in found(idle)


@pytest.mark.parametrize(
    "ledger",
    [{"incarnation": None}, {"incarnation": "another"}, {"accepted": 11}, {"queued": -1, "accepted": -1}],
)
def test_a_ledger_that_is_wrong(ledger: dict[str, Any]) -> None:
    """A ledger that is gone, another's, or does not balance is a finding."""
    assert [("ledger of bot", False)] == found(view(ledger=ledger))


def test_limits_that_come_near() -> None:
    """Backlog and dead letters near their bound are findings, half of it is worth a word."""
    near, half = ({"queued_bytes": used} for used in (80, 50))
    assert [("backlog of bot", False)] == found(view(ledger=near, backlog_bytes=100))
    assert [("sources", True), ("backlog of bot", True)] == found(view(ledger=half, backlog_bytes=100))
    assert [("sources", True)] == found(view(ledger=near, backlog_bytes=0))
    dead = {"accepted": 12, "dead": 2, "dead_bytes": 90, "dead_by_reason": {"poison": 2}}
    assert [("dead letters of bot", False)] == found(view(ledger=dead, dead_bytes=100))
    assert [("sources", True), ("dead letters of bot", True)] == found(view(ledger=dead))


def test_ids_forgotten_early() -> None:
    """Ids that are not remembered for the whole window are a finding: copies would be sent again."""
    assert [("ids of bot", False)] == found(view(flow={"ids_cut_at": NOW - 1000, "ids_cut_to_s": 60.0}))


def test_raw_user_ids_of_a_source_for_blip() -> None:
    """That raw userIds are phone numbers on WhatsApp is a word, not a finding; hashed ones are worth none."""
    checks = {check.name: check for check in source_checks([view(blip=True)], ())}
    assert checks["userIds of bot"].ok
    assert "the customer's phone number" in checks["userIds of bot"].detail
    assert "--identity hmac" in str(checks["userIds of bot"].remedy)
    assert [("sources", True)] == found(view(blip=True, identity="hmac"))
    assert [("sources", True)] == found(view(identity="raw"))


def test_sources_of_a_newer_pombo() -> None:
    """What cannot be read is named."""
    (check,) = source_checks([], ["future"])
    assert (False, True) == (check.ok, "future" in check.detail)


def test_rate_groups_that_disagree() -> None:
    """Sources of one group with different rates are told, as the lowest counts."""
    views = [view("a", rate_group="ws", rate=10), view("b", rate_group="ws", rate=20), view("c", rate_group="x")]
    assert [("sources", True), ("rate group ws", True)] == found(*views)
    assert [("sources", True)] == found(views[0], views[2])
