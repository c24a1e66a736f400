from pathlib import Path
from typing import Any

import orjson
import pytest
from redis import Redis

from ops.cli.commands import Cli, said
from pombo.shared.keys import Keys

MESSAGE = {
    "id": "m1", "from": "5511987654321@wa.gw.msging.net", "to": "mybot@msging.net", "type": "text/plain",
    "content": "oi, tudo bem?",
}  # fmt: skip
CHAT_STATE = {"to": "1@telegram.gw.msging.net", "type": "application/vnd.lime.chatstate+json", "content": {}}
EVENT = {"category": "flow", "action": "start", "identity": "5511987654321@wa.gw.msging.net"}


def ndjson(*items: Any) -> str:
    """One item a line."""
    return "".join(orjson.dumps(item).decode() + "\n" for item in items)


def only(answer: Any) -> dict[str, Any]:
    """The one event of a `--json` answer."""
    (item,) = answer.json["items"]
    (made,) = item["events"]
    event: dict[str, Any] = made["event"]
    return event


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> None:
    """No Redis, and no secret."""
    monkeypatch.setenv("POMBO_REDIS_URL", "redis://127.0.0.1:1")
    monkeypatch.delenv("POMBO_SECRET_KEY")


def test_check_shows_an_event_field_by_field(pombo: Cli, place: Path, away: None) -> None:
    """Each field of the event is a line with its path; neither Redis nor a secret is needed."""
    (place / "item.json").write_text(orjson.dumps(MESSAGE, option=orjson.OPT_INDENT_2).decode())
    answer = pombo("blip", "check", "item.json")
    lines = answer.out.splitlines()
    fields = dict(line.split(maxsplit=1) for line in lines if line.startswith("  "))
    assert (0, "") == (answer.code, answer.err)
    assert "item 1: messages -> track Message Received" == lines[0]
    assert ("5511987654321@wa.gw.msging.net", "whatsapp", "13") == tuple(
        fields[name] for name in ("userId", "properties.channel", "properties.body_length")
    )
    assert "1 event; 0 items without, 0 items unknown" in lines
    assert "Ids are examples: each source makes its own; --source NAME shows them." == lines[-1]


def test_check_as_json(pombo: Cli, away: None) -> None:
    """`--json` has each item with its kind, its events, or why there is none."""
    answer = pombo("blip", "check", "-", "--json", stdin=ndjson(MESSAGE, CHAT_STATE, {"hello": 1}))
    first, second, third = answer.json["items"]
    assert 1 == answer.code
    assert (1, "messages", "Message Received") == (first["item"], first["kind"], first["events"][0]["event"]["event"])
    assert first["events"][0]["event"]["properties"]["conversation"] == first["events"][0]["ordering_key"]
    assert ([], "a chat state: somebody is writing, nothing was said") == (second["events"], second["reason"])
    assert third["error"]["message"].startswith("this is no item of Blip's data webhook")
    assert {"events": 1, "silent": 1, "unknown": 1} == {
        name: answer.json[name] for name in ("events", "silent", "unknown")
    }


@pytest.mark.parametrize("text", [ndjson(MESSAGE, EVENT), orjson.dumps([MESSAGE, EVENT]).decode()])
def test_check_reads_lists_and_lines(pombo: Cli, away: None, text: str) -> None:
    """A list and one item a line are the same."""
    answer = pombo("blip", "check", "-", "--json", stdin=text)
    assert (0, [1, 2]) == (answer.code, [item["item"] for item in answer.json["items"]])


def test_check_numbers_items_by_their_lines(pombo: Cli, away: None) -> None:
    """In NDJSON an item has its line's number, and a line that is no JSON is an unknown item."""
    answer = pombo("blip", "check", "-", "--json", stdin=f"\n{ndjson(MESSAGE)}not json\n")
    assert (1, [2, 3]) == (answer.code, [item["item"] for item in answer.json["items"]])
    assert {"message": "this is no JSON", "field": ""} == answer.json["items"][1]["error"]


def test_check_obeys_the_options(pombo: Cli, away: None) -> None:
    """The options stand for the settings of a source."""
    words = ("--identity", "hmac", "--message-bodies", "full", "--perspective", "customer")
    event = only(pombo("blip", "check", "-", *words, "--json", stdin=ndjson(MESSAGE)))
    assert event["userId"].startswith("blip_")
    assert ("Message Sent", "oi, tudo bem?") == (event["event"], event["properties"]["message_body"])
    other = pombo("blip", "check", "-", "--bot", "other@msging.net", stdin=ndjson(MESSAGE))
    assert "no event: another bot's message" in other.out


def test_check_takes_the_kind_of_the_url(pombo: Cli, away: None) -> None:
    """`--kind` reads an item as the URL of that kind does."""
    contact = {"identity": "1@telegram.gw.msging.net", "name": "Maria"}
    assert 1 == pombo("blip", "check", "-", stdin=ndjson(contact)).code
    assert (
        "identify" == only(pombo("blip", "check", "-", "--kind", "contacts", "--json", stdin=ndjson(contact)))["type"]
    )


def test_check_as_a_source_takes_them(pombo: Cli, bot: str) -> None:
    """With `--source`, settings and ids are the source's; an option still goes before its setting."""
    pombo("sources", "set", bot, "--identity", "hmac", "--message-bodies", "drop")
    words = ("blip", "check", "-", "--source", bot)
    mine = only(pombo(*words, "--json", stdin=ndjson(MESSAGE)))
    again = only(pombo(*words, "--json", stdin=ndjson(MESSAGE)))
    raw = only(pombo(*words, "--identity", "raw", "--json", stdin=ndjson(MESSAGE)))
    nobodys = only(pombo("blip", "check", "-", "--identity", "hmac", "--json", stdin=ndjson(MESSAGE)))
    assert mine == again
    assert "body_length" not in mine["properties"]
    assert "5511987654321@wa.gw.msging.net" == raw["userId"]
    assert mine["userId"] != nobodys["userId"]
    assert "Ids are examples" not in pombo(*words, stdin=ndjson(MESSAGE)).out


def test_check_sends_nothing(pombo: Cli, bot: str, sync_redis: Redis) -> None:
    """Looking at items accepts none of them."""
    pombo("blip", "check", "-", "--source", bot, stdin=ndjson(MESSAGE))
    assert sync_redis.hget(Keys().of(bot).ledger, "accepted") in {None, b"0"}


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (["no-such-file"], 2, "no-such-file: No such file or directory"),
        (["-", "--kind", "orders"], 2, "--kind 'orders' is none; known: messages, events, contacts, tickets"),
        (["-", "--identity", "md5"], 2, "'raw' or 'hmac'"),
        (["-", "--source", "nobody"], 2, "no source is called 'nobody'"),
    ],
)
def test_check_that_cannot_be(pombo: Cli, words: list[str], code: int, expected: str) -> None:
    """What cannot be is one line on stderr."""
    answer = pombo("blip", "check", *words, stdin=ndjson(MESSAGE))
    assert code == answer.code
    assert expected in said(answer)


def test_check_of_nothing(pombo: Cli, away: None) -> None:
    """A file without any item has nothing to check: exit code 1."""
    answer = pombo("blip", "check", "-", stdin="\n")
    assert (1, "there is no item in it\n") == (answer.code, answer.out)


def test_check_shows_other_peoples_text_safely(pombo: Cli, away: None) -> None:
    """Names and values of an item cannot steer the terminal."""
    item = {**EVENT, "extras": {"a\x1b[2Jb": "c\x1b]0;d\x07\nitem 9: e"}}
    answer = pombo("blip", "check", "-", stdin=ndjson(item))
    assert 0 == answer.code
    assert "\x1b" not in answer.out
    assert not any(line.startswith("item 9") for line in answer.out.splitlines())
