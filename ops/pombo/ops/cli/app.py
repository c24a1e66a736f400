"""The command line as a tree; what a command does is in the module of its noun.

Importing this imports no client, no model and no table: `pombo --help` must be quick.
"""

import logging
from functools import cache
from typing import Annotated, Any

import typer

from pombo.ops.cli import (
    audit,
    blip,
    dead,
    diagnosis,
    jobs,
    look,
    quickbot,
    running,
    send,
    setup,
    sources,
    tracing,
    watching,
)
from pombo.ops.cli.deeds import with_deeds
from pombo.ops.cli.options import examples

ORDER = (
    *("up", "demo", "worker", "gateway", "console", "simulator"),
    *("sources", "send", "blip", "quickbot"),
    *("status", "top", "audit", "doctor", "trace", "dead", "jobs"),
    *("secret", "config"),
)
"""The order in which people meet the commands."""


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"pombo {version('pombo')}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Carry events from bots to Twilio Segment: each once, in order, and with proof.

    Settings come from the environment and a .env file; `pombo config` shows those in force.
    """


@cache
def command() -> Any:
    """The whole tree, ready to run."""
    # Commands that enqueue tell themselves what became of their events.
    logging.getLogger("pombo.producer").addHandler(logging.NullHandler())
    app = typer.Typer(
        rich_markup_mode=None,  # Boxes around every help text are noise in a pipe, and slow.
        add_completion=False,
        no_args_is_help=True,
        context_settings={"help_option_names": ["--help", "-h"]},
        epilog=examples(
            "pombo up",
            "pombo sources add bot --write-key - < key.txt",
            "pombo send events.ndjson --source bot",
            "pombo status",
        ),
    )
    app.callback()(_root)
    app.command("up", epilog=running.UP_EXAMPLES)(running.up)
    app.command("demo", epilog=running.DEMO_EXAMPLES)(running.demo)
    app.command("worker", epilog=running.WORKER_EXAMPLES)(running.worker)
    app.command("gateway", epilog=running.GATEWAY_EXAMPLES)(running.gateway)
    app.command("console", epilog=running.CONSOLE_EXAMPLES)(running.console)
    app.command("simulator", epilog=running.SIMULATOR_EXAMPLES)(running.simulator)
    app.add_typer(sources.group, name="sources")
    app.command("send", epilog=send.EXAMPLES)(send.send)
    app.add_typer(blip.group, name="blip")
    app.add_typer(quickbot.group, name="quickbot")
    app.command("status", epilog=look.STATUS_EXAMPLES)(look.status)
    app.command("top", epilog=watching.EXAMPLES)(watching.top)
    app.command("audit", epilog=audit.EXAMPLES)(audit.audit)
    app.command("doctor", epilog=diagnosis.EXAMPLES)(diagnosis.doctor)
    app.command("trace", epilog=tracing.EXAMPLES)(tracing.trace)
    app.add_typer(dead.group, name="dead")
    app.add_typer(jobs.group, name="jobs")
    app.command("secret", epilog=setup.SECRET_EXAMPLES)(setup.secret)
    app.command("config", epilog=setup.CONFIG_EXAMPLES)(setup.config)
    tree: Any = typer.main.get_command(app)
    tree.commands = {name: tree.commands[name] for name in ORDER}
    return with_deeds(tree)
