import asyncio
import re
from typing import Any

import pytest
from redis import Redis

from ops.cli.commands import WRITE_KEY, Cli, events, said
from pombo.shared.connection import aconnect
from pombo.shared.keys import Keys
from pombo.shared.registry import Registry
from pombo.shared.secrets import Secrets
from support.programs import SECRET

OTHER_KEY = "o" * 32
OTHER_SECRET = "pbs_another-secret-that-knows-nothing-of-the-first"
OTHER_SECRET_PAIR = f"{OTHER_SECRET},{SECRET}"


def stored_key(url: str, secrets: Secrets, name: str = "bot") -> str:
    """The write key that a worker would read."""

    async def read() -> str:
        redis = aconnect(url)
        try:
            return await Registry(redis, Keys(), secrets).write_key(name)
        finally:
            await redis.aclose()

    return asyncio.run(read())


def test_add_says_what_to_know(pombo: Cli, redis_url: str, secrets: Secrets) -> None:
    """`add` stores the key and prints where events go, what a 200 does not prove, and the intake key."""
    answer = pombo("sources", "add", "bot", "--write-key", WRITE_KEY)
    assert (0, "") == (answer.code, answer.err)
    assert "region us (https://api.segment.io)" in answer.out
    assert "Segment answers 200 to wrong keys too" in answer.out
    assert re.search(r"^  pik_[\w-]{43}$", answer.out, re.MULTILINE)
    assert WRITE_KEY not in answer.out
    assert WRITE_KEY == stored_key(redis_url, secrets)


def test_add_reads_the_key_from_standard_input(pombo: Cli, redis_url: str, secrets: Secrets) -> None:
    """`-` takes one line from standard input, so that no process list shows the key."""
    assert pombo("sources", "add", "bot", "--write-key", "-", stdin=f"{WRITE_KEY}\nmore\n").code == 0
    assert WRITE_KEY == stored_key(redis_url, secrets)


def test_add_as_json(pombo: Cli) -> None:
    """`--json` gives settings, intake key, warnings and notices in one document."""
    words = ("--endpoint", "http://localhost:1/v1/", "--partitions", "2", "--rate", "0", "--rate-group", "ws")
    more = (
        "--burst",
        "50",
        "--max-age",
        "60",
        "--window",
        "120",
        "--backlog-bytes",
        "0",
        "--dead-bytes",
        "7",
        "--retention",
        "30d",
        "--redrive-after-outage",
        "--ids-limit",
        "9",
    )
    added = pombo("sources", "add", "bot", "--write-key", "odd", *words, *more, "--json").json
    assert added.pop("intake_key").startswith("pik_")
    assert "does not look like a Write Key" in added.pop("warnings")[0]
    assert len(added.pop("notices")) == 2
    expected: dict[str, Any] = {
        "name": "bot", "state": "active", "region": None, "endpoint": "http://localhost:1", "partitions": 2,
        "rate": 0, "burst": 50, "rate_group": "ws", "max_age_s": 60, "window_s": 120, "backlog_bytes": 0,
        "dead_bytes": 7, "ids_limit": 9, "intake_header": "Authorization", "blip": False, "message_bodies": "length",
        "retention_s": 30 * 86_400, "redrive_after_outage": True,
        "identity": "raw", "perspective": "bot", "tickets": False, "bots": [],
    }  # fmt: skip
    assert expected == added


def test_add_for_blip_says_what_to_paste(pombo: Cli) -> None:
    """`--blip` prints URL, header and intake key as Blip's form wants them, and what raw userIds are."""
    words = ("bot", "--write-key", WRITE_KEY, "--blip", "--intake-header", "X-Pombo-Key")
    out = pombo("sources", "add", *words, "--gateway-url", "https://g.example/").out
    told = {line.split()[0]: line.split()[1] for line in out.splitlines() if line.startswith("  ") and " " in line[2:]}
    assert {"url": "https://g.example/blip/bot", "header": "X-Pombo-Key"} == {k: told[k] for k in ("url", "header")}
    assert re.fullmatch(r"pik_[\w-]{43}", told["value"])
    assert out.count(told["value"]) == 2
    assert "on WhatsApp that is the customer's phone number" in out


def test_add_for_blip_without_the_gateway_url(pombo: Cli) -> None:
    """Nobody here knows the gateway's address: a placeholder stands for it, and says so."""
    out = pombo("sources", "add", "bot", "--write-key", WRITE_KEY, "--blip", "--identity", "hmac").out
    assert "  url     https://YOUR-GATEWAY/blip/bot\n" in out
    assert "--gateway-url fills it in" in out
    assert "phone number" not in out


def test_add_for_blip_as_json(pombo: Cli) -> None:
    """`--json` has the webhook with a URL for each kind, and every choice."""
    choices = ("--message-bodies", "full", "--identity", "hmac", "--perspective", "customer", "--tickets")
    bots = ("--bot", "Router@msging.net", "--bot", "sub@msging.net")
    added = pombo("sources", "add", "bot", "--write-key", WRITE_KEY, "--blip", *choices, *bots, "--json").json
    url = "https://YOUR-GATEWAY/blip/bot"
    assert {
        "url": url, "urls": {kind: f"{url}/{kind}" for kind in ("messages", "events", "contacts")},
        "header": "Authorization", "value": added["intake_key"],
    } == added["webhook"]  # fmt: skip
    expected = {
        "blip": True, "message_bodies": "full", "identity": "hmac", "perspective": "customer", "tickets": True,
        "bots": ["router@msging.net", "sub@msging.net"],
    }  # fmt: skip
    assert expected == {name: added[name] for name in expected}
    assert expected == {name: pombo("sources", "show", "bot", "--json").json[name] for name in expected}


def test_set_choices_for_blip(pombo: Cli, bot: str) -> None:
    """Choices are set and taken back; another identity says that people have other userIds from now on."""
    raw = pombo("sources", "set", bot, "--blip", "--tickets", "--bot", "router@msging.net")
    hashed = pombo("sources", "set", bot, "--identity", "hmac")
    back = pombo("sources", "set", bot, "--no-tickets", "--bot", "", "--json")
    assert "note: userIds are Blip's identities, and on WhatsApp" in raw.err
    assert "note: people known so far have other userIds from now on" in hashed.err
    assert "phone number" not in hashed.err
    assert ("", False, [], "hmac") == (back.err, *(back.json[name] for name in ("tickets", "bots", "identity")))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--intake-header", "X Key"], "intake_header"),
        (["--message-bodies", "half"], "'full', 'length' or 'drop'"),
        (["--identity", "md5"], "'raw' or 'hmac'"),
        (["--perspective", "agent"], "'bot' or 'customer'"),
        (["--bot", "router"], "bots.0"),
    ],
)
def test_choices_that_cannot_be(pombo: Cli, bot: str, words: list[str], expected: str) -> None:
    """A choice that is none is named with those that are, and nothing is changed."""
    before = pombo("sources", "show", bot, "--json").json
    answer = pombo("sources", "set", bot, *words)
    assert answer.code == 2
    assert expected in said(answer)
    assert before == pombo("sources", "show", bot, "--json").json


def test_a_strange_key_is_warned_of_on_stderr(pombo: Cli) -> None:
    """What does not look like a write key is taken, with a warning that leaves stdout alone."""
    answer = pombo("sources", "add", "bot", "--write-key", "odd")
    assert answer.code == 0
    assert answer.err.startswith("warning: this does not look like a Write Key")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["bot", "--write-key", ""], "the write key is empty"),
        (["bot", "--write-key", "a b"], "whitespace"),
        (["bot", "--write-key", "-"], "no write key came from standard input"),
        (["b/t", "--write-key", "k"], "name"),
        (["bot", "--write-key", "k", "--region", "mars"], "'us' or 'eu'"),
        (
            ["bot", "--write-key", "k", "--endpoint", "nourl"],
            "source 'bot': endpoint 'nourl' is no URL; give a root",
        ),
        (["bot", "--write-key", "k", "--endpoint", "http://u:p@h"], "is no URL"),
        (["bot", "--write-key", "k", "--region", "eu", "--endpoint", "http://h"], "not both"),
        (["bot", "--write-key", "k", "--partitions", "0"], "partitions"),
        (["bot", "--write-key", "k", "--rate", "nan"], "rate"),
        (["bot", "--write-key", "k", "--rate", "-1"], "rate"),
    ],
)
def test_add_refuses_what_cannot_be(pombo: Cli, words: list[str], expected: str) -> None:
    """What cannot be used is named in one line, and no source is made."""
    answer = pombo("sources", "add", *words)
    assert answer.code == 2
    assert expected in said(answer)
    assert "; got 'nourl'" not in answer.err
    assert pombo("sources", "list", "--json").json == []


def test_add_twice(pombo: Cli, bot: str, redis_url: str, secrets: Secrets) -> None:
    """A second source of the same name is refused, and the first stays."""
    answer = pombo("sources", "add", bot, "--write-key", OTHER_KEY)
    assert answer.code == 2
    assert "exists already" in said(answer)
    assert WRITE_KEY == stored_key(redis_url, secrets)


def test_add_needs_the_secret_key(pombo: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a secret, or with one too short, `add` says how to get one."""
    monkeypatch.setenv("POMBO_SECRET_KEY", "short")
    short = pombo("sources", "add", "bot", "--write-key", WRITE_KEY)
    monkeypatch.delenv("POMBO_SECRET_KEY")
    none = pombo("sources", "add", "bot", "--write-key", WRITE_KEY)
    assert (2, 2) == (short.code, none.code)
    assert "has 5 characters, 32 are the least; `pombo secret` makes one" in said(short)
    assert "POMBO_SECRET_KEY is not set" in said(none)


def test_list_needs_no_secret(pombo: Cli, bot: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What touches no key works without any secret."""
    monkeypatch.delenv("POMBO_SECRET_KEY")
    (row,) = pombo("sources", "list", "--json").json
    assert {
        "name": "bot", "region": "us", "endpoint": None, "state": "active", "partitions": 8, "rate": 1000,
        "rate_group": None,
    } == row  # fmt: skip


def test_list_for_people(pombo: Cli, bot: str) -> None:
    """The table has a line a source; without any source it says how to make one."""
    lines = [line.split() for line in pombo("sources", "list").out.splitlines()]
    assert ["bot", "active", "region", "us", "8", "1000", "-"] in lines
    pombo("sources", "remove", bot, "--yes")
    assert "`pombo sources add NAME --write-key -` makes one" in pombo("sources", "list").out


def test_list_names_sources_of_a_newer_pombo(pombo: Cli, bot: str, sync_redis: Redis) -> None:
    """A source in an unknown form is named on stderr and left alone."""
    sync_redis.hset(Keys().sources, "future", '{"v":2}')
    answer = pombo("sources", "list", "--json")
    assert ["bot"] == [row["name"] for row in answer.json]
    assert "warning: source future was stored in a form" in answer.err


def test_show(pombo: Cli, bot: str) -> None:
    """`show` gives settings and state, and says that the key can be read, without it."""
    answer = pombo("sources", "show", bot, "--json")
    assert (0, "us", None) == (answer.code, answer.json["region"], answer.json["write_key_problem"])
    text = pombo("sources", "show", bot).out
    assert "can be read" in text
    assert WRITE_KEY not in text


def test_show_keeps_settings_and_state_apart(pombo: Cli) -> None:
    """No figure of the state stands in a setting's place."""
    added = pombo("sources", "add", "bot", "--write-key", WRITE_KEY, "--dead-bytes", "7", "--json").json
    shown = pombo("sources", "show", "bot", "--json").json
    settings = set(added) & set(shown)
    assert {"dead_bytes", "backlog_bytes", "rate"} <= settings
    assert {name: added[name] for name in settings} == {name: shown[name] for name in settings}


def test_show_finds_the_wrong_secret_key(pombo: Cli, bot: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that this secret cannot decrypt is told, with what to do and exit code 1."""
    monkeypatch.setenv("POMBO_SECRET_KEY", OTHER_SECRET)
    answer = pombo("sources", "show", bot)
    assert answer.code == 1
    assert "cannot be decrypted with POMBO_SECRET_KEY" in answer.out
    assert "restore the old secret" in answer.out


def test_rotation_of_the_secret_is_read(pombo: Cli, bot: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With old and new secret the key can be read."""
    monkeypatch.setenv("POMBO_SECRET_KEY", OTHER_SECRET_PAIR)
    assert pombo("sources", "show", bot).code == 0


@pytest.mark.parametrize(
    "words",
    [
        ["show"],
        ["set", "--rate", "1"],
        ["pause"],
        ["resume"],
        ["rotate-key", "--intake"],
        ["remove", "--yes"],
    ],
)
def test_an_unknown_source(pombo: Cli, bot: str, words: list[str]) -> None:
    """Every command names an unknown source and those that are close, with exit code 2."""
    answer = pombo("sources", words[0], "bto", *words[1:])
    assert answer.code == 2
    assert "no source is called 'bto'; did you mean 'bot'?" in said(answer)


def test_set(pombo: Cli, bot: str) -> None:
    """`set` changes what is given and leaves the rest; an empty group is none."""
    assert pombo("sources", "set", bot, "--rate", "5", "--rate-group", "ws").code == 0
    assert pombo("sources", "set", bot, "--rate-group", "").code == 0
    shown = pombo("sources", "show", bot, "--json").json
    assert (5, None, 8) == (shown["rate"], shown["rate_group"], shown["partitions"])


def test_set_without_a_change_is_wrong_usage(pombo: Cli, bot: str) -> None:
    """`set` wants something to set."""
    answer = pombo("sources", "set", bot)
    assert answer.code == 2
    assert "give at least one setting" in said(answer)


def test_pause_and_resume(pombo: Cli, bot: str, sync_redis: Redis) -> None:
    """A paused source is shown so; `resume` ends the pause and a park alike; repeats say that nothing changed."""
    assert "is paused" in pombo("sources", "pause", bot).out
    assert "was paused already" in pombo("sources", "pause", bot).out
    assert pombo("sources", "list", "--json").json[0]["state"] == "paused"
    sync_redis.hset(Keys().of(bot).flow, "parked", "answer 404")
    assert pombo("sources", "list", "--json").json[0]["state"] == "parked"
    assert "sends again" in pombo("sources", "resume", bot).out
    assert "was neither paused, parked nor broken" in pombo("sources", "resume", bot).out
    for word in ("pause", "resume"):
        assert {"name": bot, "changed": True} == pombo("sources", word, bot, "--json").json
        assert {"name": bot, "changed": False} == pombo("sources", word, bot, "--json").json
    assert pombo("sources", "list", "--json").json[0]["state"] == "active"


def test_rotate_key(pombo: Cli, bot: str, redis_url: str, secrets: Secrets) -> None:
    """The new write key comes from standard input unless given."""
    assert pombo("sources", "rotate-key", bot, stdin=f"{OTHER_KEY}\n").code == 0
    assert OTHER_KEY == stored_key(redis_url, secrets)


def test_rotate_intake_key(pombo: Cli, bot: str, redis_url: str, secrets: Secrets) -> None:
    """`--intake` makes a new intake key, shows it once, and leaves the write key."""
    answer = pombo("sources", "rotate-key", bot, "--intake", "--json")
    assert answer.json["intake_key"].startswith("pik_")
    assert WRITE_KEY == stored_key(redis_url, secrets)


@pytest.mark.parametrize(
    "words",
    [
        ["rotate-key", "bot", "--write-key", OTHER_KEY],
        ["rotate-key", "bot", "--intake"],
        ["set", "bot", "--rate", "5"],
        ["add", "other", "--write-key", OTHER_KEY],
    ],
)
def test_another_secret_changes_nothing(
    pombo: Cli, bot: str, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A POMBO_SECRET_KEY that opens no stored key is refused with exit code 2, and workers go on with theirs."""
    before = pombo("sources", "show", bot, "--json").json
    with monkeypatch.context() as other:
        other.setenv("POMBO_SECRET_KEY", OTHER_SECRET)
        answer = pombo("sources", *words)
    assert answer.code == 2
    assert "restore the old secret" in said(answer)
    assert "`pombo sources rotate-key bot --force`" in said(answer)
    assert before == pombo("sources", "show", bot, "--json").json
    assert ["bot"] == [row["name"] for row in pombo("sources", "list", "--json").json]


def test_a_lost_secret_is_left_behind_by_force(pombo: Cli, bot: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`rotate-key --force` stores the new key under the new secret, and it is for write keys alone."""
    monkeypatch.setenv("POMBO_SECRET_KEY", OTHER_SECRET)
    assert pombo("sources", "rotate-key", bot, "--intake", "--force").code == 2
    assert pombo("sources", "rotate-key", bot, "--force", stdin=OTHER_KEY).code == 0
    assert pombo("sources", "show", bot).code == 0
    assert pombo("sources", "rotate-key", bot, "--intake").code == 0


def test_set_needs_no_secret(pombo: Cli, bot: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings hold no secret: without POMBO_SECRET_KEY they can be changed."""
    monkeypatch.delenv("POMBO_SECRET_KEY")
    assert pombo("sources", "set", bot, "--rate", "5").code == 0


def test_remove_asks(pombo: Cli, bot: str) -> None:
    """Without a yes nothing is removed: a no is exit code 1, nobody there is exit code 2."""
    no, nobody = pombo("sources", "remove", bot, stdin="n\n"), pombo("sources", "remove", bot)
    assert (1, 2) == (no.code, nobody.code)
    assert no.err == "Remove source bot? [y/N] \npombo: nothing was changed\n"
    assert "pass --yes" in nobody.err
    assert pombo("sources", "remove", bot, stdin="y\n").code == 0
    assert pombo("sources", "list", "--json").json == []


def test_remove_refuses_a_source_that_holds_events(pombo: Cli, bot: str, sync_redis: Redis) -> None:
    """A source with events is left alone, unless they are to be discarded."""
    pombo("send", "-", "--source", bot, stdin=events("m1"))
    kept = pombo("sources", "remove", bot, "--yes")
    assert kept.code == 1
    assert "holds events: 1 queued" in said(kept)
    assert pombo("sources", "remove", bot, "--yes", "--discard").code == 0
    assert [] == [key for key in sync_redis.keys("*") if b"{bot}" in key]
