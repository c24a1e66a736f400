"""A spool that takes nothing: full, no folder, gone, on a full disk. What it took before is not lost."""

import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from support.disk import fill, small_disk
from support.installation import Bot, Installation, until
from support.oracle import ACCEPTED, Issued
from support.results import record
from support.spool import drain, spooled
from support.weather import slowest

Say = Callable[[str], None]

KEY = "d" * 32
SPOOL_BYTES = 60_000
SOME = 200
LINES = 12
"""That a bot may log about all of it; what is rejected here are thousands of events."""


def _count(bot: Bot, outcome: str, since: float = 0.0) -> int:
    assert bot.child.lives, bot.child.log.read_text()
    return sum(one.outcome == outcome and one.at > since for one in bot.issued())


def _refused(issued: list[Issued]) -> int:
    return sum(one.outcome not in ACCEPTED for one in issued)


def _stream(here: Installation, folder: Path, *options: str, rate: float = 400) -> Bot:
    return here.stream("bot", "a", users=20, rate=rate, spool=folder, options=[*options, "--metrics"])


def _log(bot: Bot) -> list[str]:
    return bot.child.log.read_text("utf-8", "replace").splitlines()


def _prove(
    here: Installation,
    say: Say,
    bot: Bot,
    kills: list[float],
    what: str,
    *said: str,
    mend: Callable[[], None] | None = None,
) -> list[Issued]:
    """Let the bot go on to a Redis that is back, `mend` the disk; hold what the bot was told against what arrived."""
    back = here.restart_server()
    if mend is not None:
        until(lambda: sum(one.at > back for one in bot.issued()) > SOME, "outcomes before it is mended")
        mend()
    until(lambda: _count(bot, "accepted", back) > SOME, "direct appends")
    until(lambda: bot.metric("pombo_rejected_events_total") == _refused(bot.issued()), "a count of every rejection")
    issued = bot.stop()
    here.drained("bot")
    findings = here.judge("bot", [issued], kills=[*kills, back])
    lines = _log(bot)
    outcomes = dict(Counter(one.outcome for one in issued))
    say(f"{what}: {outcomes}, slowest {slowest([issued]):.2f} s, {len(lines)} lines logged; {findings}")
    record(
        "The machine", f"spool: {what}", f"refused at once, {slowest([issued]):.2f} s at most; what it held arrived",
        findings=findings,
    )  # fmt: skip
    findings.assert_sound()
    here.audit()
    assert len(lines) <= LINES, lines
    assert all(any(text in line for line in lines) for text in said), lines
    return issued


@pytest.mark.e2e
def test_full_spool(installation: Installation, say: Say) -> None:
    """At its bound a spool refuses what is new and keeps what it has."""
    installation.add("bot", KEY)
    installation.workers(1)
    bot = _stream(installation, installation.spool, "--spool-bytes", str(SPOOL_BYTES))
    kills = [installation.kill_server()]
    until(lambda: _count(bot, "unavailable") > SOME, "rejections")
    assert _count(bot, "spooled") > 0
    issued = _prove(installation, say, bot, kills, f"a spool of {SPOOL_BYTES:,} bytes", "is full", "spool_bytes")
    assert {"accepted", "spooled", "unavailable"} == {one.outcome for one in issued}
    assert 0 == spooled(installation.spool)


@pytest.mark.e2e
def test_folder_that_is_none(installation: Installation, say: Say) -> None:
    """A bot with a wrong folder works while Redis does, and names the folder when it does not."""
    installation.add("bot", KEY)
    installation.workers(1)
    installation.spool.write_text("no folder")
    bot = _stream(installation, installation.spool)
    kills = [installation.kill_server()]
    until(lambda: _count(bot, "unavailable") > SOME, "rejections")
    issued = _prove(installation, say, bot, kills, "a file in place of the folder", str(installation.spool))
    assert {"accepted", "unavailable"} >= {one.outcome for one in issued} - {"unconfirmed"}


@pytest.mark.e2e
def test_folder_removed(installation: Installation, say: Say) -> None:
    """After somebody removed the folder, spooled means on the disk again: it outlives a kill."""
    installation.add("bot", KEY)
    installation.workers(1)
    bot = _stream(installation, installation.spool)
    kills = [installation.kill_server()]
    until(lambda: _count(bot, "spooled") > SOME, "spooled receipts")
    shutil.rmtree(installation.spool)
    removed = time.time()
    until(lambda: _count(bot, "spooled", removed) > SOME, "spooled receipts again")
    killed = bot.kill()
    gone = {one.message_id for one in killed if one.outcome == "spooled" and one.at <= removed}
    heard = [one for one in killed if one.message_id not in gone]

    kills.append(installation.restart_server())
    drain(installation)
    installation.drained("bot")
    arrived = [row for row in installation.segment.events() if row["message_id"] not in gone]
    lost = {one.message_id for one in heard if one.outcome in {"accepted", "spooled"}}
    lost -= {row["message_id"] for row in arrived}
    say(f"folder removed: {len(gone)} events gone with it, {len(heard)} heard of later, {len(lost)} of them lost")
    assert set() == lost
    installation.audit()


@pytest.mark.e2e
@pytest.mark.parametrize("filled", [False, True], ids=["by the spool", "by others"])
def test_full_disk(installation: Installation, say: Say, filled: bool) -> None:
    """A full disk refuses events; it drains once Redis is back, and where others filled it, once there is room."""
    installation.add("bot", KEY)
    installation.workers(1)
    with small_disk(installation.folder / "disk", "2m") as disk:
        bot = _stream(installation, disk, rate=1_000)
        kills = [installation.kill_server()]
        until(lambda: _count(bot, "spooled") > SOME, "spooled receipts")
        if filled:
            fill(disk / "others")
        until(lambda: _count(bot, "unavailable") > SOME, "rejections")
        what = f"a full disk of 2 MB, filled {'by others' if filled else 'by the spool'}"
        mend = (disk / "others").unlink if filled else None
        issued = _prove(installation, say, bot, kills, what, "disk", mend=mend)
        assert 0 == spooled(disk)
    assert {"accepted", "spooled", "unavailable"} == {one.outcome for one in issued}
