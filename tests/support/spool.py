"""What a spool folder holds, for end-to-end tests."""

from pathlib import Path

from pombo.producer.spool import SpooledSource, read_spool, spool_path
from support.installation import Installation, until


def _read(folder: Path) -> list[SpooledSource]:
    return read_spool(spool_path(folder, "pombo"))


def spooled(folder: Path) -> int:
    """Events in a spool."""
    return sum(source.events for source in _read(folder))


def stuck(folder: Path) -> dict[str, str]:
    """Its sources that wait for something other than the weather, and for what."""
    return {source.source: source.stuck for source in _read(folder) if source.stuck}


def drain(here: Installation) -> None:
    """Have a process that issues nothing of its own empty the spool."""
    heir = here.bot("bot", "wait", spool=here.spool)
    until(lambda: "ready" in heir.child.output.read_text("utf-8"), "a process at the spool")
    until(lambda: not spooled(here.spool), "empty spool")
    heir.stop()
