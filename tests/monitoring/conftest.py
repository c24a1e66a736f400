"""An installation that a real Prometheus can look at, and a voice."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.installation import Installation


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    """Server and simulator run; the rest is the test's."""
    with Installation(tmp_path) as made:
        yield made


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Print a line for people, also when the test passes."""

    def speak(line: str) -> None:
        with capsys.disabled():
            print(f"\n    {line}", end="", flush=True)

    return speak
