from typing import Any

import pytest

from producer.blip.items import event

STORED, MS, SECONDS = "#envelope.storageDate", "1625559617643", "1625559616"


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({STORED: "2021-07-06T08:20:17Z", "date_created": MS}, "2021-07-06T08:20:17.000000Z"),
        ({STORED: "2021-07-06T08:20:17.1234567Z"}, "2021-07-06T08:20:17.123456Z"),
        ({STORED: "2021-07-06T05:20:17-03:00"}, "2021-07-06T08:20:17.000000Z"),
        ({STORED: "2021-07-06T08:20:17"}, "2021-07-06T08:20:17.000000Z"),
        ({"date_created": MS, "#wa.timestamp": SECONDS}, "2021-07-06T08:20:17.643000Z"),
        ({"#date_processed": MS}, "2021-07-06T08:20:17.643000Z"),
        ({"#envelope.timestamp": MS}, "2021-07-06T08:20:17.643000Z"),
        ({"#wa.timestamp": SECONDS}, "2021-07-06T08:20:16.000000Z"),
        ({"date_created": 1625559617643}, "2021-07-06T08:20:17.643000Z"),
        ({STORED: "yesterday", "date_created": "soon", "#wa.timestamp": SECONDS}, "2021-07-06T08:20:16.000000Z"),
        ({STORED: "0001-01-01T00:00:00Z", "#wa.timestamp": SECONDS}, "2021-07-06T08:20:16.000000Z"),
        ({STORED: None, "date_created": None}, None),
        ({"date_created": "9" * 5000, "#wa.timestamp": "-5"}, None),
        ({"date_created": True}, None),
        ({}, None),
    ],
)
def test_the_moment_of_a_message(metadata: dict[str, Any], expected: str | None) -> None:
    """The first of Blip's dates that is one counts, in its own unit; without any it is left to the arrival."""
    item = {"id": "1", "from": "1@0mn.io", "to": "b@msging.net", "type": "text/plain", "content": "oi"}
    assert expected == event({**item, "metadata": metadata}).get("timestamp")
