"""Installations that share a Redis for jobs, and nothing else: each sees, cancels and runs its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from rq.job import Job

from pombo.ops.jobboard import cancel, find_job, list_jobs, workers
from pombo.ops.jobcount import count_jobs
from pombo.shared.connection import aconnect, connect
from pombo.shared.deadletters import Filter
from pombo.shared.errors import UnknownJobError
from pombo.shared.keys import Keys
from pombo.shared.registry import Registry
from pombo.shared.secrets import Secrets, new_secret
from pombo.worker.jobs import enqueue_redrive, queue
from pombo.worker.jobs.schedule import Schedule
from support.jobprocess import bury, fetch, jobs_process, queued, set_environment
from support.jobs import JumpingClock
from support.servers import unix
from support.waiting import until

NAMESPACES = ("pombo", "other")


@pytest.fixture
def urls() -> Iterator[dict[str, str]]:
    """The Redis of each installation."""
    with unix() as first, unix() as second:
        yield dict(zip(NAMESPACES, (first.url, second.url), strict=True))


@pytest.fixture(autouse=True)
def environment(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_environment(monkeypatch, tmp_path, POMBO_JOBS_REDIS_URL=redis_url)


async def prepared(urls: dict[str, str], **options: float) -> None:
    """A source `bot` in each installation, with letters that name it."""
    for namespace, url in urls.items():
        client = aconnect(url)
        await Registry(client, Keys(namespace), Secrets([new_secret()])).add("bot", "k" * 32, partitions=2, **options)  # type: ignore[arg-type]
        await client.aclose()
        with connect(url) as redis:
            bury(redis, f"m-{namespace}", namespace=namespace)


def asked(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> dict[str, Job]:
    """A redrive of each installation's, as its own command line asks for it."""
    made = {}
    for namespace in NAMESPACES:
        monkeypatch.setenv("POMBO_NAMESPACE", namespace)
        made[namespace] = enqueue_redrive(redis, "bot", Filter())
    return made


async def test_each_runs_its_own(sync_redis: Redis, urls: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker leaves the other one's jobs alone, and moves its own letters in its own Redis."""
    await prepared(urls)
    jobs = asked(sync_redis, monkeypatch)
    with jobs_process(POMBO_NAMESPACE="other", POMBO_REDIS_URL=urls["other"]):
        until(lambda: fetch(sync_redis, jobs["other"]).is_finished, "end of the job")
    with connect(urls["pombo"]) as first, connect(urls["other"]) as second:
        assert (0, 1) == (queued(first), queued(second, "other"))
        assert "queued" == fetch(sync_redis, jobs["pombo"]).get_status()
        with jobs_process(POMBO_NAMESPACE="pombo", POMBO_REDIS_URL=urls["pombo"]):
            until(lambda: fetch(sync_redis, jobs["pombo"]).is_finished, "end of the job")
        assert (1, 1) == (queued(first), queued(second, "other"))


def test_each_sees_and_cancels_its_own(sync_redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one's jobs are none, and its workers do nothing here."""
    jobs = asked(sync_redis, monkeypatch)
    mine, theirs = jobs["other"], jobs["pombo"]
    assert [mine.id] == [view.id for view in list_jobs(sync_redis).jobs]
    assert ("pombo-jobs-other", "pombo-jobs") == (mine.origin, theirs.origin)
    for ask in (find_job, cancel):
        with pytest.raises(UnknownJobError):
            ask(sync_redis, theirs.id)
    with jobs_process(POMBO_NAMESPACE="pombo", POMBO_REDIS_URL=redis_url):
        until(lambda: fetch(sync_redis, theirs).get_status() == "failed", "end of a job of a source that is not there")
        assert (0, 0, 1) == (workers(sync_redis), count_jobs(redis_url).workers, count_jobs(redis_url).open)
        assert "queued" == cancel(sync_redis, mine.id).status
        monkeypatch.setenv("POMBO_NAMESPACE", "pombo")
        assert 1 == workers(sync_redis)
    assert ["failed"] == [view.status for view in list_jobs(sync_redis).jobs]


async def test_each_has_a_schedule_of_its_own(
    sync_redis: Redis, urls: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Retention of a source of the same name is due in both, and is each one's own job."""
    await prepared(urls, retention_s=60)
    made = {}
    for namespace, url in urls.items():
        monkeypatch.setenv("POMBO_NAMESPACE", namespace)
        client, clock = aconnect(url), JumpingClock()
        clock.elapsed = 10**9
        made[namespace] = await Schedule(sync_redis, client, Keys(namespace), clock).tick()
        await client.aclose()
    assert {1} == {len(ids) for ids in made.values()}
    assert made == {namespace: queue(sync_redis, namespace).get_job_ids() for namespace in NAMESPACES}
    assert 1 == sync_redis.hlen(Keys("pombo").schedule) == sync_redis.hlen(Keys("other").schedule)
