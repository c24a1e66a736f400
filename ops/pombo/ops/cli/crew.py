"""A crew: several processes of one kind on one machine, workers or gateways, kept running together."""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from pombo.shared.crewmetrics import crew_environment, crew_registry
from pombo.shared.errors import ConfigurationError
from pombo.shared.lifeline import die_with_parent
from pombo.shared.logs import configure_logs, get_logger
from pombo.shared.processes import FINAL_CODE, ChildSpec, Supervisor, on_stop_signals
from pombo.shared.settings import Settings
from pombo.worker.exposition import exposed

CONSOLE_FD = "POMBO_CONSOLE_FD"
"""Environment variable that gives a console the number of the listening socket that its parent made."""

log = get_logger("pombo.crew")


def run_crew(settings: Settings, processes: int, *, drain: bool, jobs: bool) -> int:
    """Run `processes` workers until SIGTERM or SIGINT, until a drain ends, or until none can run.

    Their metrics are served here, summed, also while some are down.

    Returns:
        0, or 1 when a draining worker ended otherwise.

    Raises:
        ConfigurationError: every worker refused its configuration.
    """
    configure_logs(settings.log_level, settings.log_format)
    with ExitStack() as stack:
        folder = metrics_folder(stack) if settings.metrics_port else None
        if folder is not None:
            stack.enter_context(exposed(crew_registry(folder), settings.metrics_port))
        codes = asyncio.run(_supervise(crew(folder, processes, drain=drain, jobs=jobs)))
    return outcome(codes, drain=drain)


def run_gateways(settings: Settings, host: str, port: int, processes: int) -> int:
    """Run `processes` gateways on one address until SIGTERM or SIGINT, or until none can run; returns 0.

    Their listening sockets are made here and stay open: what connects while one of them is down waits for its
    successor. On Linux each has one of its own, among which the kernel spreads connections; elsewhere they share one.

    Raises:
        ConfigurationError: the address cannot be listened on, or every gateway refused its configuration.
    """
    from pombo.gateway.process import listen

    configure_logs(settings.log_level, settings.log_format)
    with ExitStack() as stack:
        own = sys.platform == "linux"
        first = stack.enter_context(listen(host, port, shared=own))
        port = first.getsockname()[1]
        rest = [stack.enter_context(listen(host, port, shared=True)) for _ in range(1, processes) if own]
        listeners = [first, *rest] if own else [first] * processes
        folder = metrics_folder(stack)
        codes = asyncio.run(_supervise(gateway_crew(folder, [one.fileno() for one in listeners])))
    return outcome(codes, drain=False)


def gateway_crew(folder: Path | None, listeners: Sequence[int]) -> list[ChildSpec]:
    """What to run: a gateway for each descriptor of a listening socket; each counts in `folder`, if there is one."""
    from pombo.gateway.process import SOCKET_FD

    argv = [sys.executable, "-m", "pombo.ops.cli", "gateway", "--processes", "1"]
    return [
        ChildSpec(
            name=f"gateway {number}",
            argv=argv,
            env={**crew_environment(folder, number), SOCKET_FD: str(listener)},
            fds=(listener,),
        )
        for number, listener in enumerate(listeners, 1)
    ]


def console_child(listener: int) -> ChildSpec:
    """A console for the descriptor of a listening socket."""
    argv = [sys.executable, "-m", "pombo.ops.cli", "console"]
    return ChildSpec(name="console", argv=argv, env={CONSOLE_FD: str(listener)}, fds=(listener,))


def metrics_folder(stack: ExitStack) -> Path | None:
    """A folder of the crew's own until the end of `stack`; None, with a warning, when none can be made."""
    try:
        made = TemporaryDirectory(prefix="pombo-metrics-", ignore_cleanup_errors=True)
    except OSError as error:
        log.warning("metrics.off", error=str(error), remedy="set TMPDIR to a folder that can be written")
        return None
    return Path(stack.enter_context(made))


def outcome(codes: Mapping[str, int], *, drain: bool) -> int:
    """The crew's exit code, from those of its processes by name.

    Raises:
        ConfigurationError: every process refused its configuration.
    """
    if set(codes.values()) == {FINAL_CODE}:
        raise ConfigurationError("no process can run with this configuration; each said above what is wrong")
    return 1 if drain and any(codes.values()) else 0


def crew(folder: Path | None, processes: int, *, drain: bool, jobs: bool) -> list[ChildSpec]:
    """What to run: the first does the jobs; each counts in `folder`, if there is one, and serves no metrics itself."""
    return [
        ChildSpec(
            name=f"worker {number}",
            argv=_argv(drain=drain, jobs=jobs and number == 1),
            env=crew_environment(folder, number),
            restart=not drain,
        )
        for number in range(1, processes + 1)
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
