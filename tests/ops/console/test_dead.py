"""The list of dead letters: groups, filters, pages, and what is done with many."""

import re
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from ops.console.letterbox import KEYS, add, ago, dead, deeds, in_redis, letter, post, put, queued
from ops.console.rig import OPERATOR, Running, console
from pombo.shared.deadletters.rebuild import Draft
from support.jobs import do_jobs
from support.letters import put_old_quickly

SCRIPT = '"><script>alert(1)</script>'


@pytest.fixture(autouse=True)
def environment(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What jobs that are done here find."""
    monkeypatch.setenv("POMBO_REDIS_URL", redis_url)
    monkeypatch.setenv("POMBO_EXPORT_DIR", str(tmp_path))
    monkeypatch.setenv("POMBO_LOG_LEVEL", "error")


def listed(answer: httpx.Response) -> list[str]:
    """The messageIds of the letters on a page, in their order."""
    rows = answer.text.partition('aria-label="Table of letters"')[2]
    return re.findall(r'<td class="long mono small"><span class="clamp" title="([^"]*)"', rows)


def confirmed(answer: httpx.Response, name: str) -> str:
    """A figure of the dry run."""
    return answer.text.partition(f"<dt>{name}</dt><dd>")[2].partition("<")[0].strip()


def test_no_page_waits_for_an_index(redis_url: str, ana: httpx.Client, sync_redis: Redis) -> None:
    """While it is made, pages say how far it is, list what they can, and move nothing that nobody has counted."""
    add(redis_url, "bot")
    in_redis(redis_url, lambda redis: put_old_quickly(redis, KEYS, *(letter(f"m{n:04}") for n in range(2500))))
    draft = in_redis(redis_url, _somebodys_draft)
    shown = ana.get("/dead", params={"reason": "rejected_by_segment"})
    assert "The index of bot’s 2,500 letters is being made: 20 %" in shown.text
    assert ["m2499", "m2498"] == listed(shown)[:2]
    assert "counted when the index is made" in ana.get("/dead/-/count").text
    asked = ana.get("/dead/-/confirm", params={"action": "discard", "all": "1"}).text
    assert "The index that tells how many these are is being made: 20%" in asked
    done = post(ana, "/dead/-/act", {"action": "discard", "all": "1"})
    assert (422, 2500) == (done.status_code, sync_redis.xlen(KEYS.of("bot").dead))
    assert "HX-Refresh" not in ana.get("/dead/-/making").headers
    in_redis(redis_url, lambda redis: _finish(redis, draft))
    assert "true" == ana.get("/dead/-/making").headers["HX-Refresh"]
    shown = ana.get("/dead")
    assert ("being made" in shown.text, "Died alike" in shown.text) == (False, True)
    assert "2,500 letters" in ana.get("/dead/-/count").text


async def _somebodys_draft(redis: AsyncRedis) -> Draft:
    draft = Draft(redis, KEYS.of("bot"), "n" * 32)
    assert await draft.begin()
    assert 500 == await draft.step()
    return draft


async def _finish(redis: AsyncRedis, draft: Draft) -> None:
    draft._redis = redis
    await draft.read()
    assert await draft.swap()


def test_no_letters_are_good_news(redis_url: str, ana: httpx.Client) -> None:
    """The page says so."""
    add(redis_url, "bot")
    assert "No dead letters" in ana.get("/dead").text


def test_the_newest_letter_is_first_whatever_its_source(redis_url: str, ana: httpx.Client) -> None:
    """Sources are one list, by the time of death."""
    add(redis_url, "bot", "shop")
    died: dict[str, str] = {}
    for number in range(6):
        (letter_id,) = put(redis_url, letter(f"m{number}"), source="bot" if number % 2 else "shop")
        died[f"m{number}"] = letter_id.partition("/")[2].partition("-")[0]
    shown = listed(ana.get("/dead"))
    # Two may die in the same millisecond, as each source numbers its own.
    assert sorted(died.values(), reverse=True) == [died[message_id] for message_id in shown]
    assert died.keys() == set(shown)


def test_pages_follow_each_other_without_gap_or_repeat(redis_url: str, ana: httpx.Client) -> None:
    """Cursors lead through the letters of several sources, also those that died in the same millisecond."""
    add(redis_url, "bot", "shop")
    for source in ("bot", "shop"):
        put(redis_url, *(letter(f"{source}{number:03}") for number in range(70)), source=source)
    found: list[str] = []
    page = ana.get("/dead")
    while True:
        found += listed(page)
        following = page.text.partition('rel="next"')[0].rpartition('href="')[2].partition('"')[0]
        if 'rel="next"' not in page.text:
            break
        page = ana.get(following.replace("&amp;", "&"))
    assert sorted(f"{source}{number:03}" for source in ("bot", "shop") for number in range(70)) == sorted(found)


def test_those_that_died_alike_are_a_group(redis_url: str, ana: httpx.Client) -> None:
    """The largest group is first, with its answer, and leads to its letters alone."""
    add(redis_url, "bot")
    put(redis_url, *(letter(f"a{n}", status=400, answer=f'{{"message":"bad item {n}"}}') for n in range(3)))
    put(redis_url, letter("b1", "poison", status=500, answer="upstream"))
    page = ana.get("/dead").text
    groups = page.partition('aria-label="Table of groups"')[2].partition("</table>")[0]
    assert groups.index("message: bad item #") < groups.index("upstream")
    link = groups.partition('<a class="strong" href="')[2].partition('"')[0].replace("&amp;", "&")
    assert ["a2", "a1", "a0"] == listed(ana.get(link))


@pytest.mark.parametrize(("reason", "act"), [("rejected_by_segment", "Redrive…"), ("invalid", "Edit…")])
def test_a_group_offers_what_helps(redis_url: str, ana: httpx.Client, reason: str, act: str) -> None:
    """What Segment may take the next time can be redriven; what it never would has to be edited."""
    add(redis_url, "bot")
    put(redis_url, letter("m1", reason))
    groups = ana.get("/dead").text.partition('aria-label="Table of groups"')[2].partition("</table>")[0]
    assert [act] == re.findall(r"\w+…(?=</a>)", groups)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("reason=poison", ["m2"]), ("event=Order", ["m1"]), ("user=u2", ["m2"]), ("message_id=m0", ["m0"]),
        ("since=1h", ["m2", "m1", "m0"]), ("until=2020-01-01", []), ("source=bot&reason=poison", ["m2"]),
        ("source=shop", []), ("user=u2&event=Order", []),
    ],
)  # fmt: skip
def test_filters_choose(redis_url: str, ana: httpx.Client, query: str, found: list[str]) -> None:
    """Each part of the filter, alone and with others; it stays in the fields."""
    add(redis_url, "bot", "shop")
    put(redis_url, letter("m0"), letter("m1", event="Order"), letter("m2", "poison", user="u2"))
    page = ana.get(f"/dead?{query}", follow_redirects=True)
    assert (200, found) == (page.status_code, listed(page))
    assert "user" not in page.url.params
    name, _, value = query.partition("&")[0].partition("=")
    assert f'name="{name}"' in page.text
    assert f'value="{value}"' in page.text


def test_a_filter_by_person_is_sent_beside_the_address(redis_url: str, vic: httpx.Client) -> None:
    """The form posts it, viewers' too, and leads to an address that does not name whom; nor does a link on the page."""
    add(redis_url, "bot")
    put(redis_url, *(letter(f"m{number:02}", user="maria@example.com") for number in range(60)))
    asked = post(vic, "/dead/-/find", {"user": "maria@example.com", "source": "bot"})
    assert 303 == asked.status_code
    page = vic.get(asked.headers["location"])
    assert 50 == len(listed(page))
    links = re.findall(r'(?:href|hx-get|action)="([^"]*)"', page.text)
    assert any("before=" in link and "who=" in link for link in links)
    assert not [link for link in [asked.headers["location"], *links] if "maria" in link]
    assert "60 letters" in vic.get(next(unescape(link) for link in links if "/dead/-/count" in link)).text


@pytest.mark.parametrize(
    ("query", "words"),
    [("since=lunch", "no moment"), ("reason=boredom", "no such reason"), ("source=nobody", "no source has this name")],
)
def test_a_filter_that_means_nothing_is_explained(redis_url: str, ana: httpx.Client, query: str, words: str) -> None:
    """The field has the words, and no letter is listed."""
    add(redis_url, "bot")
    put(redis_url, letter())
    page = ana.get(f"/dead?{query}")
    assert (422, []) == (page.status_code, listed(page))
    assert words in page.text


def test_matches_are_counted_beside_the_list(redis_url: str, ana: httpx.Client) -> None:
    """How many there are, cannot be redriven, and are older than Segment remembers."""
    add(redis_url, "bot")
    put(redis_url, letter("m1"), letter("m2", accepted_at=ago(hours=25)), letter("m3", "invalid"))
    told = ana.get("/dead/-/count?since=1h").text
    assert "3 letters" in told
    assert "1 cannot be redriven" in told
    assert "1 older than 24 h" in told


def test_hostile_letters_are_text(redis_url: str, ana: httpx.Client) -> None:
    """Events, users, ids and answers that would be markup are shown as what they are."""
    add(redis_url, "bot")
    hostile = letter(SCRIPT, event=SCRIPT, user=SCRIPT, answer=SCRIPT, status=400)
    (letter_id,) = put(redis_url, hostile)
    for path in ("/dead", f"/dead/{letter_id}", "/dead?event=%22%3E%3Cscript%3Ealert(1)%3C/script%3E"):
        page = ana.get(path)
        assert 200 == page.status_code
        assert "<script>alert(1)" not in page.text
        assert "&lt;script&gt;alert(" in page.text
    shown = post(ana, f"/dead/{letter_id}/reveal")
    assert "<script>alert(1)" not in shown.text


def test_a_list_names_no_user(redis_url: str, ana: httpx.Client) -> None:
    """Who they were is not on the page, nor the rest of the event."""
    add(redis_url, "bot")
    put(redis_url, letter(user="maria@example.com"))
    assert "maria" not in ana.get("/dead").text


def test_a_dry_run_says_what_would_be_done(redis_url: str, ana: httpx.Client) -> None:
    """Letters that match, can be redriven, cannot, and are older; in a dialog, and as a page without scripts."""
    add(redis_url, "bot")
    put(redis_url, letter("m1"), letter("m2"), letter("m3", accepted_at=ago(hours=25)), letter("m4", "invalid"))
    for headers in ({}, {"HX-Request": "true"}):
        asked = ana.get("/dead/-/confirm?action=redrive&all=1", headers=headers)
        figures = [confirmed(asked, name) for name in ("Match now", "Can be redriven", "Cannot, and stay")]
        assert ["4", "3", "1"] == figures
        assert "1" == confirmed(asked, "Of these older than 24 h")
        assert "Redrive 2 dead letters?" in asked.text
        assert ("<html" in asked.text) == (not headers)


def test_a_redrive_becomes_a_job(redis_url: str, sync_redis: Redis, ana: httpx.Client) -> None:
    """One that says who wanted it, moves what matches and no more, and is in the trail."""
    add(redis_url, "bot")
    put(redis_url, letter("m1"), letter("m2", "poison"), letter("m3", accepted_at=ago(hours=25)))
    form = {"action": "redrive", "all": "1", "reason": "rejected_by_segment", "rate": "100"}
    answer = post(ana, "/dead/-/act", form)
    assert 303 == answer.status_code
    job = ana.get(answer.headers["location"]).text
    assert "Redrive of bot" in job
    assert "ana" in job
    assert "at most 100 a second" not in job
    do_jobs(sync_redis)
    assert (2, 1) == (dead(sync_redis), queued(sync_redis))
    assert "1 dead letter redriven; 1 left, as they were accepted" in ana.get(answer.headers["location"]).text
    assert [("ana", "dead.redrive", "bot")] == deeds(sync_redis)


def test_older_ones_go_when_the_box_is_ticked(redis_url: str, sync_redis: Redis, ana: httpx.Client) -> None:
    """Without it nothing is left to do, and the dialog says what to do about that."""
    add(redis_url, "bot")
    put(redis_url, letter("m1", accepted_at=ago(hours=25)))
    refused = post(ana, "/dead/-/act", {"action": "redrive", "all": "1"})
    assert 422 == refused.status_code
    assert "tick the box" in refused.text
    assert 303 == post(ana, "/dead/-/act", {"action": "redrive", "all": "1", "older": "1"}).status_code
    do_jobs(sync_redis)
    assert (0, 1) == (dead(sync_redis), queued(sync_redis))


def test_ticked_letters_alone_are_moved(redis_url: str, sync_redis: Redis, ana: httpx.Client) -> None:
    """Of several sources, a job each; the others stay."""
    add(redis_url, "bot", "shop")
    ids = put(redis_url, letter("m1"), letter("m2")) + put(redis_url, letter("m3"), source="shop")
    answer = post(ana, "/dead/-/act", {"action": "discard", "ids": [ids[0], ids[2]]})
    assert (303, "/jobs") == (answer.status_code, answer.headers["location"])
    do_jobs(sync_redis)
    assert (1, 0) == (dead(sync_redis), dead(sync_redis, "shop"))
    assert ["m2"] == listed(ana.get("/dead"))


def test_letters_that_die_after_the_question_stay(redis_url: str, sync_redis: Redis, ana: httpx.Client) -> None:
    """What was not counted is not discarded, though it matches."""
    add(redis_url, "bot")
    put(redis_url, letter("m1"))
    post(ana, "/dead/-/act", {"action": "discard", "all": "1"})
    put(redis_url, letter("m2"))
    do_jobs(sync_redis)
    assert ["m2"] == listed(ana.get("/dead"))


def test_an_export_becomes_a_file(redis_url: str, sync_redis: Redis, ana: httpx.Client, tmp_path: Path) -> None:
    """And takes the letters away if that was asked for."""
    add(redis_url, "bot")
    put(redis_url, letter("m1"), letter("m2"))
    post(ana, "/dead/-/act", {"action": "export", "all": "1", "discards": "1"})
    do_jobs(sync_redis)
    (file,) = tmp_path.glob("*.ndjson")
    assert (2, 0) == (file.read_bytes().count(b"\n"), dead(sync_redis))


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"action": "redrive"}, "tick some letters"), ({"action": "erase", "all": "1"}, "choose redrive"),
        ({"action": "redrive", "all": "1", "rate": "fast"}, "is no rate"),
        ({"action": "redrive", "all": "1", "rate": "-1"}, "a rate of -1"),
        ({"action": "redrive", "all": "1", "since": "lunch"}, "no moment"),
        ({"action": "discard", "all": "1", "event": "None"}, "No letter matches"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused(
    redis_url: str, sync_redis: Redis, ana: httpx.Client, form: dict[str, Any], words: str
) -> None:
    """With words, and without a job."""
    add(redis_url, "bot")
    put(redis_url, letter())
    answer = post(ana, "/dead/-/act", form)
    assert answer.status_code in {400, 422}
    assert words.casefold() in answer.text.replace("&#39;", "'").casefold()
    assert "No jobs" in ana.get("/jobs").text


def test_viewers_look_and_change_nothing(redis_url: str, sync_redis: Redis, vic: httpx.Client) -> None:
    """They see the list without ticks and buttons; acts are refused, and so are dry runs."""
    add(redis_url, "bot")
    put(redis_url, letter("m1"))
    page = vic.get("/dead")
    assert ["m1"] == listed(page)
    assert "Redrive…" not in page.text
    assert 'type="checkbox"' not in page.text
    assert 403 == post(vic, "/dead/-/act", {"action": "discard", "all": "1"}).status_code
    assert 403 == vic.get("/dead/-/confirm?action=discard&all=1").status_code
    assert 1 == dead(sync_redis)


def test_an_act_needs_the_token_of_the_session(redis_url: str, sync_redis: Redis, ana: httpx.Client) -> None:
    """A forged form, and another session's token, do nothing."""
    add(redis_url, "bot")
    put(redis_url, letter())
    form = {"action": "discard", "all": "1"}
    assert 403 == ana.post("/dead/-/act", data=form).status_code
    assert 403 == ana.post("/dead/-/act", data=form, headers={"X-CSRF-Token": "made-up"}).status_code
    assert "No jobs" in ana.get("/jobs").text


def test_strangers_see_nothing(redis_url: str, guarded: Running) -> None:
    """Neither list nor letter: they are led to the login."""
    add(redis_url, "bot")
    (letter_id,) = put(redis_url, letter())
    with guarded.client() as stranger:
        for path in ("/dead", f"/dead/{letter_id}", "/dead/-/files", "/jobs"):
            answer = stranger.get(path)
            assert (303, True) == (answer.status_code, answer.headers["location"].startswith("/login"))


def test_redis_away_is_told_with_what_to_do(tmp_path: Path) -> None:
    """Every page says so, as a page for people and a line for htmx."""
    with console("redis://127.0.0.1:1/0", console_token=OPERATOR) as running, running.client(OPERATOR) as ana:
        for path in ("/dead", "/dead/-/count", "/dead/bot/1-0", "/dead/-/files"):
            for headers in ({}, {"HX-Request": "true"}):
                answer = ana.get(path, headers=headers)
                assert 503 == answer.status_code
                assert "no Redis answers at redis://127.0.0.1:1/0" in answer.text.replace("No Redis", "no Redis")
                assert ("<html" in answer.text) == (not headers)
