"""Train the zstd dictionary that ships with the package, from generated chatbot events.

    python bench/dictionary.py shared/pombo/shared/dictionary_N.zstd

A new dictionary takes a new number: record batches in Redis name the one they were written with.
"""

import random
import sys
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import zstandard

_CHANNELS = ["whatsapp", "web", "instagram", "messenger", "telegram", "sms", "teams", "email"]
_EVENTS = [
    "Message Sent", "Message Received", "Event Tracked", "Ticket Updated", "Order Completed", "Product Viewed",
    "Conversation Started", "Conversation Ended", "Button Clicked", "Flow Completed", "Handoff Requested",
]  # fmt: skip
_TEXT = (
    "hi hello oi olá thanks obrigado please can I get your order is ready would you like anything else yes no sure "
    "what time do you close I need help with my account payment invoice delivery pedido quero falar com atendente "
    "great one moment let me check that for you the total comes to have a nice day bom dia boa tarde tudo bem"
).split()


def _body(rng: random.Random, number: int) -> bytes:
    at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=number * 7.31)
    identity = rng.choice(["userId", "userId", "userId", "anonymousId"])
    who = rng.choice([f"55{rng.randrange(10**10, 10**11)}@wa.gw.msging.net", str(uuid.UUID(int=rng.getrandbits(128))),
                      f"user-{rng.randrange(10**6)}"])  # fmt: skip
    event: dict[str, object] = {"messageId": str(uuid.UUID(int=rng.getrandbits(128), version=4))}
    kind = rng.choices(["track", "identify", "page", "screen", "group", "alias"], [80, 10, 4, 2, 2, 2])[0]
    event |= {"type": kind, identity: who}
    if kind == "track":
        event["event"] = rng.choice(_EVENTS)
        event["properties"] = {
            "channel": rng.choice(_CHANNELS), "direction": rng.choice(["inbound", "outbound"]),
            "role": rng.choice(["user", "bot", "agent", "customer"]), "content_type": rng.choice(["text/plain", "image/jpeg"]),
            "conversation": str(uuid.UUID(int=rng.getrandbits(128))), "text": " ".join(rng.choices(_TEXT, k=rng.randrange(3, 20))),
            "length": rng.randrange(200),
        }  # fmt: skip
        if rng.random() < 0.3:
            event["properties"] = {"category": "flow", "action": rng.choice(_TEXT), "name": "tool", "call": "get_items",
                                   "args": {"query": rng.choice(_TEXT), "id": str(rng.randrange(10**6)), "quantity": "1"}}  # fmt: skip
    elif kind in {"identify", "group"}:
        event["traits"] = {"name": rng.choice(_TEXT), "email": "a@example.com", "phone": "+55", "plan": "gold", "city": "",
                           "createdAt": at.isoformat(), "source": rng.choice(_CHANNELS)}  # fmt: skip
    elif kind in {"page", "screen"}:
        event |= {"name": rng.choice(_TEXT), "category": "flow", "properties": {"url": "https://", "title": ""}}
    event["context"] = {"library": {"name": "pombo", "version": "0.1.0"}}
    event["timestamp"] = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return orjson.dumps(event)


def main() -> None:
    """Write the dictionary to the path given."""
    rng = random.Random(1)
    samples: list[bytes | bytearray | memoryview] = [_body(rng, number) for number in range(20_000)]
    trained = zstandard.train_dictionary(16_384, samples, level=3)
    Path(sys.argv[1]).write_bytes(trained.as_bytes())
    print(f"{sys.argv[1]}: {len(trained.as_bytes())} bytes from {len(samples)} events")


if __name__ == "__main__":
    main()
