"""The pages of the shell over a real server: verdict, figures, workers, trail, charts, and Redis away."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from html import unescape
from typing import Any, TypeVar

import httpx
import orjson
import pytest
from redis import Redis

from ops.console.rig import HTML, Running, console, token_of
from pombo.ops.console.pages.overview import MOST_PROBLEMS, PROBLEMS, ROWS
from pombo.ops.console.poller import TICK_S
from pombo.shared import trail
from pombo.shared.connection import aconnect
from pombo.shared.keys import Keys
from pombo.shared.registry import Registry
from pombo.shared.secrets import Secrets
from support.programs import SECRET
from support.servers import Server, scratch
from support.servers import running as server_running
from support.waiting import until

KEYS = Keys()
WRITE_KEY = "w" * 32
T = TypeVar("T")


def within(url: str, work: Callable[[Any], Awaitable[T]]) -> T:
    """Do something with an asyncio client."""

    async def run() -> T:
        client = aconnect(url)
        try:
            return await work(client)
        finally:
            await client.aclose()

    return asyncio.run(run())


def add(url: str, *names: str) -> None:
    """Register sources."""

    async def work(redis: Any) -> None:
        for name in names:
            await Registry(redis, KEYS, Secrets([SECRET])).add(name, WRITE_KEY)

    within(url, work)


def beat(redis: Redis, worker: str = "host-1-abc", **told: Any) -> None:
    """Have a worker tell of itself; it lives for an hour."""
    second = redis.time()[0] + 3600
    usual = {"v": 1, "beat": 5, "at": second, "host": "host", "pid": 1, "partitions": 8, "version": "0.1.0"}
    redis.hset(KEYS.workers, worker, orjson.dumps(usual | told))


def text(client: httpx.Client, path: str) -> str:
    """A page's words, one space between them."""
    answer = client.get(path)
    assert 200 == answer.status_code, answer.text
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", answer.text)).split())


@pytest.fixture
def page(local: Running) -> Iterator[httpx.Client]:
    """A client of the open console, over an empty server."""
    with local.client() as client:
        yield client


def test_an_empty_installation_says_how_to_begin(page: httpx.Client) -> None:
    """No source, no worker: what to type for each."""
    shown = text(page, "/")
    assert "The installation needs you" in shown
    assert "no worker lives : what is accepted will wait" in shown
    assert "There is no source yet" in shown
    assert "pombo sources add bot --write-key -" in shown


@pytest.mark.usefixtures("kept")
def test_a_parked_source_is_the_first_thing_to_see(
    page: httpx.Client, local: Running, redis_url: str, sync_redis: Redis
) -> None:
    """The verdict counts it, and says why, since when, what waits and what ends it."""
    add(redis_url, "bot", "shop")
    beat(sync_redis)
    flow = KEYS.of("bot").flow
    sync_redis.hset(
        flow, mapping={"parked": "Segment answered 401: the write key is refused; `pombo sources rotate-key`"}
    )
    sync_redis.hset(KEYS.of("bot").ledger, mapping={"accepted": 7, "queued": 7})
    shown = text(page, "/")
    assert "1 source needs you 2 sources, 1 worker" in shown
    assert "bot — parked : Segment answered 401: the write key is refused; 7 events wait" in shown
    assert "pombo sources rotate-key bot --write-key -" in page.get("/").text


@pytest.mark.usefixtures("kept")
def test_very_many_sources_stay_one_page(page: httpx.Client, local: Running, redis_url: str, sync_redis: Redis) -> None:
    """The worst are shown, the others a click away; the verdict counts all."""
    names = [f"bot{number:02}" for number in range(ROWS + 5)]
    add(redis_url, *names)
    beat(sync_redis)
    shown = text(page, "/")
    assert "And 5 more, all well" in shown
    assert f"All {ROWS + 5} sources" in shown
    for name in names:
        sync_redis.hset(KEYS.of(name).flow, mapping={"parked": "why"})
    local.clock.by += TICK_S
    shown = text(page, "/")
    assert f"{ROWS + 5} sources need you" in shown
    assert f"{ROWS + 5 - PROBLEMS} more" in shown
    assert f"And {ROWS + 5 - MOST_PROBLEMS} more: all sources in trouble" in shown
    assert "And 5 more, 5 of them in trouble" in shown


def test_what_needs_somebody_comes_first(page: httpx.Client, local: Running, redis_url: str, sync_redis: Redis) -> None:
    """However busy the others are: the parked, then those of whose dead letters one should know, then the busiest."""
    add(redis_url, "a_quiet", "b_busy", "c_dead", "d_parked")
    beat(sync_redis)
    sync_redis.hset(KEYS.of("b_busy").ledger, mapping={"accepted": 50, "queued": 50})
    sync_redis.hset(KEYS.of("c_dead").ledger, mapping={"accepted": 1, "dead": 1, "dead:invalid": 1})
    sync_redis.hset(KEYS.of("d_parked").flow, mapping={"parked": "why"})
    rows = re.findall(r'<tr data-key="(\w+)">', page.get("/").text)
    assert ["d_parked", "c_dead", "b_busy", "a_quiet"] == rows


def test_a_tick_does_not_grow_with_the_installation(page: httpx.Client, redis_url: str, sync_redis: Redis) -> None:
    """Hundreds of sources with the longest names, all of them parked, with dead letters and a long reason: 60 kB."""
    names = [f"{number:03}{'x' * 61}" for number in range(150)]
    add(redis_url, *names)
    beat(sync_redis)
    for name in names:
        sync_redis.hset(KEYS.of(name).flow, mapping={"parked": "Segment answered 401: it does not know the write key"})
        sync_redis.hset(KEYS.of(name).ledger, mapping={"accepted": 9**9, "dead": 9**9, "dead:invalid": 9**9})
    assert 60_000 > len(page.get("/overview/live").content)


def test_the_ledger_is_an_equation(page: httpx.Client, redis_url: str, sync_redis: Redis) -> None:
    """What was accepted is the sum of what became of it, and it is told when it is not."""
    add(redis_url, "bot")
    counts: dict[Any, int] = {"accepted": 12_345, "delivered": 12_000, "deduplicated": 300, "dead": 40, "queued": 5}
    sync_redis.hset(KEYS.of("bot").ledger, mapping=counts)
    shown = text(page, "/")
    assert "Ledger balances Whatever was accepted" in shown
    assert (
        "12,345 accepted = 12,000 delivered + 300 deduplicated + 40 dead + 0 discarded + 0 erased + 5 queued" in shown
    )


def test_an_unbalanced_ledger_is_told(page: httpx.Client, redis_url: str, sync_redis: Redis) -> None:
    """An event without a trace makes the installation unwell."""
    add(redis_url, "bot")
    sync_redis.hset(KEYS.of("bot").ledger, mapping={"accepted": 2, "delivered": 1})
    shown = text(page, "/")
    assert "Ledger does not balance" in shown
    assert "bot — unbalanced : the ledger does not balance: 2 accepted" in shown


def test_reasons_cannot_write_into_a_page(page: httpx.Client, redis_url: str, sync_redis: Redis) -> None:
    """What Segment, a worker or a user said is text, wherever it appears."""
    add(redis_url, "bot")
    evil = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'"
    sync_redis.hset(KEYS.of("bot").flow, mapping={"parked": evil})
    beat(sync_redis, host=evil, version=evil, started=evil)
    told: dict[str, Any] = {"who": evil, "what": evil, "subject": evil, "detail": {evil: evil}}
    within(redis_url, lambda redis: trail.note(redis, KEYS, role="shell", **told))
    for path in ("/", "/overview/live", "/workers", "/trail", "/trail?q=script"):
        shown = page.get(path).text
        assert "&lt;script&gt;alert(1)" in shown, path
        assert "<script>alert" not in shown, path
        assert "<img src=x" not in shown, path


def test_workers_tell_of_themselves(page: httpx.Client, sync_redis: Redis) -> None:
    """Partitions, events in flight, memory, takeovers; the silent first."""
    beat(sync_redis, in_flight=12, memory=52_000_000, takeovers=3, started="2026-01-02T03:04:05+00:00")
    beat(sync_redis, "gone-2-def", host="gone", at=1)
    shown = text(page, "/workers")
    assert shown.index("gone pid 1 silent") < shown.index("host pid 1 alive 8 12 52.0 MB 3 0.1.0")


def test_a_worker_of_an_older_pombo_is_shown(page: httpx.Client, sync_redis: Redis) -> None:
    """What it does not tell is a dash."""
    beat(sync_redis)
    assert "host pid 1 alive 8 – – – 0.1.0 –" in text(page, "/workers")


def test_partitions_that_nobody_holds_are_told(page: httpx.Client, redis_url: str, sync_redis: Redis) -> None:
    """By source: how many there are, how many hold events, and whose they are."""
    add(redis_url, "bot")
    beat(sync_redis)
    of = KEYS.of("bot")
    sync_redis.hset(of.ledger, mapping={"accepted": 3, "queued": 3})
    for partition, owner in enumerate(("host-1-abc", "host-1-abc", "gone")):
        sync_redis.xadd(of.stream(partition), {"b": "x"})
        sync_redis.set(of.lease(partition), f"{owner}:1")
    shown = text(page, "/workers")
    assert "bot 8 3 1 1" in shown
    assert "Nobody holds 1 partitions with events" in shown


def test_without_workers_the_page_says_what_to_start(page: httpx.Client) -> None:
    """An empty table helps nobody."""
    assert "No worker lives" in text(page, "/workers")


def test_the_trail_pages_from_the_newest_on(page: httpx.Client, redis_url: str) -> None:
    """Fifty deeds a page, a link to the older ones, and back."""

    async def note(redis: Any) -> None:
        for number in range(60):
            told: dict[str, Any] = {"what": "sources.pause", "subject": f"bot{number}", "detail": {"n": number}}
            await trail.note(redis, KEYS, who="ana", role="operator", **told)

    within(redis_url, note)
    first = page.get("/trail").text
    following = re.search(r'href="(/trail\?before=[^"]+)"', first)
    assert following
    second = page.get(unescape(following[1])).text
    assert ("bot59" in first, "bot10" in first, "bot9<" in first) == (True, True, False)
    assert ("bot9<" in second, "bot0<" in second, 'href="/trail"' in second) == (True, True, True)
    assert 'rel="next"' not in second


def test_the_trail_can_be_searched(page: httpx.Client, redis_url: str) -> None:
    """By who, what or subject, in any case of letters; what does not fit is said."""

    async def note(redis: Any) -> None:
        await trail.note(redis, KEYS, who="Ana", role="operator", what="sources.pause", subject="bot")
        await trail.note(redis, KEYS, who="bea@host", role="shell", what="dead.redrive", subject="shop")

    within(redis_url, note)
    assert ("bea@host" in text(page, "/trail?q=REDRIVE"), "Ana" in text(page, "/trail?q=REDRIVE")) == (True, False)
    assert "Nothing fits" in text(page, "/trail?q=nobody")
    assert "Nothing was done yet" not in text(page, "/trail")


def test_an_empty_trail_says_so(page: httpx.Client) -> None:
    """Nothing was done yet."""
    assert "Nothing was done yet" in text(page, "/trail")


@pytest.mark.parametrize(("span", "slots", "width"), [("15m", 90, 10), ("24h", 288, 300), ("odd", 90, 10)])
def test_charts_are_evenly_spaced(page: httpx.Client, redis_url: str, span: str, slots: int, width: int) -> None:
    """A list a line, all as long as the moments; of all sources, or of one."""
    add(redis_url, "bot")
    for query in (f"span={span}", f"span={span}&source=bot"):
        told = page.get(f"/overview/history?{query}").json()
        assert (slots, width) == (len(told["at"]), told["width_s"])
        assert {slots} == {len(told[name]) for name in ("accepted", "delivered", "dead", "queued", "p50", "p99")}
    assert 404 == page.get("/overview/history?source=nobody").status_code


def test_while_no_worker_lives_the_console_takes_the_samples(
    page: httpx.Client, redis_url: str, sync_redis: Redis
) -> None:
    """A backlog that grows at night is on the chart in the morning; with a living worker it is that one's task."""
    add(redis_url, "bot")
    page.get("/")
    assert 0 < sync_redis.llen(KEYS.of("bot").history)


def test_a_living_worker_takes_the_samples_itself(page: httpx.Client, redis_url: str, sync_redis: Redis) -> None:
    """The console leaves it to that one."""
    add(redis_url, "bot")
    beat(sync_redis)
    page.get("/")
    assert 0 == sync_redis.llen(KEYS.of("bot").history)


def test_pages_say_that_redis_is_away_and_recover() -> None:
    """Not one page fails; the verdict says since when; when it is back, nobody has to restart anything."""
    with (
        scratch() as folder,
        server_running(folder / "s") as server,
        console(f"redis://127.0.0.1:{server.port}/0") as running,
        running.client() as client,
    ):
        beat_of(server)
        assert "All well" in text(client, "/")
        server.kill()
        running.clock.by += TICK_S
        shown = text(client, "/")
        assert "The installation needs you Figures are of" in shown
        assert re.search(r"Redis is away : last heard \S+ m?s ago: no Redis answers at redis://127.0.0.1", shown)
        assert "no Redis answers" in text(client, "/workers")
        answer = client.get("/trail?q=ana")
        assert (503, ["/trail?q=ana"]) == (answer.status_code, again(answer))
        sent = {"csrf": token_of(client.get("/").text)}
        for came, expected in (("/sources/bot?a=1", "/sources/bot?a=1"), ("//evil.example/x", "/evil.example/x")):
            answer = client.post("/sources/bot/pause", data=sent, headers={"Referer": f"{running.url}{came}"})
            assert (503, [expected]) == (answer.status_code, again(answer))
        answer = client.post("/sources/bot/pause", data=sent, headers={"Referer": "http://evil.example/x"})
        assert (503, ["/"]) == (answer.status_code, again(answer))
        told = client.get("/healthz").json()
        assert (True, True) == (told["ok"], "away_since" in told["redis"])
        assert "pombo_redis_up 0.0" in client.get("/metrics").text
        server.restart()
        beat_of(server)
        running.clock.by += TICK_S
        assert "All well" in text(client, "/")
        assert 200 == client.get("/trail").status_code


def again(answer: httpx.Response) -> list[str]:
    """Where an error's page leads to try again: a page, not the address that a form was sent to."""
    return re.findall(r'href="([^"]*)">Try again', answer.text)


def beat_of(server: Server) -> None:
    with server.client() as redis:
        beat(redis)


def test_a_console_that_starts_before_redis_serves() -> None:
    """It shows that, and what it is when it comes."""
    with scratch() as folder, server_running(folder / "s") as server:
        server.kill()
        with console(f"redis://127.0.0.1:{server.port}/0") as running, running.client() as client:
            assert "Redis never answered" in text(client, "/")
            assert "Accepted" not in text(client, "/")
            server.restart()
            running.clock.by += TICK_S
            until(lambda: "Redis never answered" not in text(client, "/"), "Redis on the page")


def test_an_unknown_page_is_told(page: httpx.Client) -> None:
    """In the console's own frame for people, in a line for programs."""
    assert "There is no such page" in page.get("/nowhere").text
    assert "there is no such page\n" == page.get("/nowhere", headers={"Accept": "*/*"}).text
    assert 405 == page.get("/logout", headers=HTML).status_code
