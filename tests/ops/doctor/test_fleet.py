from pombo.ops.doctor.fleet import fleet_checks, jobs_check
from pombo.ops.jobcount import Jobs
from pombo.ops.overview import SourceView, WorkerView
from pombo.shared.flow import Flow
from pombo.shared.ledger import Ledger
from pombo.shared.sources import Source

NOW = 1_000_000_000
BEFORE = NOW // 1000 - 1
SOURCE = Source(name="bot", incarnation="i")
WAITING = SourceView(SOURCE, Flow(NOW), Ledger(queued=5))
IDLE = SourceView(SOURCE, Flow(NOW), Ledger())


def worker(name: str = "w", *, at: int = BEFORE, version: str | None = "1.0") -> WorkerView:
    """A worker that beat a second ago."""
    return WorkerView(name, host="h", beat=7, at=at, version=version)


def found(*workers: WorkerView, view: SourceView = WAITING, unowned: int = 0) -> dict[str, bool]:
    """Verdicts by name."""
    return {check.name: check.ok for check in fleet_checks(workers, [view], {"bot": unowned}, NOW)}


def test_nobody_delivers() -> None:
    """Without a living worker waiting events are a finding; a worker that was killed does not count."""
    silent = worker(at=BEFORE - 60)
    assert {"workers": False} == found() == found(silent)
    assert {"workers": True} == found(view=IDLE)
    assert {"workers": True, "worker versions": True, "partitions": True} == found(worker(), silent)


def test_partitions_left_alone() -> None:
    """Old events in partitions that no living worker holds are a finding."""
    assert found(worker(), unowned=2)["partitions"] is False


def test_versions_that_differ() -> None:
    """Workers of different versions are worth a word, those that do not tell theirs among them."""
    told = [c for c in fleet_checks([worker("a"), worker("b", version=None)], [IDLE], {}, NOW) if c.remedy]
    assert ["they differ: 1.0, an older pombo"] == [check.detail for check in told]


def test_jobs_need_somebody() -> None:
    """Jobs without a process that does them are a finding; without any it is worth a word."""
    assert [True, False, True] == [jobs_check(Jobs(*jobs)).ok for jobs in ((3, 1), (3, 0), (0, 0))]
    assert jobs_check(Jobs(0, 0)).remedy is not None


def test_who_lives() -> None:
    """A worker lives whose word is seconds old at most, or that has just begun; one that cannot be read does not."""
    assert worker().alive(NOW)
    assert WorkerView("w", beat=1, at=0).alive(NOW)
    assert [True, False] == [worker(at=NOW // 1000 - told).alive(NOW) for told in (4, 5)]
    assert not WorkerView("what").alive(NOW)
