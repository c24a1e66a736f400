"""The pages of sources, by real requests to a real console over a real server."""

import re
from collections.abc import Iterator
from html import unescape

import httpx
import pytest
from redis import Redis

from ops.console.rig import OPERATOR, VIEWER, Running, console, token_of
from ops.console.stocked import KEY, KEYS, add, append, send, stored, within
from pombo.ops.console.pages.sources import PAGE
from pombo.ops.console.poller import TICK_S
from pombo.ops.console.sourceform import shown, usual
from pombo.shared import flow
from pombo.shared.registry import INTAKE_PREFIX
from pombo.shared.secrets import Secrets
from pombo.shared.sources import Source
from pombo.shared.trail import read_trail
from support.servers import running as server_running
from support.servers import scratch
from support.waiting import until

OTHER = "Another0Canary0Another0Canary000"


@pytest.fixture
def operator(guarded: Running) -> Iterator[httpx.Client]:
    """An operator's browser; none of its answers holds a write key."""
    with guarded.client(OPERATOR, name="Ana") as client:
        yield watched(client)


@pytest.fixture
def viewer(guarded: Running) -> Iterator[httpx.Client]:
    """A viewer's."""
    with guarded.client(VIEWER) as client:
        yield watched(client)


def watched(client: httpx.Client) -> httpx.Client:
    """Have every answer looked through for write keys, headers included."""

    def look(answer: httpx.Response) -> None:
        answer.read()
        for key in (KEY, OTHER):
            assert key not in answer.text + str(answer.headers), answer.url

    client.event_hooks["response"] = [look]
    return client


def words(answer: httpx.Response) -> str:
    """A page's words, one space between them."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", answer.text)).split())


def later(running: Running) -> None:
    """Let the console look at Redis again."""
    running.clock.by += TICK_S + 1


def names(answer: httpx.Response) -> list[str]:
    """The sources of the table, in order."""
    return re.findall(r'<tr data-key="([^"]+)">', answer.text)


def deeds(url: str) -> list[tuple[str, str, str]]:
    """Who did what to what, the newest first."""
    found = within(url, lambda redis, _: read_trail(redis, KEYS))
    return [(one.who, one.what, one.subject) for one in found]


def state(url: str, name: str = "bot") -> str:
    """Whether a source may send."""
    return within(url, lambda redis, _: flow.read_flow(redis, KEYS.of(name))).state


# -- the table --


def test_without_sources_one_can_be_added(operator: httpx.Client, viewer: httpx.Client) -> None:
    """An empty installation leads operators to the form, and tells viewers a command."""
    assert 'href="/sources/-/add"' in operator.get("/sources").text
    assert "pombo sources add bot" in words(viewer.get("/sources"))


def test_sources_in_trouble_come_first(
    operator: httpx.Client, guarded: Running, redis_url: str, sync_redis: Redis
) -> None:
    """The worst first, with why; then the others. Search and state choose among them, and none that fits is told."""
    for name in ("a-well", "b-parked", "c-paused"):
        add(redis_url, name, rate_group="Workspace")
    sync_redis.hset(KEYS.of("b-parked").flow, mapping={"parked": "Segment answered 401: the write key is refused"})
    append(redis_url, stored(redis_url, "c-paused"), b'{"messageId":"m"}')
    within(redis_url, lambda redis, _: flow.pause(redis, KEYS, "c-paused"))
    later(guarded)
    answer = operator.get("/sources")
    assert ["b-parked", "c-paused", "a-well"] == names(answer)
    assert "Segment answered 401: the write key is refused" in words(answer)
    assert ["a-well"] == names(operator.get("/sources?q=WELL"))
    assert 3 == len(names(operator.get("/sources?q=workspace")))
    assert ["b-parked", "c-paused"] == names(operator.get("/sources?state=trouble"))
    assert ["c-paused"] == names(operator.get("/sources/-/live?state=paused"))
    assert "None of 3 sources has “zzz” in its name" in words(operator.get("/sources?q=zzz"))


def test_a_thousand_sources_come_in_pages(
    operator: httpx.Client, guarded: Running, redis_url: str, sync_redis: Redis
) -> None:
    """A page shows fifty, whichever there are, and leads on to the next and back; no answer grows with the sources."""
    sources = [Source(name=f"bot-{number:04}", incarnation="i") for number in range(1000)]
    sync_redis.hset(KEYS.sources, mapping={source.name: source.dump() for source in sources})
    later(guarded)
    first = operator.get("/sources")
    assert (PAGE, "bot-0000") == (len(names(first)), names(first)[0])
    assert "1–50 of 1,000" in words(first)
    second = operator.get(unescape(re.findall(r'href="([^"]+)" rel="next"', first.text)[0]))
    assert "bot-0050" == names(second)[0]
    assert ["/sources"] == re.findall(r'href="([^"]+)" rel="prev"', second.text)
    assert ["bot-0950", "bot-0999"] == [names(operator.get("/sources?page=20"))[at] for at in (0, -1)]
    assert [] == names(operator.get("/sources?page=99"))
    assert len(first.content) < 200_000


# -- adding --


def test_a_source_is_added_and_its_intake_key_shown_once(operator: httpx.Client, redis_url: str) -> None:
    """The page after the form has the intake key, which works; no later page has it, and none ever the write key."""
    form = usual() | {"name": "bot", "write_key": KEY, "partitions": "2", "rate": "500", "retention_s": "30d"}
    answer = send(operator, "/sources/-/add", **form)
    (intake,) = set(re.findall(rf"{INTAKE_PREFIX}[\w-]+", answer.text))
    assert "bot" == within(redis_url, lambda _, registry: registry.find_by_key(intake))
    assert KEY == within(redis_url, lambda _, registry: registry.write_key("bot"))
    source = stored(redis_url)
    assert (2, 500.0, 2_592_000.0) == (source.partitions, source.rate, source.retention_s)
    for path in ("/sources", "/sources/bot", "/trail", "/"):
        assert INTAKE_PREFIX not in operator.get(path).text
    assert [("Ana", "sources.add", "bot")] == deeds(redis_url)
    assert "no-store" == answer.headers["cache-control"]


def test_a_wrong_form_comes_back_with_its_errors(operator: httpx.Client, redis_url: str) -> None:
    """Each error is at its field, other fields keep what was written; the write key does not come back at all."""
    form = usual() | {"name": "bot", "write_key": f"{KEY} x", "rate": "many", "rate_group": "mine"}
    answer = send(operator, "/sources/-/add", **form)
    assert 422 == answer.status_code
    assert re.search(r'id="rate-error">.*?Rate limit &#39;many&#39; is no number', answer.text)
    assert re.search(r'id="write_key-error">.*?whitespace', answer.text)
    assert 'id="rate_group" name="rate_group" type="text" value="mine"' in answer.text
    assert [] == deeds(redis_url)
    for name, why in (("no spaces", "pattern"), ("bot", "exists already")):
        add(redis_url, "bot") if name == "bot" else None
        answer = send(operator, "/sources/-/add", **(usual() | {"name": name, "write_key": OTHER}))
        assert (422, True) == (answer.status_code, why in re.findall(r'id="name-error">(.*)</p>', answer.text)[0])


def test_blip_is_told_what_to_paste(operator: httpx.Client) -> None:
    """A source that takes Blip's webhook tells its URL and its header."""
    form = usual() | {"name": "bot", "write_key": KEY, "blip": "1", "intake_header": "X-Key"}
    shown_ = words(send(operator, "/sources/-/add", **form))
    assert "/blip/bot" in shown_
    assert "X-Key" in shown_
    assert "phone number" in shown_


# -- one source --


def test_a_source_is_shown(operator: httpx.Client, redis_url: str, sync_redis: Redis) -> None:
    """Its problem with the action beside it, its ledger, its partitions and its settings; a number leads on."""
    add(redis_url, partitions=3, rate=7)
    append(redis_url, stored(redis_url), b'{"messageId":"m1"}', b'{"messageId":"m2"}')
    sync_redis.hset(KEYS.of("bot").flow, mapping={"parked": "Segment answered 401: the write key is refused"})
    answer = operator.get("/sources/bot")
    assert "parked : Segment answered 401: the write key is refused; 2 events wait" in words(answer)
    assert 'href="/sources/bot#key"' in answer.text
    assert "2 accepted = 0 delivered" in words(answer)
    assert ["0", "1", "2"] == re.findall(r'<tr data-key="(\d)">', answer.text)
    assert 'name="rate" type="text" value="7"' in answer.text
    assert 'href="/debugger?source=bot&amp;fate=accepted"' in answer.text
    assert 'href="/workers"' in operator.get("/sources/bot/live").text


def test_an_unknown_source_is_not_found(operator: httpx.Client, redis_url: str) -> None:
    """The names that are close are told."""
    add(redis_url, "support")
    answer = operator.get("/sources/suport")
    assert 404 == answer.status_code
    assert "did you mean 'support'" in words(answer)


def test_what_is_stored_is_text(operator: httpx.Client, guarded: Running, redis_url: str, sync_redis: Redis) -> None:
    """A reason that Segment, or who stands in for it, gave is shown, and run by no browser."""
    add(redis_url)
    sync_redis.hset(KEYS.of("bot").flow, mapping={"parked": "<script>alert(1)</script>\"'><img src=x onerror=y>"})
    sync_redis.set(KEYS.of("bot").lease(0), "<b>worker</b>:1:x")
    later(guarded)
    for path in ("/sources", "/sources/bot", "/sources/bot/live", "/sources/bot/live?part=books"):
        answer = operator.get(path)
        assert [] == re.findall(r"<script>|<img src=x|<b>worker", answer.text)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in operator.get("/sources").text


def test_settings_are_changed(operator: httpx.Client, redis_url: str) -> None:
    """Only what somebody changed is set: what another operator set meanwhile stays."""
    source = add(redis_url, rate=7)
    page = operator.get("/sources/bot").text
    seen = unescape(re.findall(r'name="seen" value="([^"]*)"', page)[0])
    within(redis_url, lambda _, registry: registry.set("bot", rate=99, window_s=100))
    answer = send(operator, "/sources/bot/settings", seen=seen, **(shown(source) | {"backlog_bytes": "5 MiB"}))
    assert "bot: backlog at most changed" in words(answer)
    now = stored(redis_url)
    assert (99.0, 100.0, 5 << 20) == (now.rate, now.window_s, now.backlog_bytes)
    assert [("Ana", "sources.set", "bot")] == deeds(redis_url)
    again = send(operator, "/sources/bot/settings", seen=seen, **shown(source))
    assert "nothing was changed" in words(again)
    assert 1 == len(deeds(redis_url))


def test_settings_that_cannot_be_used_are_refused(operator: httpx.Client, redis_url: str) -> None:
    """The error is at its field, the field has what was written, and nothing was set."""
    source = add(redis_url)
    answer = send(operator, "/sources/bot/settings", seen="{}", **(shown(source) | {"rate": "-3", "burst": "9"}))
    assert 422 == answer.status_code
    assert re.search(r'id="rate-error">.*?greater than or equal to 0', answer.text)
    assert 'name="burst" type="text" value="9"' in answer.text
    assert (source, []) == (stored(redis_url), deeds(redis_url))


def test_pause_and_resume(operator: httpx.Client, redis_url: str, sync_redis: Redis) -> None:
    """As the commands do: a pause stops it, and resuming ends a pause, a park and an open breaker, but no hold."""
    add(redis_url)
    assert "bot is paused" in words(send(operator, "/sources/bot/pause"))
    assert "was paused already" in words(send(operator, "/sources/bot/pause"))
    assert "paused" == state(redis_url)
    assert "bot sends again" in words(send(operator, "/sources/bot/resume"))
    assert "active" == state(redis_url)
    for fields, after in (
        ({"parked": "x"}, "active"),
        ({"broken_at": "1"}, "active"),
        ({"hold_until": 9_999_999_999_999}, "held"),
    ):
        sync_redis.hset(KEYS.of("bot").flow, mapping=fields)  # type: ignore[arg-type]
        send(operator, "/sources/bot/resume")
        assert after == state(redis_url)
    assert {"sources.pause", "sources.resume"} == {what for _, what, _ in deeds(redis_url)}


def test_a_write_key_is_rotated(operator: httpx.Client, redis_url: str, sync_redis: Redis) -> None:
    """The new one counts, and ends a park; one that is none is refused, with no word of it."""
    add(redis_url)
    sync_redis.hset(KEYS.of("bot").flow, mapping={"parked": "Segment answered 401: the write key is refused"})
    answer = send(operator, "/sources/bot/key", write_key=f"{OTHER} {KEY}")
    assert (422, "parked") == (answer.status_code, state(redis_url))
    assert re.search(r'id="write_key-error">.*?whitespace', answer.text)
    assert "bot has a new write key" in words(send(operator, "/sources/bot/key", write_key=OTHER))
    assert OTHER == within(redis_url, lambda _, registry: registry.write_key("bot"))
    assert "active" == state(redis_url)
    assert [("Ana", "sources.rotate-key", "bot")] == deeds(redis_url)
    assert "does not look like a Write Key" in words(send(operator, "/sources/bot/key", write_key="short"))


def test_a_key_of_a_lost_secret_is_replaced_only_by_force(operator: httpx.Client, redis_url: str) -> None:
    """What this console cannot open is told, and left alone until somebody says that the secret is lost."""
    add(redis_url)
    foreign = Secrets(["pbs_another-secret-of-nobody-here"])
    sealed = foreign.encrypt("x")

    async def damage(redis: object, registry: object) -> None:
        stored_ = await redis.hget(KEYS.secrets, "bot")  # type: ignore[attr-defined]
        document = re.sub(rb'"write_key":"[^"]*"', f'"write_key":"{sealed}"'.encode(), stored_)
        await redis.hset(KEYS.secrets, "bot", document)  # type: ignore[attr-defined]

    within(redis_url, damage)
    assert "write key cannot be read" in words(operator.get("/sources/bot"))
    assert 422 == send(operator, "/sources/bot/key", write_key=OTHER).status_code
    assert "new write key" in words(send(operator, "/sources/bot/key", write_key=OTHER, force="1"))
    assert OTHER == within(redis_url, lambda _, registry: registry.write_key("bot"))


def test_an_intake_key_is_rotated(operator: httpx.Client, redis_url: str) -> None:
    """The new one is shown once, and works."""
    add(redis_url)
    answer = send(operator, "/sources/bot/intake")
    (intake,) = set(re.findall(rf"{INTAKE_PREFIX}[\w-]+", answer.text))
    assert "bot" == within(redis_url, lambda _, registry: registry.find_by_key(intake))
    assert INTAKE_PREFIX not in operator.get("/sources/bot").text


def test_a_test_event_says_what_stands_in_its_way(operator: httpx.Client, redis_url: str) -> None:
    """It is sent as a bot sends, and of a paused source the obstacle is known at once."""
    add(redis_url)
    within(redis_url, lambda redis, _: flow.pause(redis, KEYS, "bot"))
    told = words(send(operator, "/sources/bot/test"))
    assert "Accepted by Redis after" in told
    assert "Not delivered yet" in told
    assert "The source is paused" in told
    assert [("Ana", "sources.test", "bot")] == deeds(redis_url)


def test_a_source_is_removed(operator: httpx.Client, redis_url: str) -> None:
    """Its name has to be typed; one that holds events stays, unless they are to go too."""
    append(redis_url, add(redis_url), b'{"messageId":"m"}')
    wrong = send(operator, "/sources/bot/remove", confirm="bit", discard="1")
    assert (422, True) == (wrong.status_code, "type bot to confirm" in words(wrong))
    full = send(operator, "/sources/bot/remove", confirm="bot")
    assert (422, True) == (full.status_code, "holds events: 1 queued" in words(full))
    assert "bot was removed" in words(send(operator, "/sources/bot/remove", confirm="bot", discard="1"))
    assert 404 == operator.get("/sources/bot").status_code
    assert [("Ana", "sources.remove", "bot")] == deeds(redis_url)


def test_a_forms_address_leads_back(operator: httpx.Client, redis_url: str) -> None:
    """Who loads the address of a form that came back with errors sees the source."""
    add(redis_url)
    for form in ("settings", "key", "intake", "remove"):
        assert "/sources/bot" == operator.get(f"/sources/bot/{form}").headers["location"]


# -- who may what --

ACTS = ("-/add", "bot/pause", "bot/resume", "bot/settings", "bot/key", "bot/intake", "bot/test", "bot/remove")


@pytest.mark.parametrize("act", ACTS)
def test_viewers_change_nothing(viewer: httpx.Client, redis_url: str, act: str) -> None:
    """Every action is refused to a viewer, and to whoever brings no token of the session."""
    source = add(redis_url)
    fields = shown(source) | {"name": "new", "write_key": OTHER, "confirm": "bot", "discard": "1", "rate": "1"}
    assert 403 == send(viewer, f"/sources/{act}", **fields).status_code
    assert (source, "active", []) == (stored(redis_url), state(redis_url), deeds(redis_url))


@pytest.mark.parametrize("act", ACTS)
def test_forged_forms_change_nothing(operator: httpx.Client, redis_url: str, act: str) -> None:
    """Without the session's token nothing happens, operator or not."""
    source = add(redis_url)
    answer = operator.post(f"/sources/{act}", data={"csrf": "forged", "confirm": "bot", "discard": "1", "name": "new"})
    assert 403 == answer.status_code
    assert (source, "active", []) == (stored(redis_url), state(redis_url), deeds(redis_url))


def test_viewers_are_offered_nothing(viewer: httpx.Client, redis_url: str) -> None:
    """A viewer sees the settings, and no form but the search; the form of a new source is an operator's."""
    add(redis_url, rate=7)
    page = viewer.get("/sources/bot").text
    assert ["/logout"] == re.findall(r'method="post" action="([^"]+)"', page)
    assert "Rate limit 7" in words(httpx.Response(200, text=page))
    assert 403 == viewer.get("/sources/-/add").status_code


def test_while_redis_is_away_the_last_figures_are_shown() -> None:
    """The pages say so, show what was known last, and change nothing; what was never seen is an error."""
    with (
        scratch() as folder,
        server_running(folder) as server,
        console(url := f"redis://127.0.0.1:{server.port}") as running,
    ):
        add(url)
        with running.client() as client:
            assert "bot" in words(client.get("/sources"))
            token = token_of(client.get("/sources").text)
            server.kill()
            later(running)
            for path in ("/sources", "/sources/bot"):
                answer = client.get(path)
                assert 200 == answer.status_code
                assert "these figures are older" in words(answer)
            assert 503 == client.post("/sources/bot/pause", data={"csrf": token}).status_code
            assert 503 == client.get("/sources/other").status_code
            server.restart()
            until(lambda: client.get("/sources/other").status_code == 404, "an answer when it is back")


def test_what_was_done_is_seen_at_once(operator: httpx.Client, redis_url: str) -> None:
    """A source that was just added is everywhere, its charts included, and one that was removed nowhere."""
    assert [] == names(operator.get("/sources"))
    send(operator, "/sources/-/add", **(usual() | {"name": "bot", "write_key": KEY}))
    assert ["bot"] == names(operator.get("/sources"))
    add(redis_url, "other", OTHER)
    assert [200, 404] == [operator.get(f"/overview/history?source={name}").status_code for name in ("other", "nobody")]
    send(operator, "/sources/bot/remove", confirm="bot")
    assert ["other"] == names(operator.get("/sources"))
