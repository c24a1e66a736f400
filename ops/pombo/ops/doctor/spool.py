"""The spool folder: whether producers here have one that works, and what waits in it."""

import time
from collections.abc import Iterator, Sequence, Set
from pathlib import Path

from pombo.ops.doctor.check import Check
from pombo.ops.wording import age, plural, size
from pombo.producer.spool import SpooledSource, check_folder, read_spool, spool_path
from pombo.shared.errors import SpoolError
from pombo.shared.settings import Settings

OLD_S = 300.0
"""Events of a source that can be sent leave within seconds; after this long nobody empties the folder."""


def spool_checks(settings: Settings, known: Set[str] | None, *, now: float | None = None) -> Iterator[Check]:
    """Look into the folder of POMBO_SPOOL_DIR.

    Args:
        settings: of this process.
        known: the names of the sources there are; None while Redis is away.
        now: unix seconds.
    """
    folder = settings.spool_dir
    if folder is None:
        detail = "POMBO_SPOOL_DIR is not set: producers started like this reject while Redis is away"
        yield Check("spool", True, detail, "set it for bots, to a folder on a local disk")
        return
    try:
        check_folder(folder)
        spooled = read_spool(spool_path(folder, settings.namespace))
    except SpoolError as error:
        yield Check("spool", False, str(error), "make POMBO_SPOOL_DIR a folder that bots can write")
        return
    yield _folder(folder, spooled)
    for one in spooled:
        yield from _source(one, known, time.time() if now is None else now)


def _folder(folder: Path, spooled: Sequence[SpooledSource]) -> Check:
    events = sum(one.events for one in spooled)
    if not events:
        return Check("spool", True, f"{folder} can be used, and is empty")
    return Check("spool", True, f"{folder} holds {plural(events, 'event')}, {size(sum(one.bytes for one in spooled))}")


def _source(one: SpooledSource, known: Set[str] | None, now: float) -> Iterator[Check]:
    name, waited = f"spool of {one.source}", now - one.oldest_at
    told = f"{plural(one.events, 'event')}, {size(one.bytes)}, the oldest of {age(max(0.0, waited))} ago"
    if not one.events:
        return
    if known is not None and one.source not in known:
        detail = f"{told}: waits for a source that does not exist"
        yield Check(name, False, detail, f"`pombo sources add {one.source} --write-key -`; then it is sent by itself")
    elif one.stuck:
        yield Check(name, False, f"{told}: stuck, {one.stuck}", f"`pombo sources show {one.source}`")
    elif known is not None and waited > OLD_S:
        detail = f"{told}, and Redis answers: no producer with this folder runs"
        yield Check(name, False, detail, f"start the bot, or anything with this folder: it sends them ({one.source})")
    else:
        yield Check(name, True, told)
