"""The debugger, by real requests to a real console: what it tells, to whom, and for how long."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import httpx
import orjson
import pytest
from redis import Redis

from ops.console.rig import OPERATOR, VIEWER, Running, token_of
from ops.console.stocked import KEYS, add, append, stored, within
from pombo.ops.console.pages.debugger import GRANT, LOOK
from pombo.ops.console.tailing import GRANT_S, WATCH_S
from pombo.shared import flow
from pombo.shared.tail import Fate, Seen, tell
from pombo.shared.trail import read_trail
from support.waiting import until

USER, TEXT = "5511998765432@wa.gw.msging.net", "my CPF is 529.982.247-25"
"""What names a person, and what one said: nobody sees them who was not granted to."""
NOON = 1_767_268_800_000

Told = tuple[str, Any]


@pytest.fixture
def operator(guarded: Running) -> Iterator[httpx.Client]:
    with guarded.client(OPERATOR, name="Ana") as client:
        yield client


@pytest.fixture
def viewer(guarded: Running) -> Iterator[httpx.Client]:
    with guarded.client(VIEWER) as client:
        yield client


@pytest.fixture
def bot(redis_url: str) -> str:
    """A source; its URL."""
    add(redis_url)
    return redis_url


def body(message_id: str = "m1", *, user: str = USER, event: str = "Message Sent", **more: Any) -> bytes:
    """A serialised event."""
    return orjson.dumps({
        "messageId": message_id, "type": "track", "event": event, "userId": user, "properties": {"text": TEXT}, **more,
    })  # fmt: skip


def pass_by(url: str, *passed: tuple[bytes, Fate, int], **more: Any) -> None:
    """Tell events as a worker does: body, fate, and ms after noon."""
    source = stored(url)
    seen = [Seen.of(one, fate, NOON + ms, 2, **more) for one, fate, ms in passed]
    within(url, lambda redis, _: tell(redis, KEYS, source, seen))


@contextmanager
def tail(
    client: httpx.Client, look: Mapping[str, str] | None = None, grant: str = "", source: str = "bot"
) -> Iterator[Iterator[Told]]:
    """Listen; what is told, as it comes."""
    headers = {LOOK: quote(orjson.dumps(look or {}).decode()), GRANT: grant}
    with client.stream("GET", "/debugger/stream", params={"source": source}, headers=headers) as answer:
        assert (200, "text/event-stream") == (answer.status_code, answer.headers["content-type"].partition(";")[0])
        yield messages(answer)


def messages(answer: httpx.Response) -> Iterator[Told]:
    name = ""
    for line in answer.iter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, orjson.loads(line.removeprefix("data: "))


def rows(told: Iterator[Told]) -> list[dict[str, Any]]:
    """The next events that are told."""
    found: list[dict[str, Any]] = next(data for name, data in told if name == "seen")["rows"]
    return found


def reveal(client: httpx.Client, **fields: str) -> httpx.Response:
    """Ask for values."""
    token = token_of(client.get("/workers").text)
    return client.post("/debugger/reveal", data={"csrf": token, "source": "bot", **fields})


def granted(client: httpx.Client) -> str:
    """A grant."""
    told = orjson.loads(reveal(client).headers["HX-Trigger"])["revealed"]
    assert "bot" == told["source"]
    grant: str = told["grant"]
    return grant


# -- the page --


def test_a_source_is_chosen(operator: httpx.Client, redis_url: str) -> None:
    """Without a source there is nothing to choose, of several one is asked for, and the only one is taken."""
    assert "There is no source yet" in operator.get("/debugger").text
    add(redis_url)
    assert 'data-source="bot"' in operator.get("/debugger?source=bot&fate=dead").text
    page = operator.get("/debugger?source=bot&fate=dead").text
    assert 'data-fate="dead" aria-pressed="true"' in page
    assert "curl http://localhost:8080/v1/track" in page
    assert "There is no source “nobody”" in operator.get("/debugger?source=nobody").text


def test_viewers_are_not_offered_to_reveal(viewer: httpx.Client, operator: httpx.Client, bot: str) -> None:
    """The button is an operator's."""
    path = "/debugger?source=bot"
    assert (False, True) == tuple('id="reveal"' in client.get(path).text for client in (viewer, operator))


# -- the tail --


def test_events_are_told_as_they_pass(viewer: httpx.Client, bot: str) -> None:
    """What passed lately at once, oldest first, and then what passes, each with its fate."""
    pass_by(bot, (body("m1"), "accepted", 0), (body("m1"), "delivered", 12))
    with tail(viewer) as told:
        first = rows(told)
        assert [("m1", "accepted", NOON), ("m1", "delivered", NOON + 12)] == [
            (row["id"], row["fate"], row["at"]) for row in first
        ]
        assert ("track", "Message Sent", 2, len(body("m1"))) == tuple(
            first[0][name] for name in ("type", "event", "partition", "size")
        )
        pass_by(bot, (body("m2"), "dead", 20), note="rejected_by_segment 400 no")
        (row,) = rows(told)
    assert ("m2", "dead", "rejected_by_segment 400 no") == (row["id"], row["fate"], row["note"])


def test_what_was_left_out_is_counted(viewer: httpx.Client, bot: str) -> None:
    """Workers that had too much to tell say how much; what they said before somebody came counts for nobody."""
    pass_by(bot, (body("m0"), "delivered", 0), left_out=7)
    with tail(viewer) as told:
        assert [0] == [next(data["left_out"] for name, data in told if name == "seen")]
        pass_by(bot, (body("m1"), "delivered", 0), left_out=40)
        assert 40 == next(data["left_out"] for name, data in told if name == "seen")


def test_what_a_paused_source_accepts_is_seen(viewer: httpx.Client, bot: str) -> None:
    """Its events wait, and are told as accepted, once each; so is that it is paused."""
    within(bot, lambda redis, _: flow.pause(redis, KEYS, "bot"))
    append(bot, stored(bot), body("m1"), body("m2"))
    with tail(viewer) as told:
        assert ("state", {"state": "paused", "workers": 0, "sends": False}) == next(told)
        assert [("m1", "accepted"), ("m2", "accepted")] == [(row["id"], row["fate"]) for row in rows(told)]
        append(bot, stored(bot), body("m3"))
        assert ["m3"] == [row["id"] for row in rows(told)]


def test_the_fleet_is_asked_while_somebody_listens(
    viewer: httpx.Client, guarded: Running, bot: str, sync_redis: Redis
) -> None:
    """A watch is on, with an end; when the browser goes, so does its place, and nobody asks any more."""
    with tail(viewer) as told:
        next(told)
        until(lambda: 1 == sync_redis.zcard(KEYS.watched), "a watch")
        assert 1 == guarded.state.tails.taken
    until(lambda: 0 == guarded.state.tails.taken, "end of the tail")
    ends: Any = sync_redis.zscore(KEYS.watched, "bot")
    now: Any = sync_redis.time()
    assert now[0] < ends <= now[0] + WATCH_S


def test_there_are_no_more_tails_than_seats(viewer: httpx.Client, guarded: Running, bot: str) -> None:
    """Who comes when all seats are taken is told so."""
    most, guarded.state.tails.most = guarded.state.tails.most, 0
    try:
        assert 503 == viewer.get("/debugger/stream?source=bot").status_code
    finally:
        guarded.state.tails.most = most


def test_a_source_that_goes_ends_its_tail(viewer: httpx.Client, guarded: Running, bot: str) -> None:
    """Who listens to a source that is removed is told, and the stream ends."""
    with tail(viewer) as told:
        next(told)
        within(bot, lambda _, registry: registry.remove("bot", discard=True))
        guarded.clock.by += 60
        assert ("gone", {}) == [*told][-1]


@pytest.mark.parametrize(
    ("look", "found"),
    [
        ({"text": "SENT"}, ["m1"]),
        ({"text": "m2"}, ["m2"]),
        ({"text": USER.upper()}, ["m1", "m2"]),
        ({"text": " other "}, ["m3"]),
        ({"type": "identify"}, ["m3"]),
        ({"text": "m", "type": "track"}, ["m1", "m2"]),
    ],
)
def test_events_are_searched(viewer: httpx.Client, bot: str, look: dict[str, str], found: list[str]) -> None:
    """By a part of the event's name or messageId, by a whole userId, and by type."""
    other = body("m3", user="other", type="identify", event="x")
    pass_by(bot, (body("m1"), "accepted", 0), (body("m2", event="y"), "accepted", 1), (other, "accepted", 2))
    with tail(viewer, look) as told:
        assert found == [row["id"] for row in rows(told)]


def test_a_part_of_a_user_finds_nobody(viewer: httpx.Client, operator: httpx.Client, bot: str) -> None:
    """Else an id could be guessed piece by piece; who may see ids may also search for their parts."""
    pass_by(bot, (body("m1"), "accepted", 0), (body("551199"), "accepted", 1))
    with tail(viewer, {"text": "551199"}) as told:
        assert ["551199"] == [row["id"] for row in rows(told)]
    with tail(operator, {"text": "551199"}, granted(operator)) as told:
        assert ["m1", "551199"] == [row["id"] for row in rows(told)]


@pytest.mark.parametrize("look", ["%7B", "[]", "%FF", '"x"'])
def test_a_wrong_search_is_refused(viewer: httpx.Client, bot: str, look: str) -> None:
    """What is no search is told so."""
    assert 400 == viewer.get("/debugger/stream?source=bot", headers={LOOK: look}).status_code


def test_unknown_sources_have_no_tail(viewer: httpx.Client, bot: str) -> None:
    """Nothing is asked of the fleet for a source that is none."""
    for path in ("stream", "event", "trace"):
        assert 404 == viewer.get(f"/debugger/{path}?source=nobody&id=x").status_code


# -- whose values are seen --


def test_values_are_masked(viewer: httpx.Client, operator: httpx.Client, bot: str) -> None:
    """Neither the tail nor an event shows whom it is of or what they said, to operators neither, until they ask."""
    pass_by(bot, (body("m1"), "accepted", 0), (body("m2"), "delivered", 1), (body("m3", user="x"), "delivered", 1))
    for client in (viewer, operator):
        with tail(client) as told:
            first, second, third = rows(told)
        assert first["user"] == second["user"] != third["user"]
        shown = orjson.dumps([first, second, third]).decode() + client.get("/debugger/event?source=bot&id=m1").text
        for secret in (USER, USER[:6], TEXT, "529"):
            assert secret not in shown
        assert "Message Sent" in shown


def test_what_segment_said_of_somebody_is_masked(viewer: httpx.Client, operator: httpx.Client, bot: str) -> None:
    """Of an answer that repeats a value, reason, status and the rest of its words are told."""
    pass_by(bot, (body("m1"), "dead", 0), note=f"rejected_by_segment 400 bad '{USER}' for 5511998765432")
    with tail(viewer) as told:
        (row,) = rows(told)
    shown = row["note"] + viewer.get("/debugger/event?source=bot&id=m1").text
    assert row["note"].startswith("rejected_by_segment 400 bad ")
    assert [] == [secret for secret in (USER, "5511998765432") if secret in shown]
    with tail(operator, grant=granted(operator)) as told:
        assert USER in rows(told)[0]["note"]


def test_an_operator_may_ask_to_see_values(operator: httpx.Client, guarded: Running, bot: str) -> None:
    """Of one source, for a quarter of an hour, and the trail says so, without whose they were."""
    pass_by(bot, (body("m1"), "accepted", 0))
    answer = reveal(operator, id="m1")
    assert TEXT in answer.text
    assert USER in answer.text
    grant = orjson.loads(answer.headers["HX-Trigger"])["revealed"]["grant"]
    event = "/debugger/event?source=bot&id=m1"
    assert TEXT in operator.get(event, headers={GRANT: grant}).text
    with tail(operator, grant=grant) as told:
        assert [USER] == [row["user"] for row in rows(told)]
    add(bot, "other", "k" * 32)
    (deed,) = within(bot, lambda redis, _: read_trail(redis, KEYS))
    assert ("Ana", "debugger.reveal", "bot", {}) == (deed.who, deed.what, deed.subject, dict(deed.detail))
    assert 200 == operator.get("/debugger/event?source=other&id=m1", headers={GRANT: grant}).status_code
    guarded.clock.by += GRANT_S + 1
    assert TEXT not in operator.get(event, headers={GRANT: grant}).text


def test_a_grant_is_of_one_session_and_source(
    operator: httpx.Client, viewer: httpx.Client, guarded: Running, bot: str
) -> None:
    """A viewer gets none, and nobody else's is of use: not another session's, not for another source, no forged one."""
    add(bot, "other", "k" * 32)
    pass_by(bot, (body("m1"), "accepted", 0))
    assert 403 == reveal(viewer).status_code
    grant, event = granted(operator), "/debugger/event?source=bot&id=m1"
    until_, _, signature = grant.partition(".")
    forged = (f"{int(until_) + 1}.{signature}", grant[:-1], f"{until_}.", "9999999999.x", "x", "²³.x")
    with guarded.client(OPERATOR) as another:
        assert TEXT not in another.get(event, headers={GRANT: grant}).text
    assert TEXT not in viewer.get(event, headers={GRANT: grant}).text
    for one in forged:
        assert TEXT not in operator.get(event, headers=[(GRANT.encode(), one.encode())]).text
    other = orjson.loads(reveal(operator, source="other").headers["HX-Trigger"])["revealed"]["grant"]
    assert TEXT not in operator.get(event, headers={GRANT: other}).text


def test_a_forged_form_reveals_nothing(operator: httpx.Client, bot: str) -> None:
    """Without the session's token no deed is done."""
    assert 403 == operator.post("/debugger/reveal", data={"csrf": "forged", "source": "bot"}).status_code
    assert [] == within(bot, lambda redis, _: read_trail(redis, KEYS))


# -- one event --


def test_an_event_tells_its_way(viewer: httpx.Client, bot: str) -> None:
    """All its fates with the time between, and where its dead letter is."""
    pass_by(bot, (body("m1"), "accepted", 0), (body("m1"), "dead", 34), note="too_large 400")
    shown = viewer.get("/debugger/event?source=bot&id=m1").text
    assert ["accepted", "dead"] == re.findall(r'data-state="(\w+)"', shown)
    assert "after 34 ms" in shown
    assert "too_large 400" in shown
    assert 'hx-get="/debugger/trace?source=bot&amp;id=m1"' in shown


def test_a_long_event_is_shown_as_far_as_it_was_told(viewer: httpx.Client, bot: str) -> None:
    """What is whole of it, masked, and how much there is."""
    pass_by(bot, (body("m1", context={"long": "x" * 9000}), "accepted", 0))
    shown = viewer.get("/debugger/event?source=bot&id=m1").text
    assert "of which the first 4.1 kB were told" in shown
    assert "xxx" not in shown
    assert "properties" in shown


def test_what_is_no_json_is_shown_to_operators_alone(operator: httpx.Client, bot: str) -> None:
    """An unreadable payload has no values to mask: all of it is one."""
    bad = b'{"messageId":"m1","userId":"' + b"\xff" * 3 + USER.encode()
    pass_by(bot, (bad, "dead", 0))
    seen = operator.get("/debugger/event?source=bot&id=").text
    assert USER not in seen


def test_where_an_event_is_now(viewer: httpx.Client, bot: str) -> None:
    """A waiting one is found in its queue; of one that nobody knows that is said."""
    append(bot, stored(bot), body("m1"), body("m2"))
    assert "queued" in viewer.get("/debugger/trace?source=bot&id=m2").text
    assert "Nothing is known of it now" in viewer.get("/debugger/trace?source=bot&id=m3").text
    assert ["accepted"] == re.findall(r'data-state="(\w+)"', viewer.get("/debugger/event?source=bot&id=m2").text)
    assert "the tail no longer has it" in viewer.get("/debugger/event?source=bot&id=m3").text


def test_what_bots_send_is_text(operator: httpx.Client, bot: str) -> None:
    """Markup in names, ids, notes and payloads is shown, and run by no browser."""
    evil = "<script>alert(1)</script>\"'><b onclick=x>"
    pass_by(bot, (body(evil, event=evil, user=evil, properties={evil: evil}), "dead", 0), note=evil)
    for answer in (
        operator.get("/debugger/event", params={"source": "bot", "id": evil}),
        operator.get("/debugger/trace", params={"source": "bot", "id": evil}),
        reveal(operator, id=evil),
        operator.get("/debugger", params={"source": evil, "fate": evil}),
    ):
        assert [] == re.findall(r"<script>|<b onclick", answer.text), answer.url
    with tail(operator) as told:
        assert evil == rows(told)[0]["event"]
