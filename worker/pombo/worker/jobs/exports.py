"""Export: write dead letters to a file, and, if wanted, discard what it then holds."""

import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Final

import orjson
from redis.client import Redis
from rq.job import Job

from pombo.shared.deadletters import DeadLetter, Filter, Page
from pombo.shared.deadletters import discard as discard_letters
from pombo.shared.errors import JobError, UnknownSourceError
from pombo.shared.sources import Source
from pombo.worker.jobs.criteria import words
from pombo.worker.jobs.drafts import Draft, sweep
from pombo.worker.jobs.files import Reading, made_folder, new_name, stream_id_of
from pombo.worker.jobs.frame import Desk, perform
from pombo.worker.jobs.queues import checked_rate, submit
from pombo.worker.jobs.walk import Step, Walk, still_there

COUNTS: Final = ("letters", "bytes", "removed", "unreadable")
"""Letters written, bytes of the file, letters discarded after that, letters of an unknown version."""


class Export(Walk):
    """One export; see `Walk`.

    It needs no note of an intent while it writes: a run that follows one that was cut off goes on behind the `bytes`
    of the checkpoint, which are those of `part`. `phase` is `writing`, `closing` before the file gets its name, then
    `removing` and `complete`; or `dropped`, when it was given up and its half deleted. While removing, `at` is the byte
    of the file up to which its letters were discarded.

    Args:
        folder: where the file is made.
        file: its name.
        discards: whether to discard the letters that it holds when it is complete.
    """

    counts: ClassVar[tuple[str, ...]] = COUNTS
    deed = "removed"

    def __init__(
        self, desk: Desk, source: str, wanted: Filter, *, folder: Path, file: str, discards: bool = False,
        limit: int | None = None, rate: float | None = None, kind: str = "export",
        fresh: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        begun = {
            "phase": "writing", "at": 0, "discards": discards, "host": None, "path": None, "complete": False,
            # An older pombo called it so.
            "part": f".{file}.part",
        }  # fmt: skip
        super().__init__(desk, kind, source, wanted, limit=limit, rate=rate, fresh={**begun, **(fresh or {})})
        self.folder = folder
        self.draft = Draft(folder / file)

    async def run(self) -> dict[str, Any]:
        """Do it, and let go of the file."""
        try:
            return await super().run()
        finally:
            self.draft.close()

    async def work(self) -> None:
        """Go on from where the meta says."""
        source = await self.desk.registry.get(self.source)
        if self.meta["end"] is None:
            sweep(self.folder)
            await self.begin(source)
        if self.meta["phase"] in {"writing", "closing"}:
            self._resume()
        if self.meta["phase"] == "writing":
            await self._write(source)
        if self.meta["phase"] == "closing":
            self._close()
        if self.meta["phase"] == "removing":
            await self._remove(source)

    def result(self) -> dict[str, Any]:
        """The counts, and where the file is."""
        return {**super().result(), "host": self.meta["host"], "path": self.meta["path"]}

    async def give_up(self) -> None:
        """Leave no half of a file."""
        if self.meta["phase"] in {"writing", "closing"}:
            self._drop()
        await super().give_up()

    def superseded(self) -> None:
        """Take away what only this run would have gone on with."""
        self.draft.drop()

    async def sorter(self, source: Source, page: Page) -> Callable[[DeadLetter], str | None]:
        """Pass over none."""
        return lambda letter: None

    async def take(self, source: Source, step: Step) -> None:
        """Append a step's letters to the file."""
        then: dict[str, Any] = {"next": step.next, **self.add(**step.passed)}
        if step.chosen:
            await self.pace.turn()
            made_folder(self.folder)
            if self.meta["part"] != self.draft.name:
                self.note(part=self.draft.name)
            lines = b"".join(line_of(letter) for letter in step.chosen)
            then["bytes"] = self.draft.write(lines, self.meta["bytes"])
            then |= self.add(letters=len(step.chosen), done=len(step.chosen))
            self.pace.spent(len(step.chosen))
        self.progressed(**then)

    async def act(self, source: Source, letters: Sequence[DeadLetter]) -> int:
        """Discard letters that the file holds."""
        return await discard_letters(self.desk.redis, self.desk.keys, source.name, letters)

    def _resume(self) -> None:
        """Go on with what the run before wrote; where it is not, as on another machine, begin anew."""
        before, size = self.meta["part"], self.meta["bytes"]
        if not self.draft.take_over(before, size):
            if size and not (self.meta["phase"] == "closing" and self.draft.published(size)):
                self.note(phase="writing", next=self.start, bytes=0, letters=0, done=0, unreadable=0)
        elif self.draft.name != before:
            self.note(part=self.draft.name)
            with suppress(OSError):
                (self.folder / before).unlink()

    async def _write(self, source: Source) -> None:
        try:
            await self.walk(source)
        except (JobError, UnknownSourceError):
            # Nothing goes on with it, and a disk that is full should not fill up with halves of files.
            self._drop()
            raise
        if self.meta["letters"]:
            self.note(phase="closing", host=socket.gethostname(), path=str(self.draft.path))
        else:
            self.note(phase="complete")

    def _drop(self) -> None:
        self.draft.take_over(self.meta["part"], 0)
        self.draft.drop()
        self.note(phase="dropped")

    def _close(self) -> None:
        path = self.draft.publish(self.meta["bytes"])
        self.note(phase="removing" if self.meta["discards"] else "complete", complete=True, path=str(path))

    async def _remove(self, source: Source) -> None:
        """Discard what the file holds, a page of its lines at a time."""
        self._settle_removal(await self._pending(source))
        try:
            with Reading.of(self.folder, Path(self.meta["path"]).name) as reading:
                await self._remove_lines(source, reading)
        except JobError as error:
            raise JobError(
                f"{error}; it was written on {self.meta['host']}, and {self.meta['removed']:,} of its "
                f"{self.meta['letters']:,} letters were discarded: the others are still there"
            ) from None
        self.note(phase="complete")

    async def _remove_lines(self, source: Source, reading: Reading) -> None:
        while lines := reading.lines(self.meta["at"], self.pace.size):
            self.desk.look()
            await self.pace.turn()
            ids = [stream_id_of(line.text) for line in lines]
            letters = await still_there(self.desk, source.name, ids)
            self.note(pending={"ids": [letter.stream_id for letter in letters]})
            await self.act(source, letters)
            self.pace.spent(len(letters))
            self.progressed(**self.add(removed=len(letters)), pending=None, at=lines[-1].end)

    async def _pending(self, source: Source) -> int:
        """How many letters of the step that was cut off are gone."""
        ids = (self.meta["pending"] or {"ids": []})["ids"]
        return len(ids) - len(await still_there(self.desk, source.name, ids))

    def _settle_removal(self, gone: int) -> None:
        if self.meta["pending"] is not None:
            self.note(**self.add(removed=gone), pending=None)


def line_of(letter: DeadLetter) -> bytes:
    """A letter as a line of a file."""
    return orjson.dumps(letter.show(), option=orjson.OPT_APPEND_NEWLINE)


def enqueue_export(
    connection: Redis, source: str, wanted: Filter, *, limit: int | None = None, rate: float | None = None,
    discard: bool = False, by: str = "", namespace: str | None = None, total: int | None = None,
) -> Job:  # fmt: skip
    """Put an export of one source's dead letters on the queue; the arguments are those of `enqueue_redrive`.

    The file is made in POMBO_EXPORT_DIR of the worker that does it; the result says where. With `discard`, the letters
    that it holds are discarded when it is complete and on the disk.

    Raises:
        ConfigurationError: the rate is none.
    """
    deed = "export and discard" if discard else "export"
    return submit(
        connection, "export", (source, wanted.describe(), limit, namespace), kind="export", source=source,
        description=f"{deed} dead letters of {source}{words(wanted)}", by=by, namespace=namespace, total=total,
        options={"rate": checked_rate(rate), "file": new_name(source, datetime.now(UTC)), "discards": discard},
        counts=COUNTS,
    )  # fmt: skip


def export(
    source: str, criteria: Mapping[str, Any], limit: int | None = None, namespace: str | None = None, *,
    file: str, discards: bool = False, rate: float | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Do an export as RQ's current job; its result is `COUNTS`, the file's host and path, and a sentence.

    Raises:
        UnknownSourceError: there is no such source.
        JobError: the file cannot be written.
    """
    wanted = Filter.parse(criteria)
    return perform(
        namespace,
        lambda desk, settings: Export(
            desk, source, wanted, folder=settings.export_folder, file=file, discards=discards, limit=limit, rate=rate
        ),
    )
