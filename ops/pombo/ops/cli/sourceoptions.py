"""The options of a source's settings, which `sources add` and `sources set` take alike."""

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Annotated, Any, Final

import typer

from pombo.ops.amounts import parse_span
from pombo.ops.cli import platforms

Region = Annotated[
    str | None, typer.Option(metavar="us|eu", help="Where the workspace is; us unless an endpoint is given.")
]
Endpoint = Annotated[str | None, typer.Option(metavar="URL", help="Root of another host, instead of a region.")]
Rate = Annotated[
    float | None,
    typer.Option(metavar="EVENTS_PER_S", help="Limit of the whole fleet; 0 is off (1000 unless set)."),
]
Burst = Annotated[
    float | None,
    typer.Option(metavar="EVENTS", help="What may go at once after a quiet time (one second of --rate unless set)."),
]
RateGroup = Annotated[
    str | None,
    typer.Option(metavar="G", help="Share one rate with the other sources of this group: one workspace."),
]
MaxAge = Annotated[
    float | None,
    typer.Option(metavar="SECONDS", help="How long a failing event is tried, from its first send (86400 unless set)."),
]
Window = Annotated[
    float | None,
    typer.Option(metavar="SECONDS", help="How long a messageId is remembered (86400 unless set)."),
]
Backlog = Annotated[
    int | None,
    typer.Option(metavar="N", help="Compressed bytes that may wait in Redis; 0 is no limit (1 GiB unless set)."),
]
DeadBytes = Annotated[
    int | None,
    typer.Option(metavar="N", help="Bytes of dead letters at which it is parked; 0 is no limit (256 MiB unless set)."),
]
Retention = Annotated[
    str | None,
    typer.Option(
        metavar="SPAN",
        help="Dead letters older than this, such as 30d, are exported to POMBO_EXPORT_DIR and then discarded, every "
        "hour; 0 keeps them (0 unless set: see that the folder outlives the worker).",
        show_default=False,
    ),
]
RedriveAfterOutage = Annotated[
    bool | None,
    typer.Option(
        "--redrive-after-outage/--no-redrive-after-outage",
        help="What died of an outage goes again, once, when the source is well (off unless set).",
        show_default=False,
    ),
]
IdsLimit = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="messageIds remembered at most, 9 bytes each; 0 is no limit (200 million unless set).",
    ),
]

NAMES: Final = {"max_age": "max_age_s", "window": "window_s", "retention": "retention_s", "bot": "bots"}
"""What settings are called that have another name than their option."""


def takes_settings(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command all options of `_settings` instead of its `**settings`, before its last one."""
    signature = inspect.signature(command, eval_str=True)
    *own, last, _ = signature.parameters.values()
    options = inspect.signature(_settings, eval_str=True).parameters.values()

    @wraps(command)
    def with_settings(*args: Any, **words: Any) -> int:
        return command(*args, **words)

    with_settings.__signature__ = signature.replace(parameters=[*own, *options, last])  # type: ignore[attr-defined]
    return with_settings


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that options give, by their names in the registry; those left out are not among them."""
    settings = {NAMES.get(name, name): value for name, value in options.items() if value is not None}
    if "retention_s" in settings:
        settings["retention_s"] = parse_span(settings["retention_s"], "--retention")
    return settings


def _settings(
    *,
    region: Region = None,
    endpoint: Endpoint = None,
    rate: Rate = None,
    burst: Burst = None,
    rate_group: RateGroup = None,
    max_age: MaxAge = None,
    window: Window = None,
    backlog_bytes: Backlog = None,
    dead_bytes: DeadBytes = None,
    retention: Retention = None,
    redrive_after_outage: RedriveAfterOutage = None,
    ids_limit: IdsLimit = None,
    intake_header: platforms.IntakeHeader = None,
    blip: platforms.Blip = None,
    message_bodies: platforms.MessageBodies = None,
    identity: platforms.Identity = None,
    perspective: platforms.Perspective = None,
    tickets: platforms.Tickets = None,
    bot: platforms.Bots = None,
) -> None:
    """The one list of them: what `takes_settings` reads, and nobody calls."""
