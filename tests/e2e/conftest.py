"""An installation for each end-to-end test, and a voice."""

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from support.installation import Installation
from support.results import record_end
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


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep which tests failed for the report on reliability: a result is recorded before its limits are judged."""
    report = yield
    if report.failed and call.excinfo is not None:
        record_end(item.nodeid, f"{call.when}: {call.excinfo.exconly()}")
    elif report.passed and call.when == "call":
        record_end(item.nodeid, None)
    return report
