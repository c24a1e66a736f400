"""Import: put dead letters back that a file of the folder of exports holds."""

import uuid
from pathlib import Path
from typing import Any, ClassVar, Final

from redis.client import Redis
from rq.job import Job

from pombo.shared.deadletters import DeadLetter, read_line, restore, restore_steps
from pombo.shared.errors import RestoreError
from pombo.shared.logs import get_logger
from pombo.shared.sources import Source
from pombo.worker.jobs.files import Line, Reading
from pombo.worker.jobs.frame import LONGEST_WAIT_S, Desk, Task, perform
from pombo.worker.jobs.queues import checked_rate, submit

COUNTS: Final = ("restored", "present", "bad")
"""Letters put back, letters that had never left, and lines that hold none."""
TOLD = 5
"""Lines of no use that are told by their numbers."""

log = get_logger("pombo.worker.jobs")


class Import(Task):
    """One import.

    Its life, as kept in the job's meta: `at` and `line` are the byte and the number of the line to read next, and
    `sequence` numbers the steps: one that is repeated, because the run was cut off before it was noted, puts nothing
    back twice. The file stays as it is.

    Args:
        folder: where the file is.
        file: its name there.
        session: names the import; of letters and digits.
    """

    counts: ClassVar[tuple[str, ...]] = COUNTS

    def __init__(
        self, desk: Desk, source: str, *, folder: Path, file: str, session: str, rate: float | None = None
    ) -> None:
        fresh = {"file": file, "at": 0, "line": 1, "sequence": 1, "first_bad": [], "waits": None}
        super().__init__(desk, "import", source, rate, fresh)
        self._folder = folder
        self._session = session

    async def work(self) -> None:
        """Go on from where the meta says."""
        source = await self.desk.registry.get(self.source)
        with Reading.of(self._folder, self.meta["file"]) as reading:
            while lines := reading.lines(self.meta["at"], self.pace.size):
                self.desk.look()
                await self._take(source, lines, reading.size)

    def result(self) -> dict[str, Any]:
        """The counts, the file, and what is wrong with the first lines of no use."""
        return {**super().result(), "file": self.meta["file"], "first_bad": self.meta["first_bad"]}

    async def _take(self, source: Source, lines: list[Line], size: int) -> None:
        letters, bad = self._read(lines)
        await self.pace.turn()
        sequence, put, present = self.meta["sequence"], 0, 0
        for step in restore_steps(letters):
            found = await self._restore(source, step, sequence)
            sequence, put, present = sequence + 1, put + found[0], present + found[1]
        self.pace.spent(len(lines))
        # How many lines the file has is not known before its end; those read so far tell it well enough.
        read, at = self.meta["line"] - 1 + len(lines), lines[-1].end
        self.note(
            **self.add(restored=put, present=present, bad=len(bad), done=len(lines), line=len(lines)),
            first_bad=[*self.meta["first_bad"], *bad][:TOLD], at=at, sequence=sequence, waits=None,
            total=max(read, round(read * size / at)) if at else None, speed=self.pace.speed,
        )  # fmt: skip

    async def _restore(self, source: Source, letters: list[DeadLetter], sequence: int) -> tuple[int, int]:
        """Put letters back, waiting while the source may hold no more of them."""
        while True:
            try:
                found = await restore(
                    self.desk.redis, self.desk.keys, source, letters, session=self._session, sequence=sequence
                )
            except RestoreError as error:
                if self.meta["waits"] is None:
                    log.warning("import.waits", source=source.name, error=str(error))
                    self.note(waits=str(error))
                await self.desk.clock.sleep(LONGEST_WAIT_S / 10)
                self.desk.look()
                source = await self.desk.registry.get(self.source)
            else:
                return found.put, found.present

    def _read(self, lines: list[Line]) -> tuple[list[DeadLetter], list[dict[str, Any]]]:
        """The letters of some lines, and what is wrong with the others; empty lines are passed over."""
        letters: list[DeadLetter] = []
        bad: list[dict[str, Any]] = []
        for number, line in enumerate(lines, self.meta["line"]):
            if not line.text.strip():
                continue
            try:
                letters.append(read_line(line.text))
            except RestoreError as error:
                bad.append({"line": number, "error": str(error)})
        return letters, bad


def enqueue_import(
    connection: Redis, source: str, file: str, *, rate: float | None = None, by: str = "",
    namespace: str | None = None,
) -> Job:  # fmt: skip
    """Put the import of a file on the queue; the other arguments are those of `enqueue_redrive`.

    `file` is its name, and no path, in POMBO_EXPORT_DIR of the worker that does it.

    Raises:
        ConfigurationError: the rate is none.
    """
    return submit(
        connection, "import_file", (source, file, namespace), kind="import", source=source,
        description=f"import dead letters of {source} from {file}", by=by, namespace=namespace,
        options={"rate": checked_rate(rate), "session": uuid.uuid4().hex}, counts=COUNTS,
    )  # fmt: skip


def import_file(
    source: str, file: str, namespace: str | None = None, *, session: str, rate: float | None = None
) -> dict[str, Any]:
    """Do an import as RQ's current job; its result is `COUNTS`, what is wrong with the first bad lines, a sentence.

    Raises:
        UnknownSourceError: there is no such source.
        JobError: no such file is there, or it cannot be read.
    """
    return perform(
        namespace,
        lambda desk, settings: Import(
            desk, source, folder=settings.export_folder, file=file, session=session, rate=rate
        ),
    )
