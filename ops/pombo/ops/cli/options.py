"""Arguments and options that several commands share."""

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]
SourceName = Annotated[str, typer.Argument(metavar="NAME", help="The source's name.", show_default=False)]

OfSource = Annotated[str | None, typer.Option("--source", metavar="S", help="Only this source's.")]
Reason = Annotated[
    str | None,
    typer.Option(
        "--reason",
        metavar="R",
        help="Only what died of this: rejected_by_segment, too_large, poison, expired, outcome_unknown, "
        "invalid, corrupt, unknown_item or policy.",
    ),
]
EventName = Annotated[str | None, typer.Option("--event", metavar="E", help="Only events of this name.")]
User = Annotated[str | None, typer.Option("--user", metavar="U", help="Only of this userId or anonymousId.")]
MessageId = Annotated[str | None, typer.Option("--message-id", metavar="M", help="Only the event of this messageId.")]
Since = Annotated[
    str | None,
    typer.Option("--since", metavar="T", help="Only what died since: ISO 8601, or a span such as 45m, 2h, 3d."),
]
Until = Annotated[
    str | None,
    typer.Option("--until", metavar="T", help="Only what died before: ISO 8601, or a span such as 45m, 2h, 3d."),
]
OfGroup = Annotated[
    str | None, typer.Option("--group", metavar="F", help="Only of this group, as `dead groups` names it.")
]
Limit = Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="At most so many.")]

Throttle = Annotated[
    float | None, typer.Option("--rate", metavar="N", min=0.1, help="So many letters a second at most, a source.")
]
ByJob = Annotated[bool, typer.Option("--job", help="Have workers do it as jobs, one a source.")]
Wait = Annotated[
    bool | None,
    typer.Option(
        "--wait/--no-wait",
        help="Follow the jobs to their end; by default on a terminal, where a worker does jobs.",
        show_default=False,
    ),
]


def examples(*lines: str) -> str:
    """The end of a help text: one example a line."""
    return "\n".join(("\b", "Examples:", *(f"  {line}" for line in lines)))
