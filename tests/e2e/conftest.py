"""An installation for each end-to-end test, and a voice."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from support.installation import Installation
from support.servers import DURABLE, STARTERS


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    """Server and simulator run; workers and bots are the test's. `POMBO_TEST_SHAPE` names the shape of the server."""
    name = os.environ.get("POMBO_TEST_SHAPE")
    with ExitStack() as stack:
        shape = stack.enter_context(STARTERS[name](**DURABLE)) if name else None
        yield stack.enter_context(Installation(tmp_path, shape))


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Print a line for people, also when the test passes."""

    def speak(line: str) -> None:
        with capsys.disabled():
            print(f"\n    {line}", end="", flush=True)

    return speak
