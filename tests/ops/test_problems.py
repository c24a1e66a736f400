"""What is wrong with an installation, in words, from looks that are made up."""

from typing import Any

import pytest

from ops.top.looks import NOW, look, view, worker
from pombo.ops.doctor.server import Server, server_checks
from pombo.ops.jobcount import Jobs
from pombo.ops.overview import Head, Overview, RedisView, SourceView, WorkerView
from pombo.ops.problems import Action, Problem, Recent, away, foremost, headline, job_problems, problems, worst
from pombo.shared.deadletters import FULL
from pombo.shared.losses import Loss, Losses

LIVE = (worker("w1"),)
PARKED = {
    "parked": "Segment answered 401: the write key is refused; `pombo sources rotate-key`",
    "parked_at": NOW - 60_000,
}


def overview(*views: SourceView, workers: tuple[WorkerView, ...] = LIVE, **server: Any) -> Overview:
    """An overview of these sources, with a worker that lives."""
    usual: dict[str, Any] = {
        "product": "valkey", "version": "9.1", "used_memory": 1, "maxmemory": 100, "persistence": "aof always"
    }  # fmt: skip
    found = look(0, *views, workers=workers).overview
    return Overview(found.sources, found.unreadable, found.workers, RedisView(**(usual | server)), NOW)


def found(*views: SourceView, history: dict[str, Recent] | None = None, **more: Any) -> list[Problem]:
    return problems(overview(*views, **more), history, NOW)


def told(*views: SourceView, **more: Any) -> list[tuple[str, str | None, str]]:
    """The problems without their words."""
    return [(one.severity, one.source, one.what) for one in found(*views, **more)]


def balanced(**ledger: int) -> dict[str, Any]:
    """A ledger whose equation holds."""
    return {"accepted": sum(ledger.values()), **ledger}


def test_an_installation_that_is_well_has_no_problems() -> None:
    """A source that sends, a worker that lives and a server with room need nobody."""
    assert [] == told(view("bot", **balanced(delivered=5, queued=2)))
    assert "All well" == headline([])
    assert worst([]) is None


def test_a_parked_source_says_why_and_what_to_do() -> None:
    """The verdict names the source, what happened, since when, what waits, and the act that ends it."""
    (one,) = found(view("bot", flow=PARKED, **balanced(queued=7)))
    assert (
        "bot — parked: Segment answered 401: the write key is refused, for 60 s now; 7 events wait → rotate the key"
        == (one.line)
    )
    assert Action("rotate the key", "pombo sources rotate-key bot --write-key -", "/sources/bot#key") == one.action


@pytest.mark.parametrize(
    ("reason", "command"),
    [
        (f"{FULL} of 10 bytes; redrive, or export", "pombo dead list --source bot"),
        ("the endpoint redirects (301); check it", "pombo sources set bot --endpoint URL"),
        ("Segment refuses every event, each alone (status 400); `pombo sources test bot`", "pombo sources test bot"),
        ("something new", "pombo sources resume bot"),
    ],
)
def test_each_kind_of_park_has_its_own_remedy(reason: str, command: str) -> None:
    """What ends a park depends on what caused it."""
    (one,) = found(view("bot", flow={"parked": reason}))
    assert command == one.action.command


def test_an_open_breaker_grows_from_a_warning_to_a_failure() -> None:
    """For five minutes an outage of Segment is expected to end by itself."""
    assert [("warning", "bot", "broken")] == told(view("bot", flow={"broken_at": NOW - 299_000}))
    assert [("critical", "bot", "broken")] == told(view("bot", flow={"broken_at": NOW - 300_000}))


def test_a_hold_needs_nobody() -> None:
    """Segment asked to wait, and it goes on by itself: a note, and all is well."""
    made = found(view("bot", flow={"hold_until": NOW + 30_000}))
    assert [("note", "held")] == [(one.severity, one.what) for one in made]
    assert "All well" == headline(made)


def test_a_pause_matters_once_events_wait() -> None:
    """An operator's own doing is a warning only when it holds something back."""
    assert [("note", "bot", "paused")] == told(view("bot", flow={"paused": True}))
    assert [("warning", "bot", "paused")] == told(view("bot", flow={"paused": True}, **balanced(queued=1)))


def test_a_pause_says_since_when() -> None:
    """An old one was perhaps forgotten; of one that an older pombo began nobody knows."""
    (one,) = found(view("bot", flow={"paused": True, "paused_at": NOW - 600_000}))
    assert "bot — paused: by an operator, for 10 min now; 0 events wait → resume it" == one.line
    assert "by an operator; 0 events wait" == found(view("bot", flow={"paused": True}))[0].why


def test_a_blocked_partition_waits_for_a_person() -> None:
    """What another version stored is never sent by itself."""
    (one,) = found(view("bot", flow={"blocked": {"3": "stored by another version"}}))
    assert ("critical", "blocked", True) == (one.severity, one.what, "partition 3 waits" in one.why)


def test_books_that_do_not_balance_are_the_worst() -> None:
    """An event without a trace is told even while all is sent."""
    assert [("critical", "bot", "unbalanced")] == told(view("bot", accepted=3, delivered=2))
    assert [("critical", "bot", "Redis lost events")] == told(view("bot", accepted=3, delivered=2, forgotten=1))


@pytest.mark.parametrize(
    ("part", "expected"),
    [(0.79, []), (0.8, [("warning", "bot", "backlog nearly full")]), (1.0, [("critical", "bot", "backlog full")])],
)
def test_a_filling_backlog_is_told_before_it_refuses(part: float, expected: list[Any]) -> None:
    """From 80 % on it is a warning, at the limit bots are refused."""
    assert expected == told(view("bot", queued_bytes=int(part * (1 << 30)) + 1))


def test_dead_letters_near_their_limit_will_park_the_source() -> None:
    """It is told before; once parked, the park says it."""
    near = int(0.9 * (256 << 20))
    assert [("warning", "bot", "dead letters nearly full")] == told(view("bot", dead_bytes=near))
    parked = view("bot", flow={"parked": f"{FULL} of 1 bytes; redrive"}, dead_bytes=near)
    assert [("critical", "bot", "parked")] == told(parked)


def test_events_that_die_now_weigh_more_than_those_that_died_once() -> None:
    """Old dead letters wait for a decision; new ones say that something is wrong."""
    ledger = balanced(dead=4) | {"dead_by_reason": {"poison": 1, "invalid": 3}}
    assert [("note", "bot", "dead letters")] == told(view("bot", **ledger))
    (one,) = found(view("bot", **ledger), history={"bot": Recent(died=2)})
    assert ("warning", "2 events died in the last 15 min (invalid, poison); 4 dead letters in all") == (
        one.severity, one.why
    )  # fmt: skip


def aged(seconds: float, owner: str = "w1", **flow: Any) -> SourceView:
    """A source whose oldest event waits so long in a partition of this owner."""
    made = view("bot", flow=flow, **balanced(queued=9))
    return SourceView(made.source, made.flow, made.ledger, (Head(int(NOW - seconds * 1000), owner),))


def test_a_source_that_sends_and_is_behind_is_late() -> None:
    """A minute's wait is told with the time that the backlog needs."""
    assert [] == found(aged(59))
    (one,) = found(aged(60), history={"bot": Recent(drain_s=7200)})
    assert ("warning", "late", "the oldest of 9 events waits for 60 s; empty in 2.0 h at this pace") == (
        one.severity, one.what, one.why
    )  # fmt: skip
    assert [("note", "bot", "catching up")] == told(aged(600), history={"bot": Recent(drain_s=90)})
    assert "does not shrink" in found(aged(60), history={"bot": Recent()})[0].why
    assert ["paused"] == [one.what for one in found(aged(600, paused=True))]


def test_a_partition_of_a_dead_worker_is_taken_over_or_told() -> None:
    """For half a minute a takeover is under way."""
    assert [] == found(aged(30, owner="gone"))
    assert [("critical", "bot", "not taken over")] == told(aged(31, owner="gone"))


def test_a_fleet_without_workers_is_told_once() -> None:
    """No worker: nothing is sent, and no source is called late for it."""
    assert [("critical", None, "no worker lives")] == told(aged(600), workers=())
    assert [("warning", None, "no worker lives")] == told(view("bot"), workers=())
    assert ["no worker lives"] == [one.what for one in found(workers=(worker("w1", alive=False),))]


def test_a_silent_worker_beside_living_ones_is_a_warning() -> None:
    """Others take over, but somebody killed it."""
    assert [("warning", None, "worker silent")] == told(workers=(*LIVE, worker("w2", alive=False)))


def test_workers_of_two_versions_are_a_note() -> None:
    """A roll-out is under way."""
    assert [("note", None, "mixed versions")] == told(workers=(worker("w1", version="1"), worker("w2", version="2")))


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        ({"used_memory": 79}, []),
        ({"used_memory": 80}, [("warning", None, "Redis is nearly full")]),
        ({"used_memory": 95}, [("critical", None, "Redis is nearly full")]),
        ({"used_memory": 100}, [("critical", None, "Redis is full")]),
        ({"used_memory": 99, "maxmemory": 0}, []),
    ],
)
def test_the_server_is_judged_too(server: dict[str, Any], expected: list[Any]) -> None:
    """Whether it has room."""
    assert expected == told(**server)


@pytest.mark.parametrize(
    ("kept", "info", "config"),
    [
        ("none", {}, {"save": ""}),
        ("rdb", {}, {"save": "3600 1"}),
        ("aof no", {"aof_enabled": 1}, {"appendfsync": "no"}),
        ("aof everysec", {"aof_enabled": 1}, {"appendfsync": "everysec"}),
        ("aof always", {"aof_enabled": 1}, {"appendfsync": "always"}),
        ("aof", {"aof_enabled": 1}, None),
        ("unknown", {}, None),
    ],
)
def test_what_a_server_may_lose_is_a_warning_where_the_doctor_calls_it_ill(
    kept: str, info: dict[str, Any], config: dict[str, str] | None
) -> None:
    """It says what can be lost and what to type; where no source is, there is nothing to lose."""
    (check,) = (one for one in server_checks([Server(info, config)]) if one.name == "persistence")
    made = found(view("bot"), persistence=kept)
    assert ([] if check.ok else ["warning"]) == [one.severity for one in made]
    assert all("loses" in one.why or "lose " in one.why for one in made)
    assert all(one.action.command.startswith("redis-cli CONFIG SET append") for one in made)
    assert [] == told(persistence=kept)


def test_a_server_that_evicts_is_a_warning_before_it_does() -> None:
    """Any policy but noeviction deletes what was accepted as soon as the server is full; unseen is not told."""
    made = found(eviction="allkeys-lru")
    assert [("warning", "Redis may delete events")] == [(one.severity, one.what) for one in made]
    assert "allkeys-lru" in made[0].why
    assert [] == told(eviction="noeviction")
    assert [] == told(eviction="")


def test_what_workers_saw_redis_lose_stays_until_somebody_reads_it() -> None:
    """A noted loss of the whole is critical, with the sentence of the audit."""
    seen = overview()
    lost = Losses((Loss("1000000-0", "emptied", {"worker": "w1"}),))
    (one,) = problems(Overview(seen.sources, (), seen.workers, seen.redis, NOW, lost), None, NOW)
    assert ("critical", "Redis lost events", "pombo audit") == (one.severity, one.what, one.action.command)
    assert one.why.startswith("Redis was emptied at 1970")


def test_a_source_that_this_pombo_cannot_read_is_told() -> None:
    """It is left alone, by producers and workers here too: whoever runs this pombo must upgrade it."""
    seen = overview()
    (one,) = problems(Overview({}, ("future",), seen.workers, seen.redis, NOW), None, NOW)
    assert ("warning", "unreadable source", True) == (one.severity, one.what, one.why.startswith("future:"))


def test_jobs_without_a_worker_and_jobs_that_failed() -> None:
    """The first wait until somebody acts, the second are there to be read."""
    assert [] == [*job_problems(Jobs(3, 1, 1))]
    made = [(one.severity, one.what, one.action.command) for one in job_problems(Jobs(2, 0, 0, 1))]
    assert [("warning", "jobs wait", "pombo worker"), ("note", "jobs failed", "pombo jobs list")] == made


def test_a_problem_as_json() -> None:
    """Programs get the same words, and the command apart; none where nothing can be typed."""
    expected = {"severity": "note", "source": "bot", "what": "held", "why": "y", "action": "wait", "command": None}
    assert expected == Problem("note", "bot", "held", "y", Action("wait")).describe()


def test_the_worst_comes_first() -> None:
    """Critical before warning before note; within these by source."""
    made = told(view("b", flow=PARKED), view("c", flow={"paused": True}), view("a", flow=PARKED), used_memory=80)
    assert [("critical", "a"), ("critical", "b"), ("warning", None), ("note", "c")] == [one[:2] for one in made]


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        (["bot"], "1 source needs you"),
        (["bot", "bot", "shop"], "2 sources need you"),
        ([None], "The installation needs you"),
        (["bot", None], "1 source and the installation need you"),
    ],
)
def test_the_headline_counts_who_needs_somebody(sources: list[str | None], expected: str) -> None:
    """Sources are counted once each, notes not at all."""
    made = [Problem("warning", source, "late", "", Action("")) for source in sources]
    note = Problem("note", "quiet", "held", "", Action(""))
    assert expected == headline([*made, note])
    assert "warning" == worst([*made, note])


def test_the_foremost_problem_is_named() -> None:
    """A light has room for one: the worst that somebody has to act on."""
    note = Problem("note", "quiet", "held", "", Action(""))
    assert "" == foremost([note])
    assert "bot — late" == foremost([Problem("warning", "bot", "late", "", Action("")), note])
    assert "no worker lives" == foremost([Problem("critical", None, "no worker lives", "", Action("")), note])


def test_redis_away_says_since_when() -> None:
    """Whoever looks learns that events are safe where they are, and what to start."""
    assert "Redis is away: last heard 30 s ago: no Redis answers; bots keep their events in spools" in (
        away("no Redis answers", 30.0).line
    )
    assert "last heard" not in away("no Redis answers", None).line
