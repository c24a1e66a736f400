"""A bot that forks with events in its buffer, as web servers and multiprocessing do."""

from collections.abc import Callable

import pytest

from support.installation import Installation, read_diary

Say = Callable[[str], None]


@pytest.mark.e2e
@pytest.mark.skipif("sys.platform == 'win32'", reason="no fork here")
def test_bot_that_forks(installation: Installation, say: Say) -> None:
    """Parent and children each deliver their own events once and in order; what was buffered stays the parent's."""
    installation.add("bot", "f" * 32)
    installation.workers(1)
    bot = installation.bot("bot", "fork", budget_s=10)
    parent = bot.finish()
    logs = [parent, *(read_diary(bot.diary.with_suffix(f".{name}")) for name in ("child", "grandchild"))]
    installation.drained("bot")

    findings = installation.judge("bot", logs)
    say(f"a bot that forks twice: {findings}")
    findings.assert_sound()
    installation.audit()
    assert [1000, 500, 500] == [len(log) for log in logs]
    assert {"accepted"} == {one.outcome for log in logs for one in log}
