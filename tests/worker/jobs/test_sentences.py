from typing import Any

import pytest

from pombo.worker.jobs.sentences import told

FILE = {"path": "/exports/f", "host": "h", "bytes": 1234, "complete": True}


@pytest.mark.parametrize(
    ("meta", "sentence"),
    [
        ({"kind": "redrive", "moved": 1}, "1 dead letter redriven"),
        ({"moved": 1200}, "1,200 dead letters redriven"),
        (
            {"kind": "redrive", "moved": 2, "unreadable": 3},
            "2 dead letters redriven; 3 of another version of pombo left alone",
        ),
        ({"kind": "discard", "discarded": 9, "done": 3}, "3 dead letters discarded, 9 events in all"),
        ({"kind": "export", "letters": 2, **FILE}, "2 dead letters exported to /exports/f on h (1,234 bytes)"),
        (
            {"kind": "import", "restored": 2, "file": "f", "present": 1},
            "2 dead letters put back from f; 1 were there already",
        ),
        (
            {"kind": "retention", "letters": 2, "discards": True, "removed": 2, **FILE},
            "retention: 2 dead letters exported to /exports/f on h (1,234 bytes), and 2 of them discarded",
        ),
        ({"kind": "automatic_redrive", "moved": 0}, "0 dead letters of the outage redriven"),
    ],
)
def test_what_a_job_did(meta: dict[str, Any], sentence: str) -> None:
    """In numbers, and with the places of files."""
    assert sentence == told(meta)


@pytest.mark.parametrize(
    "kind", ["redrive", "discard", "export", "import", "retention", "automatic_redrive", "one of a newer pombo"]
)
def test_a_job_that_did_nothing_yet(kind: str) -> None:
    """Whatever is not in the meta yet is nothing."""
    assert told({"kind": kind})
