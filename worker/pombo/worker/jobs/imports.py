"""Import: put dead letters back that a file of the folder of exports holds."""

import uuid
from pathlib import Path
from typing import Any, ClassVar, Final

from redis.client import Redis
from rq.job import Job

from pombo.shared.deadletters import Numbered, Restored, digest_of, import_name, read_line, restore, restore_steps
from pombo.shared.errors import RestoreError
from pombo.shared.sources import Source
from pombo.worker.jobs.files import Line, Reading
from pombo.worker.jobs.frame import Desk, Task, Waits, perform
from pombo.worker.jobs.queues import checked_rate, submit

COUNTS: Final = ("restored", "present", "before", "bad")
"""Letters put back, letters that were there already, letters put back before, and lines that hold none."""
TOLD = 5
"""Lines of no use that are told by their numbers."""


class Import(Task):
    """One import.

    Its life, as kept in the job's meta: `import` names what Redis remembers of the file, the same for all who import
    it into this source, by whatever job or command; `at` and `line` are the byte and the number of the line to read
    next. A step that is repeated, because the run was cut off before it was noted, puts nothing back twice. The file
    stays as it is.

    Args:
        folder: where the file is.
        file: its name there.
        session: names this job, through all its runs.
        again: whether letters are put back, too, that the file's import put back before.
    """

    counts: ClassVar[tuple[str, ...]] = COUNTS

    def __init__(
        self, desk: Desk, source: str, *, folder: Path, file: str, session: str, rate: float | None = None,
        again: bool = False,
    ) -> None:  # fmt: skip
        fresh: dict[str, Any] = {"file": file, "import": None, "at": 0, "line": 1, "first_bad": []}
        super().__init__(desk, "import", source, rate, fresh)
        self._folder, self._session, self._again = folder, session, again

    async def work(self) -> None:
        """Go on from where the meta says."""
        source = await self.desk.registry.get(self.source)
        with Reading.of(self._folder, self.meta["file"]) as reading:
            if self.meta["import"] is None:
                content = digest_of(reading.file, self.desk.look)
                again = self._session if self._again else ""
                self.note(**{"import": import_name(content, source, again=again)})
            while lines := reading.lines(self.meta["at"], self.pace.size):
                self.desk.look()
                await self._take(source, lines, reading.size)

    def result(self) -> dict[str, Any]:
        """The counts, the file, and what is wrong with the first lines of no use."""
        return {**super().result(), "file": self.meta["file"], "first_bad": self.meta["first_bad"]}

    async def _take(self, source: Source, lines: list[Line], size: int) -> None:
        letters, bad = self._read(lines)
        step = next(restore_steps(letters), [])
        if len(step) < len(letters):
            # They are large: the lines behind them come with the next step, as each is noted by itself.
            last = step[-1].line
            lines, bad = lines[: last + 1 - self.meta["line"]], [one for one in bad if one["line"] <= last]
        await self.pace.turn()
        found = await self._restore(source, step) if step else Restored()
        self.pace.spent(len(lines))
        # How many lines the file has is not known before its end; those read so far tell it well enough.
        read, at = self.meta["line"] - 1 + len(lines), lines[-1].end
        counts = {"restored": found.put, "present": found.present, "before": found.before, "bad": len(bad)}
        self.progressed(
            **self.add(**counts, done=len(lines), line=len(lines)),
            first_bad=[*self.meta["first_bad"], *bad][:TOLD], at=at,
            total=max(read, round(read * size / at)) if at else None,
        )  # fmt: skip

    async def _restore(self, source: Source, letters: list[Numbered]) -> Restored:
        """Put letters back, if the source may hold more of them."""
        try:
            return await restore(
                self.desk.redis, self.desk.keys, source, letters, name=self.meta["import"], by=self._session
            )
        except RestoreError as error:
            raise Waits(str(error)) from None

    def _read(self, lines: list[Line]) -> tuple[list[Numbered], list[dict[str, Any]]]:
        """The letters of some lines, and what is wrong with the others; empty lines are passed over."""
        letters: list[Numbered] = []
        bad: list[dict[str, Any]] = []
        for number, line in enumerate(lines, self.meta["line"]):
            if not line.text.strip():
                continue
            try:
                letters.append(Numbered(number, read_line(line.text)))
            except RestoreError as error:
                bad.append({"line": number, "error": str(error)})
        return letters, bad


def enqueue_import(
    connection: Redis, source: str, file: str, *, rate: float | None = None, again: bool = False, by: str = "",
    namespace: str | None = None,
) -> Job:  # fmt: skip
    """Put the import of a file on the queue; the other arguments are those of `enqueue_redrive`.

    `file` is its name, and no path, in POMBO_EXPORT_DIR of the worker that does it. What was put back from it into
    this source before, by whatever job or command, stays as it is, unless it is to come back `again`.

    Raises:
        ConfigurationError: the rate is none.
    """
    return submit(
        connection, "import_file", (source, file, namespace), kind="import", source=source,
        description=f"import dead letters of {source} from {file}", by=by, namespace=namespace,
        options={"rate": checked_rate(rate), "session": uuid.uuid4().hex, **({"again": True} if again else {})},
        counts=COUNTS,
    )  # fmt: skip


def import_file(
    source: str, file: str, namespace: str | None = None, *, session: str, rate: float | None = None,
    again: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Do an import as RQ's current job; its result is `COUNTS`, what is wrong with the first bad lines, a sentence.

    Raises:
        UnknownSourceError: there is no such source.
        JobError: no such file is there, or it cannot be read.
    """
    return perform(
        namespace,
        lambda desk, settings: Import(
            desk, source, folder=settings.export_folder, file=file, session=session, rate=rate, again=again
        ),
    )
