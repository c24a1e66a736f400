import base64
from urllib.parse import quote

import pytest

from pombo.worker.answers import Answer
from pombo.worker.masking import MASK, masked
from support.canary import Canary, search

KEY = "k/Y+0123456789abcdefghijklmnopqr"
WRITINGS = {
    "JSON": f'{{"writeKey": "{KEY}"}}',
    "Basic auth": "Basic " + base64.b64encode(f"{KEY}:".encode()).decode(),
    "Base64 at one": base64.b64encode(f"a{KEY}z".encode()).decode(),
    "Base64 at two": base64.b64encode(f"ab{KEY}z".encode()).decode(),
    "percent": quote(KEY, safe=""),
    "hex": KEY.encode().hex(),
    "HEX": KEY.encode().hex().upper(),
    "twice": f"{KEY} and {KEY}",
}


@pytest.mark.parametrize("text", WRITINGS.values(), ids=WRITINGS.keys())
def test_a_repeated_key_is_masked(text: str) -> None:
    """However an answer writes the key of its request, nothing of it is kept, and the rest stays."""
    answer = masked(Answer(400, body=f"before {text} after".encode(), failure=f"before {text} after"), KEY)

    for kept in (answer.body.decode(), answer.failure):
        assert set() == search([("", kept.encode())], [Canary("key", KEY)])
        assert kept.startswith("before ")
        assert kept.endswith(" after")
        assert MASK in kept


def test_a_key_is_masked_before_the_answer_is_cut() -> None:
    """Of a key that stands where a dead letter's answer ends, no part is left."""
    answer = masked(Answer(400, body=b"x" * 2040 + KEY.encode()), KEY)

    assert "x" * 2040 + MASK == answer.text()


def test_a_short_key_masks_itself_alone() -> None:
    """The key of a test source is masked where it stands, and nothing that looks like its Base64."""
    answer = masked(Answer(400, body=b"test dGVzd test"), "test")

    assert b"*** dGVzd ***" == answer.body


def test_an_empty_answer_stays_as_it_is() -> None:
    """An answer without words has nothing to mask."""
    answer = Answer(200)

    assert answer is masked(answer, KEY)
