"""A crew: several worker processes of one machine, kept running together."""

import asyncio
import sys
from collections.abc import Mapping

from pombo.shared.errors import ConfigurationError
from pombo.shared.lifeline import die_with_parent
from pombo.shared.logs import configure_logs
from pombo.shared.processes import FINAL_CODE, ChildSpec, Supervisor
from pombo.shared.settings import Settings
from pombo.worker.process import on_stop_signals

LAST_PORT = 65_535


def run_crew(settings: Settings, processes: int, *, drain: bool, jobs: bool) -> int:
    """Run `processes` workers until SIGTERM or SIGINT, until a drain ends, or until none can run.

    Returns:
        0, or 1 when a draining worker ended otherwise.

    Raises:
        ConfigurationError: there are no ports for the metrics of so many, or every worker refused its
            configuration.
    """
    specs = crew(settings, processes, drain=drain, jobs=jobs)
    configure_logs(settings.log_level, settings.log_format)
    return outcome(asyncio.run(_supervise(specs)), drain=drain)


def outcome(codes: Mapping[str, int], *, drain: bool) -> int:
    """The crew's exit code, from those of its processes by name.

    Raises:
        ConfigurationError: every process refused its configuration.
    """
    if set(codes.values()) == {FINAL_CODE}:
        raise ConfigurationError("no worker process can run with this configuration; each said above what is wrong")
    return 1 if drain and any(codes.values()) else 0


def crew(settings: Settings, processes: int, *, drain: bool, jobs: bool) -> list[ChildSpec]:
    """What to run: the first does the jobs, and each has a metrics port of its own, one after the other."""
    port = settings.metrics_port
    if port and port + processes - 1 > LAST_PORT:
        raise ConfigurationError(
            f"POMBO_METRICS_PORT {port} leaves no ports for {processes} processes; choose a lower one, or 0"
        )
    return [
        ChildSpec(
            name=f"worker {number + 1}",
            argv=_argv(drain=drain, jobs=jobs and number == 0),
            env={"POMBO_METRICS_PORT": str(port + number if port else 0)},
            restart=not drain,
        )
        for number in range(processes)
    ]


def _argv(*, drain: bool, jobs: bool) -> list[str]:
    argv = [sys.executable, "-m", "pombo.ops.cli", "worker", "--processes", "1"]
    return [*argv, *(["--drain"] if drain else []), *([] if jobs else ["--no-jobs"])]


async def _supervise(specs: list[ChildSpec]) -> dict[str, int]:
    stop = asyncio.Event()
    on_stop_signals(stop.set)
    die_with_parent()
    async with Supervisor() as supervisor:
        for spec in specs:
            await supervisor.start(spec)
        ended = asyncio.ensure_future(supervisor.wait())
        stopped = asyncio.ensure_future(stop.wait())
        await asyncio.wait([ended, stopped], return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        await supervisor.stop()
        return await ended
