"""A bot that says all it knows: its root logger is at `debug`, it prints receipts, and tracebacks of what is refused.

`python -m support.talker SOURCE PREFIX`, with the people's data as JSON on stdin: good and bad events about them go
through a `Producer` and an `AsyncProducer`; messageIds begin with PREFIX.
"""

import asyncio
import logging
import sys
import traceback
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Never

import orjson

from pombo.producer import AsyncProducer, Producer, Rejected

People = dict[str, str]
GOOD = 6
RECEIPT_S = 30.0


class Shown:
    """Something that JSON cannot carry, and that shows what it holds."""

    def __init__(self, held: str) -> None:
        self.held = held

    def __repr__(self) -> str:
        return f"Shown({self.held!r})"


def good_event(people: People, message_id: str) -> dict[str, Any]:
    """An event that is full of somebody's data."""
    about = {name: people[name] for name in ("email", "phone", "cpf", "name")}
    return {
        "type": "track", "event": "Message Sent", "userId": people["user"], "messageId": message_id,
        "properties": {"text": people["text"], **about}, "context": {"traits": about},
    }  # fmt: skip


def bad_events(people: People) -> Iterator[dict[str, Any]]:
    """Events that are refused, each for another reason, with somebody's data where the fault is, and beside it."""
    text, email = people["text"], people["email"]
    whole = good_event(people, "bad")
    for name in ("type", "timestamp", "context", "properties"):
        yield {**whole, name: text}
    for name in ("type", "event", "userId", "messageId", "timestamp"):
        yield {**whole, name: {"of": email}}
    for name in ("type", "event", "userId", "messageId", "timestamp", "context", "properties"):
        for value in ([email], 12, Shown(email)):
            yield {**whole, name: value}
    faults = (float("nan"), Decimal("NaN"), 2**70, Shown(email), {email}, email.encode(), {12: email}, _nested(email))
    for fault in faults:
        yield {**whole, "properties": {"fine": text, "fault": [email, fault]}}
    yield {**whole, "messageId": text * 20}
    yield {**whole, "userId": None}
    yield {**whole, "telefone": people["phone"]}
    yield {**whole, "user_id": people["user"]}
    yield {**whole, "timestamp": f"{people['cpf']}T00:00:00Z"}
    yield {**whole, "properties": {f"p{n}": email for n in range(2_000)}}
    yield {**whole, "properties": {"text": text * 2_000}}
    yield {"type": "identify", "userId": people["user"], "traits": [people["name"]]}
    yield {"type": "alias", "userId": people["user"], "previousId": {"cpf": people["cpf"]}}


def _nested(value: str) -> Any:
    nested: Any = value
    for _ in range(200):
        nested = {"in": nested}
    return nested


def _complain(_rejected: Rejected, _event: Any) -> Never:
    raise RuntimeError("this callback fails")


def talk(source: str, prefix: str, people: People) -> None:
    """Be such a bot, with threads."""
    with Producer(source, on_rejected=_complain) as producer:
        for number in range(GOOD):
            receipt = producer.enqueue(good_event(people, f"{prefix}-{number}"))
            receipt.wait(RECEIPT_S)
            print(receipt, producer)
        for event in bad_events(people):
            _tell(producer, event)


def _tell(producer: Producer, event: dict[str, Any]) -> None:
    try:
        print(producer.enqueue(event).result(RECEIPT_S))
    except Rejected:
        traceback.print_exc()


async def talk_async(source: str, prefix: str, people: People) -> None:
    """Be such a bot, with asyncio."""
    async with AsyncProducer(source, on_rejected=_complain) as producer:
        for number in range(GOOD):
            print(await producer.enqueue(good_event(people, f"{prefix}-a{number}")))
        for event in bad_events(people):
            try:
                print((await producer.enqueue(event)).outcome)
            except Rejected:
                traceback.print_exc()


if __name__ == "__main__":
    logging.basicConfig(level=logging.DEBUG)
    told = orjson.loads(sys.stdin.buffer.read())
    talk(sys.argv[1], sys.argv[2], told)
    asyncio.run(talk_async(sys.argv[1], sys.argv[2], told))
