"""Segment's own SDKs, unmodified: through the gateway Segment gets what it gets from them directly."""

import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest

from support import sdks
from support.installation import Child, Gateway, Installation, until
from support.results import record

Say = Callable[[str], None]

KEY = "s" * 32
AT = "2026-01-02T03:04:05.678Z"
SENDER = Path(__file__).resolve().parents[1] / "support" / "send_many.js"
OF_THE_REQUEST = {"timestamp", "sentAt", "receivedAt"}


def calls(language: str) -> list[dict[str, Any]]:
    """All six calls, with every field that a caller may give."""
    common = {"userId": "u1", "timestamp": AT, "context": {"locale": "pt-BR", "ip": "203.0.113.7"}}
    anonymous = {"anonymousId": "a1", "timestamp": AT, "integrations": {"All": True, "Amplitude": False}}
    made: list[dict[str, Any]] = [
        {"type": "identify", **common, "traits": {"plan": "gold", "tags": ["a", "ção"], "age": 33}},
        {"type": "track", **common, "event": "Message Sent", "properties": {"channel": "whatsapp", "price": 12.5}},
        {"type": "track", **anonymous, "event": "Emoji 🕊", "properties": {"nested": {"deep": [{"x": None}, {"y": 1}]}}},
        {
            "type": "page",
            **common,
            "category": "Help",
            "name": "FAQ",
            "properties": {"url": "https://example.test/?a=b"},
        },
        {"type": "screen", **anonymous, "name": "Chat", "properties": {"n": 1}},
        {"type": "group", **common, "groupId": "g1", "traits": {"name": "Acme", "employees": 3}},
        {"type": "alias", "userId": "u1", "previousId": "a1", "timestamp": AT},
    ]
    return [{**one, "messageId": f"{language}-{number}"} for number, one in enumerate(made)]


def comparable(payload: dict[str, Any]) -> dict[str, Any]:
    """An event as it means the same: nulls of its own are absent, and its time is the one that the caller gave.

    `timestamp`, `sentAt` and `receivedAt` say when its request went and came.
    """
    told = {name: value for name, value in payload.items() if value is not None and name not in OF_THE_REQUEST}
    return {**told, "originalTimestamp": datetime.fromisoformat(payload["originalTimestamp"])}


@pytest.mark.parametrize("language", ["node", "python"])
def test_segment_gets_the_same(installation: Installation, language: str) -> None:
    """All six calls come to Segment whole, as if the SDK had talked to it: ids, times, properties, traits, context."""
    made = calls(language)
    installation.add("bot", KEY)
    sdks.six_calls(language, installation.segment.url, KEY, made)
    direct = installation.segment.payloads()
    assert [one["messageId"] for one in made] == sorted(direct)
    installation.segment.reset()

    gateway = installation.gateway()
    sdks.six_calls(language, gateway.url, installation.intake_key("bot"), made)
    installation.workers(1)
    installation.drained("bot")
    relayed = installation.segment.payloads()
    assert {name: comparable(one) for name, one in direct.items()} == {
        name: comparable(one) for name, one in relayed.items()
    }
    installation.audit()


@pytest.mark.parametrize("language", ["node", "python"])
def test_the_write_key_will_do(installation: Installation, language: str) -> None:
    """Who changes nothing but the host is known by the write key that is configured already."""
    installation.add("bot", KEY)
    sdks.six_calls(language, installation.gateway().url, KEY, calls(language))
    assert len(calls(language)) == installation.ledger("bot")["accepted"]


class Sender:
    """The SDK for Node in a process of its own, which notes of each event whether the SDK says that it was taken."""

    def __init__(self, installation: Installation, url: str, *, count: int, rate: int) -> None:
        self._diary = installation.folder / "diary"
        program, env = sdks.node()
        told = {"url": url, "key": KEY, "count": count, "rate": rate, "diary": str(self._diary)}
        self.child = installation.other(program, str(SENDER), orjson.dumps(told).decode(), env=env)

    def heard(self) -> dict[str, str]:
        """What the SDK said of each event so far: `taken`, or why not."""
        text = self._diary.read_bytes() if self._diary.exists() else b""
        return dict(orjson.loads(line) for line in text[: text.rfind(b"\n") + 1].splitlines())

    def has_heard(self, least: int) -> bool:
        """Whether the SDK said something of so many events."""
        return len(self.heard()) >= least

    def finish(self) -> dict[str, str]:
        """Wait until the SDK has said something of each event."""
        self.child.finish(150)
        return self.heard()


def hurt(
    installation: Installation, gateway: Gateway, worker: Child, sender: Sender, *, kills: int, every: int
) -> None:
    """Kill gateway and worker together, again and again, and start their successors half a second later."""
    for number in range(1, kills + 1):
        until(partial(sender.has_heard, number * every), f"{number * every} events of which the SDK heard")
        gateway.child.kill()
        worker.kill()
        time.sleep(0.5)  # An outage of its own length, not a wait for anything.
        gateway = installation.gateway(port=gateway.port)
        worker = installation.worker()


def prove_kills(installation: Installation, say: Say, *, count: int, rate: int, kills: int) -> None:
    """Send while gateway and worker are killed, and hold what Segment has against what the SDK was told."""
    installation.add("bot", KEY)
    (worker,) = installation.workers(1)
    gateway = installation.gateway()
    begun = time.monotonic()
    sender = Sender(installation, gateway.url, count=count, rate=rate)
    hurt(installation, gateway, worker, sender, kills=kills, every=count // (kills + 2))
    heard = sender.finish()
    lasted = time.monotonic() - begun
    installation.drained("bot", 120)

    fates = Counter(row["message_id"] for row in installation.segment.events() if row["fate"] == "kept")
    taken = {message_id for message_id, word in heard.items() if word == "taken"}
    copies = installation.ledger("bot")["deduplicated"]
    again = sum(row["fate"] == "duplicate" for row in installation.segment.events())
    seen = (
        f"{count:,} events of the SDK for Node in {lasted:.0f} s: {len(taken):,} got a 200, of which "
        f"{len(taken - set(fates)):,} are missing; {count - len(taken):,} were given up by the SDK; "
        f"{copies:,} came twice and were sent once, {again:,} were sent again after a worker's death, under the same id"
    )
    say(f"{kills} kills of gateway and worker: {seen}")
    record("The gateway", f"gateway and worker killed -9 while an SDK sends {count:,} events", seen, runs=kills)
    assert set() == taken - set(fates)
    assert {1} == set(fates.values())
    assert count == len(heard)
    installation.audit()


def test_some_kills(installation: Installation, say: Say) -> None:
    """What got a 200 arrives, once, though gateway and worker are killed."""
    prove_kills(installation, say, count=1_500, rate=1_000, kills=1)


@pytest.mark.e2e
@pytest.mark.timeout(300)
def test_many_kills(installation: Installation, say: Say) -> None:
    """Of 20,000 events none that got a 200 is lost, and none is kept twice, though all processes die five times."""
    prove_kills(installation, say, count=20_000, rate=2_500, kills=5)
