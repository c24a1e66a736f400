"""One dead letter: masks, attempts, edits, and where it went."""

from typing import Any

import httpx
import orjson
import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from ops.console.letterbox import KEYS, add, ago, dead, deeds, in_redis, letter, post, put, queued
from ops.console.rig import OPERATOR, VIEWER, Running
from pombo.shared.deadletters import LetterHeader
from support import letters

PRIVATE = ("maria@example.com", "123.456.789-09", "41 Rua das Flores", "5511987654321")


def private() -> letters.Stored:
    """A letter full of what is nobody's business; Segment's answers repeat some of it."""
    mail, number, street, phone = PRIVATE
    attempt = {"at": ago(minutes=2), "status": 400, "outcome": "refused", "duration_s": 0.2, "note": f"bad '{mail}'"}
    head = LetterHeader(
        "rejected_by_segment", 0, ago(minutes=3), 400, f'{{"message":"no such user \\"{mail}\\""}}', 3, [attempt],  # type: ignore[list-item]
    )  # fmt: skip
    told = {"cpf": number, "address": {"street": street}, "total": 12.5, "new": True, "none": None, phone: "x"}
    return head.dump(), letters.body("m1", userId=mail, properties=told), 1


def edit(client: httpx.Client, letter_id: str, event: object, **form: str) -> httpx.Response:
    """Send the form."""
    text = event if isinstance(event, str) else orjson.dumps(event).decode()
    return post(client, f"/dead/{letter_id}/edit", {"event": text, **form}, **{"HX-Request": "true"})


def test_a_letter_says_why_it_died_and_what_to_do(redis_url: str, ana: httpx.Client) -> None:
    """The reason in words, the repair, the attempts, and the event's shape."""
    add(redis_url, "bot")
    (letter_id,) = put(redis_url, private())
    page = ana.get(f"/dead/{letter_id}").text
    for words in (
        "Rejected by Segment", "Mend the event here and redrive it", "3 attempts", "<b>400</b> refused", "in 0.2 s",
        "2 earlier attempts", "no such user", "•••",
    ):  # fmt: skip
        assert words in page


@pytest.mark.parametrize("token", [OPERATOR, VIEWER])
def test_values_are_masked_until_somebody_asks(redis_url: str, guarded: Running, token: str) -> None:
    """Nothing of a person is in the page's bytes: values, Segment's answer and its history."""
    add(redis_url, "bot")
    (letter_id,) = put(redis_url, private())
    with guarded.client(token) as client:
        page = client.get(f"/dead/{letter_id}").text
    assert [] == [secret for secret in PRIVATE if secret in page]
    assert "••• (text, 17)" in page


def test_an_event_nested_too_deep_can_be_seen_and_mended(redis_url: str, sync_redis: Redis, ana: httpx.Client) -> None:
    """JSON is read deeper than it is written: the form has all of it, to be mended."""
    add(redis_url, "bot")
    deep = "[" * 300 + "]" * 300
    event = f'{{"type":"track","event":"E","userId":"u1","messageId":"m1","properties":{{"a":{deep}}}}}'
    (letter_id,) = put(redis_url, (letters.header("invalid", accepted_at=ago(minutes=1)).dump(), event.encode(), 1))
    assert 200 == ana.get(f"/dead/{letter_id}").status_code
    shown = post(ana, f"/dead/{letter_id}/reveal")
    assert (200, True) == (shown.status_code, deep in shown.text)
    assert 422 == edit(ana, letter_id, event).status_code
    mended = {"type": "track", "event": "E", "userId": "u1", "properties": {"a": []}}
    assert 200 == edit(ana, letter_id, mended, preview="1").status_code
    assert "HX-Redirect" in edit(ana, letter_id, mended).headers
    assert 1 == queued(sync_redis)


def test_operators_may_see_values_and_the_trail_knows(redis_url: str, sync_redis: Redis, ana: httpx.Client) -> None:
    """All of it, with the form to edit; one line in the trail, which names the letter."""
    add(redis_url, "bot")
    (letter_id,) = put(redis_url, private())
    page = post(ana, f"/dead/{letter_id}/reveal").text
    assert [*PRIVATE] == [secret for secret in PRIVATE if secret in page]
    assert 'name="event"' in page
    assert [("ana", "dead.reveal", letter_id)] == deeds(sync_redis)


def test_viewers_may_neither_see_values_nor_act(redis_url: str, sync_redis: Redis, vic: httpx.Client) -> None:
    """Each way to is refused; they see the reason."""
    add(redis_url, "bot")
    (letter_id,) = put(redis_url, private())
    for act in ("reveal", "redrive", "edit", "discard"):
        answer = post(vic, f"/dead/{letter_id}/{act}", {"event": "{}", "preview": "1"})
        assert (403, []) == (answer.status_code, [secret for secret in PRIVATE if secret in answer.text])
    assert ([], 1) == (deeds(sync_redis), dead(sync_redis))
    assert "Show values" not in vic.get(f"/dead/{letter_id}").text


@pytest.mark.parametrize("act", ["reveal", "redrive", "edit", "discard"])
def test_acts_need_the_token_of_the_session(redis_url: str, sync_redis: Redis, ana: httpx.Client, act: str) -> None:
    """Forged forms change and show nothing."""
    add(redis_url, "bot")
    (letter_id,) = put(redis_url, private())
    assert 403 == ana.post(f"/dead/{letter_id}/{act}", data={"event": "{}"}).status_code
    assert ([], 1) == (deeds(sync_redis), dead(sync_redis))


def test_a_redriven_letter_goes_back_into_the_queue(redis_url: str, sync_redis: Redis, ana: httpx.Client) -> None:
    """Byte for byte; its page then says who did it and where the event is."""
    add(redis_url, "bot")
    (letter_id,) = put(redis_url, letter("m1"))
    answer = post(ana, f"/dead/{letter_id}/redrive")
    assert (303, f"/dead/{letter_id}?was=m1") == (answer.status_code, answer.headers["location"])
    assert (0, 1) == (dead(sync_redis), queued(sync_redis))
    page = ana.get(answer.headers["location"]).text
    assert "Redriven</b> by ana" in page
    assert "It waits in the queue of bot" in page
    assert [("ana", "dead.redrive", letter_id)] == deeds(sync_redis)


def test_an_older_letter_asks_first(redis_url: str, sync_redis: Redis, ana: httpx.Client) -> None:
    """What Segment may have forgotten is redriven, as it is or edited, only with the box ticked."""
    add(redis_url, "bot")
    first, second = put(redis_url, *(letter(name, accepted_at=ago(hours=25)) for name in ("m1", "m2")))
    post(ana, f"/dead/{first}/redrive")
    refused = edit(ana, second, {"type": "track", "event": "E", "userId": "u1"})
    assert (422, 2) == (refused.status_code, dead(sync_redis))
    assert "tick the box" in refused.text
    post(ana, f"/dead/{first}/redrive", {"older": "1"})
    edit(ana, second, {"type": "track", "event": "E", "userId": "u1"}, older="1")
    assert (0, 2) == (dead(sync_redis), queued(sync_redis))


def test_an_edited_letter_keeps_its_identity(redis_url: str, sync_redis: Redis, ana: httpx.Client) -> None:
    """The event is another, its messageId and timestamp are not; the trail knows what changed, and no values."""
    add(redis_url, "bot")
    (letter_id,) = put(redis_url, letter("m1", "invalid"))
    changed = {"type": "track", "event": "Order Completed", "userId": "u1", "properties": {"total": 41.5}}
    answer = edit(ana, letter_id, changed)
    assert f"/dead/{letter_id}?was=m1" == answer.headers["HX-Redirect"]
    assert (0, 1) == (dead(sync_redis), queued(sync_redis))
    rows: Any = sync_redis.xrange(KEYS.trail)
    ((_, fields),) = rows
    assert b"dead.edit" == fields[b"what"]
    assert {"changed": ["context", "event", "properties"]} == orjson.loads(fields[b"detail"])


def test_a_preview_shows_what_would_change_and_changes_nothing(
    redis_url: str, sync_redis: Redis, ana: httpx.Client
) -> None:
    """Lines that go and come, below the form as it was written."""
    add(redis_url, "bot")
    (letter_id,) = put(redis_url, letter("m1", event="Old"))
    answer = edit(ana, letter_id, {"type": "track", "event": "New", "userId": "u1"}, preview="1")
    assert (200, 1) == (answer.status_code, dead(sync_redis))
    for sign, line in (("-", "Old"), ("+", "New")):
        assert f'<span data-sign="{sign}">{sign}   &#34;event&#34;: &#34;{line}&#34;,' in answer.text
    assert "timestamp&#34;" not in answer.text


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ("{", "this is no JSON"), ("[]", "stands in { }"), ({"type": "track", "userId": "u1"}, "event"),
        ({"type": "dance", "userId": "u1"}, "type"), ({"type": "track", "event": "E"}, "userId"),
        ({"type": "track", "event": "E", "userId": "u", "messageId": "other"}, "messageId must stay"),
        ({"type": "track", "event": "E", "userId": "u", "timestamp": "2020-01-01T00:00:00Z"}, "timestamp must stay"),
    ],
)  # fmt: skip
def test_an_event_that_segment_would_drop_is_refused_by_its_field(
    redis_url: str, sync_redis: Redis, ana: httpx.Client, event: object, words: str
) -> None:
    """The form comes back as it was, with the reason; nothing moved."""
    add(redis_url, "bot")
    (letter_id,) = put(redis_url, letter("m1"))
    answer = edit(ana, letter_id, event)
    assert (422, 1) == (answer.status_code, dead(sync_redis))
    error = answer.text.partition('id="event-error"')[2].partition("</p>")[0]
    assert words in error
    assert 'aria-invalid="true"' in answer.text


def test_a_discarded_letter_is_gone(redis_url: str, sync_redis: Redis, ana: httpx.Client) -> None:
    """For good; its page says who did it."""
    add(redis_url, "bot")
    (letter_id,) = put(redis_url, letter("m1"))
    assert 303 == post(ana, f"/dead/{letter_id}/discard").status_code
    assert (0, 0) == (dead(sync_redis), queued(sync_redis))
    assert "Discarded</b> by ana" in ana.get(f"/dead/{letter_id}").text


def test_who_comes_too_late_does_nothing(redis_url: str, sync_redis: Redis, ana: httpx.Client) -> None:
    """A second redrive of the same letter finds it gone, and says so."""
    add(redis_url, "bot")
    (letter_id,) = put(redis_url, letter("m1"))
    post(ana, f"/dead/{letter_id}/redrive")
    answer = post(ana, f"/dead/{letter_id}/redrive")
    assert f"/dead/{letter_id}" == answer.headers["location"]
    assert "Somebody else was faster" in ana.get(answer.headers["location"]).text
    assert 1 == queued(sync_redis)


@pytest.mark.parametrize("path", ["bot/12-1", "nobody/12-1", "bot/x", "bot/1-1/fate"])
def test_letters_that_never_were_are_not_found(redis_url: str, ana: httpx.Client, path: str) -> None:
    """Nothing is invented about them."""
    add(redis_url, "bot")
    answer = ana.get(f"/dead/{path}")
    assert "delivered" not in answer.text
    assert 404 == answer.status_code


def test_a_letter_of_a_whole_batch_can_only_be_exported_or_discarded(redis_url: str, ana: httpx.Client) -> None:
    """There is no event to edit or redrive; its bytes are shown to who asks."""
    add(redis_url, "bot")
    (letter_id,) = put(redis_url, (LetterHeader("corrupt", 0).dump(), b"\xff\x00batch", 7))
    page = ana.get(f"/dead/{letter_id}").text
    assert "cannot be redriven" in page
    assert "Redrive…" not in page
    shown = post(ana, f"/dead/{letter_id}/reveal").text
    assert 'name="event"' not in shown
    assert "/wBiYXRjaA==" in shown


def test_a_letter_of_a_newer_pombo_is_left_alone(redis_url: str, ana: httpx.Client) -> None:
    """It is not shown, and the page says what to do."""
    add(redis_url, "bot")

    async def work(redis: AsyncRedis) -> str:
        stream_id: Any = await redis.xadd(KEYS.of("bot").dead, {"h": b'{"v":99}', "b": b"{}"})
        return str(stream_id.decode())

    answer = ana.get(f"/dead/bot/{in_redis(redis_url, work)}")
    assert 409 == answer.status_code
    assert "upgrade pombo" in answer.text


def test_a_huge_form_is_refused(redis_url: str, sync_redis: Redis, ana: httpx.Client) -> None:
    """Before it is read; nothing moved."""
    add(redis_url, "bot")
    (letter_id,) = put(redis_url, letter("m1"))
    assert 413 == post(ana, f"/dead/{letter_id}/edit", {"event": "x" * (2 << 20)}).status_code
    assert 1 == dead(sync_redis)
