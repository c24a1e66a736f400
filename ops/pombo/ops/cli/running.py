"""`pombo up`, `demo`, `worker`, `gateway`, `console` and `simulator`: what stays until it is stopped."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pombo.ops.cli.failures import MISUSE, CommandError
from pombo.ops.cli.options import examples

if TYPE_CHECKING:
    from pombo.shared.settings import Settings

UP_EXAMPLES = examples("pombo up", "POMBO_REDIS_URL=redis://localhost:6379 pombo up")
DEMO_EXAMPLES = examples("pombo demo", "pombo demo --seconds 20 --rate 500")
WORKER_EXAMPLES = examples(
    "pombo worker",
    "pombo worker --processes 4",
    "pombo worker --drain && echo 'all delivered'",
)
GATEWAY_EXAMPLES = examples(
    "pombo gateway",
    "pombo gateway --host 0.0.0.0 --port 80 --processes 4",
    """curl -u "$INTAKE_KEY:" http://127.0.0.1:8080/v1/track -d '{"userId": "u1", "event": "Message Sent"}'""",
)
CONSOLE_EXAMPLES = examples(
    "pombo console",
    "POMBO_CONSOLE_TOKEN=$(pombo secret) pombo console --host 0.0.0.0 --port 8081",
)
SIMULATOR_EXAMPLES = examples(
    "pombo simulator",
    "pombo simulator --port 9000 --plan faults.json",
    "pombo sources add bot --write-key test --endpoint http://127.0.0.1:8082",
)


def up() -> int:
    """Run everything on this machine, until Ctrl-C.

    An embedded server if POMBO_REDIS_URL names no Redis, workers, jobs, a gateway on 127.0.0.1:8080,
    and a console on 127.0.0.1:8081.
    """
    from pombo.ops.cli.session import redis_explained
    from pombo.ops.up import up as run_up
    from pombo.shared.settings import read_settings

    settings = read_settings()
    with redis_explained(settings):
        return run_up(settings)


def demo(
    seconds: Annotated[
        float | None,
        typer.Option(metavar="N", min=1, help="Stop after so many seconds; without it, at Ctrl-C."),
    ] = None,
    rate: Annotated[float, typer.Option(metavar="R", min=0.1, help="Events a second.")] = 200.0,
) -> int:
    """Watch events flow through a world of its own.

    Temporary home, server, simulator and ports; POMBO_REDIS_URL is not looked at. It ends with an audit.
    """
    from pombo.ops.demo import demo as run_demo

    return run_demo(seconds, rate)


def worker(
    processes: Annotated[int, typer.Option(metavar="N", min=1, max=256, help="How many; one uses one core.")] = 1,
    drain: Annotated[
        bool,
        typer.Option(
            "--drain",
            help="Stop when all is delivered (exit code 0), or only what cannot be is left (exit code 1).",
        ),
    ] = False,
    no_jobs: Annotated[
        bool, typer.Option("--no-jobs", help="Deliver events only; leave redrives and other jobs to others.")
    ] = False,
) -> int:
    """Deliver events, until SIGTERM or Ctrl-C.

    Start as many as you like, on as many machines as you like: they share the work. Metrics are on
    POMBO_METRICS_PORT, those of several processes as one.
    """
    from pombo.shared.settings import read_settings

    settings = read_settings()
    _look_for_redis(settings, drain=drain)
    if processes > 1:
        from pombo.ops.cli.crew import run_crew

        return run_crew(settings, processes, drain=drain, jobs=not no_jobs)
    from pombo.ops.cli.session import redis_explained
    from pombo.worker.process import Options, run_worker

    with redis_explained(settings):
        return run_worker(settings, Options(drain=drain, jobs=not no_jobs))


def gateway(
    host: Annotated[str, typer.Option(metavar="H", help="Address to listen on; 0.0.0.0 is all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="P", min=0, max=65_535, help="0 takes a free one.")] = 8080,
    processes: Annotated[int, typer.Option(metavar="N", min=1, max=256, help="How many; one uses one core.")] = 1,
) -> int:
    """Take events from Segment's SDKs and from webhooks, over HTTP.

    It answers 200 once they are durable. Metrics are at /metrics, those of several processes as one.
    """
    from pombo.shared.settings import read_settings

    settings = read_settings()
    if processes > 1:
        from pombo.ops.cli.crew import run_gateways

        return run_gateways(settings, host, port, processes)
    from pombo.gateway.process import Options, run_gateway
    from pombo.ops.cli.session import redis_explained

    with redis_explained(settings):
        return run_gateway(settings, Options(host, port))


def console(
    host: Annotated[str, typer.Option(metavar="H", help="Address to listen on; 0.0.0.0 is all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="P", min=0, max=65_535, help="0 takes a free one.")] = 8081,
) -> int:
    """See and steer the installation in a browser.

    Operators log in with POMBO_CONSOLE_TOKEN, viewers with POMBO_CONSOLE_VIEWER_TOKEN. Without either it is open to
    whoever is on this machine, and refuses to listen beyond it. The fleet's metrics are at /metrics.
    """
    from pombo.ops.console.process import Options, run_console
    from pombo.shared.settings import read_settings

    return run_console(read_settings(), Options(host, port))


def simulator(
    port: Annotated[int, typer.Option(metavar="P", min=0, max=65_535, help="0 takes a free one.")] = 8082,
    host: Annotated[str, typer.Option(metavar="H", help="Address to listen on.")] = "127.0.0.1",
    plan: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Fault plan: a JSON list of rules.", show_default=False),
    ] = None,
) -> int:
    """Be Segment on this machine, with faults on demand.

    It runs until Ctrl-C. It prints its URL, which is an endpoint for `pombo sources add`; what arrived is at
    /_sim/events.
    """
    from pombo.ops.simulator import PlanError, SimulatorError, run

    try:
        run(port, plan, host)
    except (PlanError, SimulatorError) as error:
        raise CommandError(str(error), MISUSE) from error
    return 0


def _look_for_redis(settings: "Settings", *, drain: bool) -> None:
    """Say it when Redis is away or refuses writes: a worker waits for it, a drain has nothing to wait for.

    Raises:
        ConfigurationError: a URL or the secret key cannot be used, or it opens the keys of no source.
        RedisUnusableError: Redis is away or refuses writes, and the worker was to drain.
    """
    from pombo.ops.cli.output import note
    from pombo.ops.cli.session import Session, run
    from pombo.ops.cli.trouble import RedisUnusableError
    from pombo.shared.secrets import load_secrets
    from pombo.worker.process import check_secrets

    async def look(session: Session) -> None:
        await session.sources.version()
        await check_secrets(session.registry)
        # Removes nobody, yet is a write: a replica, or a server that cannot save, refuses it.
        await session.redis.hdel(session.keys.workers, "nobody")

    try:
        run(look)
    except RedisUnusableError as trouble:
        if drain or trouble.exit_code == MISUSE:
            raise
        note(f"pombo: {trouble}; waiting for it")
    load_secrets(settings)
