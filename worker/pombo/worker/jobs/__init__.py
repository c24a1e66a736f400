"""The control plane: RQ jobs, and the process that runs them.

Jobs travel as JSON on the queue `pombo-jobs`, so that nothing in Redis is ever unpickled. Each sets its own
timeout, keeps its checkpoint and its progress in `job.meta`, and may be killed at any point and run again. A job
waits out passing trouble with Redis by itself; what it raises is final: RQ does not run it again.

RQ stores the names of the functions here (`redrive`, `discard`, …) in its jobs: they stay, with the order of
their arguments.
"""

from pombo.worker.jobs.criteria import forget
from pombo.worker.jobs.discards import discard, enqueue_discard
from pombo.worker.jobs.exports import enqueue_export, export
from pombo.worker.jobs.imports import enqueue_import, import_file
from pombo.worker.jobs.process import QUIET_S, JobWorker, Outage, away_s, work
from pombo.worker.jobs.queues import QUEUE, RESTARTS, RESULT_TTL_S, queue, queue_name, worker_count
from pombo.worker.jobs.recovery import enqueue_recovery, recover
from pombo.worker.jobs.redrives import enqueue_redrive, redrive
from pombo.worker.jobs.retention import enqueue_retention, retain
from pombo.worker.jobs.runs import marked

__all__ = [
    "QUEUE",
    "QUIET_S",
    "RESTARTS",
    "RESULT_TTL_S",
    "JobWorker",
    "Outage",
    "away_s",
    "discard",
    "enqueue_discard",
    "enqueue_export",
    "enqueue_import",
    "enqueue_recovery",
    "enqueue_redrive",
    "enqueue_retention",
    "export",
    "forget",
    "import_file",
    "marked",
    "queue",
    "queue_name",
    "recover",
    "redrive",
    "retain",
    "work",
    "worker_count",
]
