"""Masking: a write key is taken out of whatever Segment, or a proxy before it, repeats of a request.

It is looked for as it was sent: in the body's JSON, and in the Base64 of Basic auth; and percent-encoded and in hex, as
error pages and dumps write it. This is done before anything is cut off, lest a part of it be left.
"""

import base64
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from urllib.parse import quote

import orjson

from pombo.worker.answers import Answer

MASK = "***"
_SHORTEST = 8
"""Characters below which a key is no secret of Segment's, and its Base64 too short to be told from other text."""


def masked(answer: Answer, write_key: str) -> Answer:
    """The answer without the write key that its request carried."""
    if not answer.body and not answer.failure:
        return answer
    body, failure = answer.body, answer.failure
    for writing in _writings(write_key):
        body = body.replace(writing, MASK.encode())
        failure = failure.replace(writing.decode(), MASK)
    return replace(answer, body=body, failure=failure)


@lru_cache(maxsize=1024)
def _writings(key: str) -> tuple[bytes, ...]:
    """What stands for the key, the longest first."""
    raw = key.encode()
    found = {raw, orjson.dumps(key)[1:-1]}
    if len(raw) >= _SHORTEST:
        found |= {quote(key, safe="").encode(), raw.hex().encode(), raw.hex().upper().encode(), *_base64(raw)}
    return tuple(sorted(found, key=len, reverse=True))


def _base64(raw: bytes) -> Iterator[bytes]:
    """What it is in Base64 at each of the three alignments, without the characters that it shares with neighbours."""
    for before in range(3):
        whole = base64.b64encode(bytes(before) + raw)
        yield whole[-(-8 * before // 6) : 8 * (before + len(raw)) // 6]
