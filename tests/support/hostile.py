"""Hostile requests for the gateway, made at random from a seed: sound ones, bent in JSON, bytes, HTTP and keys."""

import base64
import copy
import gzip
import json
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

WORDS = ("identify", "track", "page", "screen", "group", "alias", "i", "t", "p", "s", "g", "a")
BATCHES = ("batch", "import", "b")
EVENT: dict[str, Any] = {
    "type": "track", "userId": "u1", "anonymousId": "a1", "event": "Message Sent", "groupId": "g1", "previousId": "a0",
    "messageId": "m1", "name": "Chat", "category": "Help", "timestamp": "2026-01-02T03:04:05.678Z",
    "sentAt": "2026-01-02T03:04:06Z", "properties": {"channel": "whatsapp", "price": 12.5, "tags": ["a", {"b": None}]},
    "traits": {"plan": "gold"}, "context": {"library": {"name": "x", "version": "1"}, "ip": "203.0.113.7"},
    "integrations": {"All": True, "Amplitude": {"session_id": 1}}, "writeKey": None,
    "_metadata": {"nodeVersion": "v20"},
}  # fmt: skip
MESSAGE: dict[str, Any] = {
    "id": "65603604", "from": "5511987654321@wa.gw.msging.net", "to": "mybot@msging.net", "type": "text/plain",
    "content": "oi, tudo bem?", "metadata": {"#envelope.storageDate": "2025-02-18T13:16:02Z", "#messageEmitter": "Bot"},
}  # fmt: skip
TRACK: dict[str, Any] = {
    "ownerIdentity": "mybot@msging.net", "contact": {"Identity": "5511987654321@wa.gw.msging.net"},
    "storageDate": "2025-02-18T13:15:00.123Z", "category": "flow", "action": "Boas Vindas", "extras": {"#stateId": "s"},
}  # fmt: skip
CONTACT: dict[str, Any] = {"identity": "5511987654321@wa.gw.msging.net", "name": "Maria", "extras": {"plan": "Gold"}}
BLOCK: dict[str, Any] = {
    "block": {
        "id": "b1", "type": "segment",
        "options": {
            "action": "Track", "eventName": "{{Name}}", "userId": "{{User ID}}",
            "properties": [{"id": "p1", "key": "plan", "value": "{{Plan}}"}],
        },
    },
    "variables": {"User ID": "u1", "Name": "Plan Chosen", "Plan": ["gold", 1]},
    "condition": {"logicalOperator": "AND", "comparisons": [
        {"variableId": "Plan", "comparisonOperator": "Matches regex", "value": "(a+)+$"},
    ]},
    "resultId": "r1", "cast": "json",
}  # fmt: skip
SAMPLES: Mapping[str, Any] = {"messages": MESSAGE, "events": TRACK, "contacts": CONTACT}
ODD: tuple[Any, ...] = (
    None, True, False, 0, -0.0, -1, 1 << 70, -(1 << 63), 1e308, math.nan, math.inf, -math.inf, "", " ", "\0", "null",
    "\ud800", "\udfff\ud800", "🕊" * 50, "x" * 101, "y" * 33_000, "9" * 400, "1970-01-01", "9999-12-31T23:59:60Z",
    "0001-01-01T00:00:00+23:59", "-1", "{{User ID}}", "{{" * 500, "{{=x=}}", [], {}, [[]], [None] * 200,
    {"": {"": None}}, {"a" * 2_000: 1}, {f"k{n}": n for n in range(300)}, "=cmd|' /C calc'!A0", "<script>",
    "../../etc/passwd", "%00%n%s",
)  # fmt: skip
METHODS = ("GET", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT", "post", "BREW", "P" * 40)
JUNK = (
    b"", b"\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /\r\n\r\n", b"POST /v1/track HTTP/1.1\r\n", b"POST /v1/track HTTP/9.9\r\n\r\n",
    b"\xff\xfe\xfd" * 40, b"*1\r\n$8\r\nFLUSHALL\r\n",
    b"POST /v1/track HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n{}",
    b"POST /v1/track HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /v1/track HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n", b"A" * 40_000,
    b"POST /v1/track HTTP/1.1\r\nX: " + b"h" * 40_000, b"POST /v1/track HTTP/1.1\r\n" + b"h: v\r\n" * 9_000,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Keys:
    """What of a source an attacker may hold."""

    source: str
    intake: str
    write: str


@dataclass(frozen=True, slots=True)
class Shot:
    """One request as bytes; `whole` if it ends where it says: then it must be answered."""

    raw: bytes
    whole: bool
    head: bool = False
    """Whether the answer has no body, as that of HEAD."""


class Hostility:
    """An endless supply of requests; the same seed makes the same ones."""

    def __init__(self, keys: Keys, seed: int) -> None:
        self._keys = keys
        self._rng = random.Random(seed)
        self._number = 0

    def shot(self) -> Shot:
        """One more."""
        self._number += 1
        rng = self._rng
        if rng.random() < 0.02:
            return Shot(rng.choice(JUNK), whole=False)
        path, document = self._target()
        body = self._body(document)
        headers = [b"Host: x", *self._key_headers()]
        body = self._encoded(body, headers)
        return self._request(self._path(path), headers, body)

    def _often(self, share: float) -> bool:
        return self._rng.random() < share

    # -- what it says -----------------------------------------------------------------------------------------------

    def _target(self) -> tuple[str, Any]:
        rng, source = self._rng, self._keys.source
        kind = rng.random()
        if kind < 0.35:
            return f"/v1/{rng.choice(WORDS)}", self._event()
        if kind < 0.7:
            items = [self._event() for _ in range(rng.choice((0, 1, 2, 5, 15)))]
            return f"/v1/{rng.choice(BATCHES)}", {"batch": items, "sentAt": "2026-01-01T00:00:00Z", "context": {"a": 1}}
        if kind < 0.9:
            name = rng.choice((*SAMPLES, ""))
            item = copy.deepcopy(SAMPLES.get(name, rng.choice((MESSAGE, TRACK, CONTACT))))
            return f"/blip/{source}/{name}".rstrip("/"), [item] if self._often(0.2) else item
        return f"/quickbot/{source}", copy.deepcopy(BLOCK)

    def _event(self) -> dict[str, Any]:
        event = copy.deepcopy(EVENT)
        event["type"] = self._rng.choice(WORDS[:6])
        event["messageId"] = f"m{self._number}-{self._rng.random()}"
        return event

    def _body(self, document: Any) -> bytes:
        rng = self._rng
        for _ in range(rng.choice((0, 1, 1, 2, 4))):
            self._bend(document)
        if self._often(0.02):
            document = json.loads("[" * 900 + "]" * 900)
        text = json.dumps(document, ensure_ascii=self._often(0.5)).encode("utf-8", "surrogatepass")
        if self._often(0.01):
            text = b"[" * 200_000 if self._often(0.5) else text.replace(b'"u1"', b"[" * 5_000 + b"]" * 5_000)
        return self._torn(text) if self._often(0.15) else text

    def _bend(self, node: Any) -> None:
        """Put something odd in the place of a random part."""
        rng = self._rng
        while isinstance(node, dict | list) and node:
            key: Any = rng.choice(list(node)) if isinstance(node, dict) else rng.randrange(len(node))
            if not isinstance(node[key], dict | list) or not node[key] or rng.random() < 0.25:
                if isinstance(node, dict) and rng.random() < 0.2:
                    node[rng.choice(("", "userId", "\ud800", "context", "$ref", "__proto__"))] = node.pop(key)
                else:
                    node[key] = copy.deepcopy(rng.choice(ODD))
                return
            node = node[key]

    def _torn(self, text: bytes) -> bytes:
        rng = self._rng
        at, until = sorted((rng.randrange(len(text) + 1), rng.randrange(len(text) + 1)))
        ways: tuple[Callable[[], bytes], ...] = (
            lambda: text[:at],
            lambda: text[:at] + text[until:],
            lambda: text[:at] + rng.randbytes(rng.randrange(1, 9)) + text[at:],
            lambda: text + text,
            lambda: text[:at] + text[at:until] * 3 + text[until:],
            lambda: b"\xef\xbb\xbf" + text,
            lambda: text.decode("utf-8", "replace").encode("utf-16"),
            lambda: rng.randbytes(rng.randrange(200)),
            lambda: b"",
        )
        return rng.choice(ways)()

    # -- how it is sent ---------------------------------------------------------------------------------------------

    def _key_headers(self) -> list[bytes]:
        rng, keys = self._rng, self._keys
        good = base64.b64encode(f"{keys.intake}:".encode())
        if self._often(0.8):
            return [b"Authorization: Basic " + good]
        return rng.choice((
            [],
            [b"Authorization: Basic " + base64.b64encode(f"{keys.write}:".encode())],
            [b"Authorization: Basic " + base64.b64encode(b"stranger:")],
            [b"Authorization: Basic ===="],
            [b"Authorization: Basic " + base64.b64encode(rng.randbytes(20))],
            [b"Authorization: Bearer " + keys.intake.encode()],
            [b"Authorization: " + b"\xff" * 20],
            [b"Authorization:"],
            [b"Authorization: Basic " + good] * 2,
        ))  # fmt: skip

    def _encoded(self, body: bytes, headers: list[bytes]) -> bytes:
        rng = self._rng
        if self._often(0.75):
            return body
        headers.append(
            b"Content-Encoding: " + rng.choice((b"gzip", b"gzip", b"gzip", b"x-gzip", b"br", b"\xff", b"gzip, gzip"))
        )
        packed = gzip.compress(body, 1)
        return rng.choice((
            packed, packed, packed, body, packed[:-4], packed[: len(packed) // 2], packed + packed, packed + b"junk",
            gzip.compress(packed, 1), _BOMB if self._often(0.05) else packed,
        ))  # fmt: skip

    def _path(self, path: str) -> str:
        if self._often(0.85):
            return path + ("/" if self._often(0.2) else "")
        return self._rng.choice((
            "/", "*", "//v1//track", path + "?writeKey=x&a=%ff", path.upper(), path + "%00", path + "/../..",
            "/healthz", "/readyz", "/metrics", "/v1/" + "x" * 5_000, "http://elsewhere.test" + path,
            "/blip/%F0%9F%95%8A", "/v1/m", "/quickbot/" + "a" * 300, "/blip/../v1/track", path + "%2F", "/%",
        ))  # fmt: skip

    def _request(self, path: str, headers: list[bytes], body: bytes) -> Shot:
        rng = self._rng
        method = rng.choice(METHODS) if self._often(0.05) else "POST"
        if self._often(0.1):
            headers.append(rng.choice((
                b"Content-Type: text/plain", b"Content-Type: \xff", b"Idempotency-Key: \xc3\x28", b"Upgrade: h2c",
                b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c", b"Expect: 100-continue", b"Cookie: a=b; " * 50,
                b"X-Forwarded-For: 1.2.3.4", b"X-Retry-Count: -1", b"Origin: null",
            )))  # fmt: skip
        whole = True
        if self._often(0.15):
            headers.append(b"Transfer-Encoding: chunked")
            body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in self._pieces(body)) + b"0\r\n\r\n"
            if self._often(0.1):
                whole, body = False, body[: len(body) // 2] + b"\r\nG\r\n"
        else:
            size = len(body)
            if self._often(0.05):
                whole = False
                told = rng.choice(
                    (b"%d" % (size + 9), b"%d" % (size // 2), b"-1", b"1e3", b"99999999999999999999", b"")
                )
            else:
                told = b"%d" % size
            headers.append(b"Content-Length: " + told)
        line = f"{method} {path} HTTP/1.1".encode()
        return Shot(b"\r\n".join([line, *headers, b"", b""]) + body, whole, head=method == "HEAD")

    def _pieces(self, body: bytes) -> list[bytes]:
        size = self._rng.choice((1, 7, 1_000, 100_000)) if len(body) < 2_000 else 1_000
        return [body[at : at + size] for at in range(0, len(body), size)]


_BOMB = gzip.compress(b" " * (64 << 20), 9)
