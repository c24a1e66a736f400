"""The process that runs jobs: RQ's worker, made fit to be killed.

1. A worker that is told to stop kills its running job and puts it back on the queue, for the checkpoint is as
   good as the end. A job that was killed from outside is put back too.
2. A worker that is killed takes its running job with it. Another one, or the next, notices within 40 s and puts
   the job back. Altogether a job goes back `RESTARTS` times.
3. A running job that is cancelled is asked to end between two steps, and killed when it does not within `GRACE_S`.
4. A job that can only wait puts itself behind those that wait for its worker.
"""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

from redis.client import Pipeline, Redis
from redis.exceptions import RedisError
from rq import Queue, Worker, worker_registration
from rq.command import parse_payload
from rq.exceptions import DeserializationError, NoSuchJobError, StopRequested
from rq.executions import Execution
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.utils import now
from rq.worker import WorkerStatus

from pombo.shared.connection import connect, jobs_url, transient
from pombo.shared.lifeline import PARENT_FD, die_with_parent
from pombo.shared.logs import configure_logs, get_logger
from pombo.shared.processes import deaths_in_row
from pombo.shared.settings import read_settings
from pombo.worker.jobs.criteria import forget
from pombo.worker.jobs.frame import SEAT, STOPPED_CODE, listen
from pombo.worker.jobs.queues import RESTARTS, queue
from pombo.worker.jobs.runs import CANCEL, SIGN_OF_LIFE_S
from pombo.worker.jobs.schedule import Scheduler
from pombo.worker.jobs.upkeep import reclaim

WORKER_TTL_S = 30
"""RQ forgets a silent worker 60 s after this. What is sent to Redis fails after 5 s less: 15 s less is how long RQ
waits for a job at a time, and it allows 10 s more."""
HEARTBEAT_S = 5
"""Between two signs of life of a running job. Its worker has given another one, or has failed with Redis and killed the
job, after this and 25 s more: `SIGN_OF_LIFE_S`, after which others take the job, is longer than both."""
MAINTENANCE_S = 15
"""Between two times that an idle worker has RQ tidy up."""
LONGEST_WAIT_S = 5.0
"""Between two tries to reach Redis again."""
AWAY_S = 1.0
LONGEST_AWAY_S = 30.0
"""Between two tries with a Redis that is away or refuses: doubled from `AWAY_S` up to this."""
QUIET_S = 60.0
"""Without trouble, after which the next trouble is told anew."""
GRACE_S = 5.0
"""For a cancelled job to end by itself: a step takes less, a look at a Redis that is away may not."""
STOPS = (signal.SIGTERM, signal.SIGINT)

log = get_logger("pombo.worker.jobs")


class JobWorker(Worker):
    """RQ's worker, whose running job ends with it, and goes back to the queue where it was.

    RQ alone waits at a stop until the job has ended; leaves a job running whose worker was killed; and puts a
    job that was killed back with the meta that it had at its start.
    """

    max_connection_wait_time = LONGEST_WAIT_S

    def __init__(self, connection: Redis, namespace: str | None = None) -> None:
        jobs = queue(connection, namespace)
        super().__init__(
            [jobs], connection=connection, serializer=JSONSerializer, worker_ttl=WORKER_TTL_S,
            job_monitoring_interval=HEARTBEAT_S, maintenance_interval=MAINTENANCE_S,
        )  # fmt: skip
        self.told_to_stop = False
        self._jobs = jobs
        # The running job holds the read end; the write end closes when this process is gone.
        self._read_end, self._write_end = os.pipe()

    def check_for_suspension(self, burst: bool) -> None:
        """Let signals in: RQ calls this first where it minds them."""
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
        super().check_for_suspension(burst)

    def handle_warm_shutdown_request(self) -> None:
        """Kill the running job, if there is one; called by the signal handler."""
        self.told_to_stop = self._stop_requested = True
        if self.horse_pid:
            self.kill_horse()

    def get_heartbeat_ttl(self, job: Job, working_time: float = 0.0) -> int:
        """Seconds after a sign of life in which the job is nobody else's."""
        return SIGN_OF_LIFE_S

    def clean_registries(self) -> None:
        """Tidy up the queue's registries.

        RQ alone goes by the clocks of its workers' machines, and stores jobs with the meta that it read before.
        """
        for run in reclaim(self._jobs).spent:
            self._fail(run)
        self._jobs.finished_job_registry.cleanup()
        self._jobs.failed_job_registry.cleanup()
        worker_registration.clean_worker_registry(self._jobs)
        self._jobs.intermediate_queue.cleanup(self, self._jobs)
        self.last_cleaned_at = now()  # type: ignore[assignment]

    def _fail(self, run: Execution) -> None:
        """End a job whose workers died again and again."""
        with suppress(NoSuchJobError):
            job = Job.fetch(run.job_id, connection=self.connection, serializer=JSONSerializer)
            job.ended_at = now()
            self.handle_job_failure(job, self._jobs, exc_string=f"its worker died {RESTARTS + 1} times")
        self.connection.zrem(self._jobs.started_job_registry.key, run.composite_key)

    def heartbeat(self, timeout: int | None = None, pipeline: Pipeline | None = None) -> None:
        """Give a sign of life, and be known as a worker, too: Redis may have lost all that it knew.

        Raises:
            StopRequested: it was told to stop. The handler of the signal raises that as well, but where it comes in
                the midst of a finaliser, or of a line of the log, Python drops it.
        """
        if self.told_to_stop and self.get_state() != WorkerStatus.BUSY:
            raise StopRequested
        super().heartbeat(timeout, pipeline)
        worker_registration.register(self, pipeline)

    def teardown(self) -> None:
        """Leave the fleet of RQ's workers, which no further signal is to cut off; what it may wait for comes last."""
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
        if not self.is_horse and self.horse_pid:
            self.kill_horse()
        super().teardown()  # type: ignore[no-untyped-call]

    def execute_job(self, job: Job, queue: Queue) -> None:
        """Do a job; a stop that came for one that had just ended is not meant for this one."""
        self._stopped_job_id = None
        super().execute_job(job, queue)

    def handle_payload(self, message: dict[Any, Any]) -> None:
        """Heed a command: RQ's own way to stop a job kills it at once."""
        payload = parse_payload(message)
        if payload.get("command") != "stop-job":
            super().handle_payload(message)  # type: ignore[no-untyped-call]
            return
        for execution in [*self.executions.values()]:
            if execution.job_id == payload.get("job_id"):
                self.request_stop_execution(execution.id)

    def request_stop_execution(self, execution_id: str) -> None:
        """Have the running job end between two steps, so that its counts are exact; called from RQ's listening thread.

        RQ alone would kill it at once.
        """
        execution = self.executions.get(execution_id)
        if execution is None:
            return
        # Should the process not mind signals yet, or be killed first, the mark tells the job's next run.
        with suppress(RedisError, OSError):
            self.connection.hset(Job.key_for(execution.job_id), CANCEL, 1)
        self._stopped_job_id, pid = execution.job_id, self.horse_pid
        if not pid:
            return
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        late = threading.Timer(GRACE_S, self._kill_late, (pid,))
        late.daemon = True
        late.start()

    def _kill_late(self, pid: int) -> None:
        if self.horse_pid == pid:
            self.kill_horse()

    def setup_work_horse_signals(self) -> None:
        """Let SIGTERM ask the job to end; called in its process."""
        super().setup_work_horse_signals()  # type: ignore[no-untyped-call]
        listen()

    def handle_work_horse_killed(self, job: Job, retpid: Any, ret_val: Any, rusage: Any) -> None:
        """See what became of a job whose process did not end well.

        One that found the mark of somebody who wants it to end was stopped. Others go back as they stored themselves.
        """
        if ret_val is not None and os.WIFEXITED(ret_val) and os.WEXITSTATUS(ret_val) == STOPPED_CODE:
            self._stopped_job_id = job.id
            _end_as_stopped(job)
        job.meta = job.get_meta(refresh=True)

    def _handle_stopped_job(self, job: Job, queue: Queue, execution: Execution) -> None:
        _end_as_stopped(job)
        super()._handle_stopped_job(job, queue, execution)

    def handle_exception(self, job: Job, *exc_info: Any) -> None:
        """Have RQ log what a job raised, without whom the job is about: the log is given its arguments.

        It may be raised before the job's own precautions, as by arguments that only a newer pombo knows.
        """
        known = None
        with suppress(DeserializationError):
            known = job.args
            forget(job)
        super().handle_exception(job, *exc_info)
        if known is not None:
            # It may be tried again.
            job.args = known

    def handle_job_failure(self, job: Job, queue: Queue, *more: Any, **options: Any) -> None:
        """Have RQ store the end of a job that failed, which is kept for days, without whom it was about."""
        if not job.should_retry:
            with suppress(DeserializationError):
                forget(job)
        super().handle_job_failure(job, queue, *more, **options)

    def main_work_horse(self, job: Job, queue: Queue) -> None:
        """Run the job; called in the process forked for it."""
        os.close(self._write_end)
        os.environ[PARENT_FD] = str(self._read_end)
        die_with_parent(grace_s=0)
        SEAT.execution = self.execution
        super().main_work_horse(job, queue)

    def close(self) -> None:
        """Give the pipe back."""
        os.close(self._read_end)
        os.close(self._write_end)


def _end_as_stopped(job: Job) -> None:
    """Keep no word of whom it was about, nor the mark: somebody may have RQ run it again."""
    forget(job)
    job.connection.hdel(job.key, CANCEL)


class Outage(logging.Filter):
    """Tell trouble with Redis once; as a filter of RQ's logger, instead of RQ, which tells it at each of its tries."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._monotonic = monotonic
        self._last = -QUIET_S

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep a line back that RQ logs about the connection; those about jobs pass."""
        error = sys.exc_info()[1]
        if not isinstance(error, (RedisError, OSError)) or not transient(error) or "job" in str(record.msg):
            return True
        self.tell("jobs.redis_unavailable", f"{type(error).__name__}: {error}")
        return False

    def tell(self, event: str, error: str) -> None:
        """Log trouble, unless there was some a moment ago."""
        at = self._monotonic()
        if at - self._last >= QUIET_S:
            note = "tried again and again; the next line comes after it worked for a while"
            log.warning(event, error=error, note=note)
        self._last = at


def work() -> None:
    """Run jobs until told to stop; Redis may be away, at the start too."""
    settings = read_settings()
    configure_logs(settings.log_level, settings.log_format)
    # RQ registers a worker before it minds signals; one that a signal ended in between would seem to live.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    die_with_parent()
    failures, outage = 0, Outage()
    logging.getLogger("rq.worker").addFilter(outage)
    # Its own connection: RQ forks, and what a thread has in hand then would be there twice.
    with connect(jobs_url(settings)) as connection, connect(jobs_url(settings)) as beside:
        Scheduler(beside, settings).start()
        while True:
            born = time.monotonic()
            trouble = _work(connection, settings.namespace)
            if trouble is None:
                return
            failures = deaths_in_row(failures, time.monotonic() - born)
            outage.tell(trouble.event, trouble.error)
            if signal.sigtimedwait(STOPS, away_s(failures)):
                return


def away_s(failures: int) -> float:
    """Seconds to wait after Redis failed us `failures` (1, 2, …) times in a row."""
    return min(LONGEST_AWAY_S, AWAY_S * 2.0 ** min(failures - 1, 16))


class _Trouble(NamedTuple):
    event: str
    error: str


def _work(connection: Redis, namespace: str) -> _Trouble | None:
    """Run jobs until told to stop, which is None, or until Redis goes away or refuses."""
    try:
        worker = JobWorker(connection, namespace)
    except (RedisError, OSError) as error:
        if not transient(error):
            raise
        return _Trouble("jobs.redis_unavailable", f"{type(error).__name__}: {error}")
    trouble = _Trouble("jobs.interrupted", "RQ's worker ended")
    try:
        worker.work(logging_level="WARNING")
    except (RedisError, OSError) as error:
        trouble = trouble._replace(error=f"{type(error).__name__}: {error}")
    except StopRequested:
        # Raised by the signal's handler, after RQ had stopped minding it: as it ended by itself.
        assert worker.told_to_stop
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
        worker.close()
    return None if worker.told_to_stop else trouble
