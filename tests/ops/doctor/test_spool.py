import time
from pathlib import Path

from pombo.ops.doctor.check import Check
from pombo.ops.doctor.spool import spool_checks
from pombo.shared.settings import Settings
from support.spooling import spool_events


def checks(folder: Path | None, known: set[str] | None, later_s: float = 0) -> dict[str, Check]:
    """The checks of a folder by name, as if made some seconds later."""
    settings = Settings(spool_dir=folder)
    return {check.name: check for check in spool_checks(settings, known, now=time.time() + later_s)}


def test_no_folder() -> None:
    """Without a folder events are rejected while Redis is away: worth a word, and no finding."""
    (check,) = checks(None, set()).values()
    assert check.ok
    assert "POMBO_SPOOL_DIR is not set" in check.detail


def test_an_empty_folder(tmp_path: Path) -> None:
    """A folder that can be used is well, and looking into it makes no database."""
    (check,) = checks(tmp_path, set()).values()
    assert (True, None) == (check.ok, check.remedy)
    assert [] == [*tmp_path.glob("*.sqlite3*")]


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    """Where the folder cannot be used, producers would reject: a finding."""
    file = tmp_path / "file"
    file.write_text("")
    (check,) = checks(file, set()).values()
    assert not check.ok
    assert str(file) in check.detail


def test_events_of_a_source_that_does_not_exist(tmp_path: Path) -> None:
    """What waits for a source that does not exist is named; while Redis is away nobody knows."""
    spool_events(tmp_path, "ghost", "m1", "m2")
    spool_events(tmp_path, "bot", "m3")
    found = checks(tmp_path, {"bot"})
    assert [True, False, True] == [found[name].ok for name in ("spool", "spool of ghost", "spool of bot")]
    assert "2 events" in found["spool of ghost"].detail
    assert (found["spool of ghost"].remedy or "").startswith("`pombo sources add ghost")
    assert all(check.ok for check in checks(tmp_path, None).values())


def test_events_that_nobody_sends(tmp_path: Path) -> None:
    """Old events of a source that could be sent, and stuck ones, are findings; old ones while Redis is away are not."""
    spool_events(tmp_path, "bot", "m1")
    assert checks(tmp_path, {"bot"}, 60)["spool of bot"].ok
    assert not checks(tmp_path, {"bot"}, 600)["spool of bot"].ok
    assert checks(tmp_path, None, 600)["spool of bot"].ok
    spool_events(tmp_path, "bot", "m2", stuck="backlog_full")
    assert "stuck, backlog_full" in checks(tmp_path, {"bot"})["spool of bot"].detail
