"""Identity: the messageId of what a block sends, the same when it is sent again.

Segment finds duplicates among the messageIds of all its customers, so an id is a hash of all that sets it apart.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from pombo.shared.values import clean, dumps

PREFIX = "quickbot-"
_DIGITS = 40
"""Hexadecimal digits of SHA-256 that are kept: 160 bits."""


def message_id(place: str | Mapping[str, Any], scope: str, kind: str, key: str) -> str:
    """A messageId of 49 characters from an idempotency key or a result id (`kind` says which).

    `place` is the id of the block, or for a block that has none the event.
    """
    return PREFIX + hashlib.sha256(dumps(clean([scope, kind, key, place], ""))).hexdigest()[:_DIGITS]
