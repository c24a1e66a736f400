"""`pombo quickbot`: what the Segment blocks of a flow would send, and the write keys that they send with."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pombo.ops.cli import inputs, output
from pombo.ops.cli.failures import MISUSE, UNWELL, CommandError, one_line
from pombo.ops.cli.options import Json, examples

if TYPE_CHECKING:
    from pombo.ops.flowreport import BlockReport, ConditionReport
    from pombo.ops.typebot import Credential

group = typer.Typer(no_args_is_help=True, help="Look into flows of QuickBot and Typebot.")

MAX_BYTES = 64 << 20
"""Of a file that is read whole."""

Flow = Annotated[str, typer.Argument(metavar="FLOW|-", help="The exported flow, as JSON.", show_default=False)]
VariablesFile = Annotated[
    str | None,
    typer.Option("--variables", metavar="FILE|-", help="Values by name, as JSON, on top of the flow's own."),
]
Casting = Annotated[str, typer.Option("--cast", metavar="none|json", help="What becomes of texts that are JSON.")]
ContextFile = Annotated[
    str | None, typer.Option("--context", metavar="FILE|-", help="Templates for the events' context, as JSON.")
]


@group.command(
    epilog=examples(
        "pombo quickbot check flow.json --variables variables.json",
        """echo '{"User ID": "u1", "Plan": "Gold"}' | pombo quickbot check flow.json --variables -""",
        "pombo quickbot check flow.json --variables variables.json --cast json --json",
    )
)
def check(
    flow: Flow,
    *,
    variables: VariablesFile = None,
    cast: Casting = "none",
    context: ContextFile = None,
    as_json: Json = False,
) -> int:
    """Show what each Segment block of a flow would send, or why it would not.

    Nothing is sent, and no Redis is needed. Condition blocks are shown too, with whether they hold, but every Segment
    block is looked at, on whatever way through the flow. Exit code 1 when a block or a condition is wrong, or there is
    no Segment block.
    """
    from pombo.ops.flowreport import report_blocks, report_conditions
    from pombo.producer.quickbot import Flow, Variables
    from pombo.producer.quickbot.casting import read_cast
    from pombo.shared.errors import InvalidEvent

    if [flow, variables, context].count("-") > 1:
        raise typer.BadParameter("only one file can come from standard input")
    try:
        found = Flow(_read_json(flow))
        given = Variables.read({} if variables is None else _read_json(variables))
        blocks = report_blocks(found, given, read_cast(cast), None if context is None else _read_json(context))
        conditions = report_conditions(found, given)
    except InvalidEvent as error:
        raise CommandError(str(error), MISUSE) from None
    problems = [*(one.problem for one in blocks), *(one.problem for one in conditions)]
    well = bool(blocks) and not any(problems)
    if as_json:
        rows = {"blocks": [one.describe() for one in blocks], "conditions": [one.describe() for one in conditions]}
        output.write_json({**rows, "ok": well})
    else:
        _show(blocks, conditions)
    return 0 if well else UNWELL


@group.command(
    epilog=examples(
        "pombo quickbot credentials rows.json --encryption-secret - < secret.txt",
        "pombo quickbot credentials rows.json --write-key | pombo sources add bot --write-key -",
    )
)
def credentials(
    file: Annotated[
        str, typer.Argument(metavar="FILE|-", help="Rows of the table Credentials, as JSON.", show_default=False)
    ],
    *,
    encryption_secret: Annotated[
        str,
        typer.Option(
            "--encryption-secret",
            metavar="SECRET|-",
            envvar="ENCRYPTION_SECRET",
            help="The platform's ENCRYPTION_SECRET, else that of the environment; - reads one line from standard "
            "input, which keeps it out of sight.",
            show_default=False,
            show_envvar=False,
        ),
    ],
    credential: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="Only the credentials of this id, as blocks name them.")
    ] = None,
    write_key: Annotated[
        bool, typer.Option("--write-key", help="Print the one write key, for `sources add --write-key -`.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Read Segment write keys out of a Typebot's or QuickBot's database.

    Rows are JSON: an object, a list, or one a line, with id, name, type, data and iv, in the platform's present form
    or the one before. They are listed without their keys, unless --write-key. Exit code 1 when one cannot be opened.
    """
    from pombo.ops.typebot import read_credentials, read_rows

    if file == encryption_secret == "-":
        raise typer.BadParameter("only one of rows and secret can come from standard input")
    if write_key and as_json:
        raise typer.BadParameter("--write-key prints the key alone; leave --json out")
    secret = inputs.read_line(encryption_secret, "encryption secret")
    rows = read_rows(_read_bytes(file))
    found = [one for one in read_credentials(rows, secret) if credential in (None, one.id)]
    if write_key:
        output.say(_only_key(found))
        return 0
    if as_json:
        output.write_json([one.describe() for one in found])
    elif found:
        columns = ("id", "name", "form", "write key")
        rows_shown = [(one.id, one.name, f"v{one.version}", one.problem or "can be read") for one in found]
        output.show_table(columns, rows_shown, keep=("id",))
    else:
        output.say("There are no credentials of Segment among these rows.")
    return UNWELL if not found or any(one.problem for one in found) else 0


def _only_key(found: "list[Credential]") -> str:
    if len(found) != 1:
        ids = ", ".join(one.id for one in found[:10])
        raise CommandError(f"{len(found)} credentials of Segment match, name one with --id{ids and f': {ids}'}", UNWELL)
    if found[0].problem:
        raise CommandError(f"credentials {found[0].id}: {found[0].problem}", UNWELL)
    return found[0].write_key


def _read_bytes(file: str) -> bytes:
    with sys.stdin.buffer if file == "-" else Path(file).open("rb") as stream:
        read = stream.read(MAX_BYTES + 1)
    if len(read) > MAX_BYTES:
        raise CommandError(f"{file} has more than {MAX_BYTES >> 20} MiB; give the part that matters", MISUSE)
    return read


def _read_json(file: str) -> Any:
    import orjson

    try:
        return orjson.loads(_read_bytes(file))
    except orjson.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise CommandError(f"{file} is no JSON: {error.msg} ({where})", MISUSE) from None


def _show(blocks: "list[BlockReport]", conditions: "list[ConditionReport]") -> None:
    for block in blocks:
        _show_block(block)
    for condition in conditions:
        verdict = condition.problem or ("holds" if condition.holds else "does not hold")
        name = _where("Condition", condition.place.id, condition.place.group)
        output.say(one_line(f"{name}, item {condition.item or '-'}: {verdict}"))
    if conditions:
        output.say("")
    wrong = sum(1 for block in blocks if block.problem)
    if not blocks:
        output.say("There is no Segment block in this flow.")
    elif wrong:
        output.say(f"{wrong} of {_counted(len(blocks))} would send nothing.")
    else:
        output.say(f"{_counted(len(blocks))} can be sent.")


def _show_block(report: "BlockReport") -> None:
    import json

    title = _where(report.action or "(no action)", report.place.id, report.place.group)
    if report.problem is not None:
        output.say(
            one_line(f"{title}: not sent"), f"  {one_line(report.problem.field)}: {one_line(str(report.problem))}"
        )
    else:
        text = json.dumps(report.event, indent=2, ensure_ascii=False)
        output.say(one_line(f"{title}: sends"), *(f"  {_printable(line)}" for line in text.splitlines()))
    output.say(*(f"  note: {one_line(note)}" for note in report.notes), "")


def _printable(line: str) -> str:
    """A line of JSON with its indentation, and nothing that steers a terminal."""
    indent = len(line) - len(line.lstrip(" "))
    return " " * indent + "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line[indent:])


def _where(what: str, block: str, title: str) -> str:
    return f"{what} {block or '-'}" + (f" in group {title!r}" if title else "")


def _counted(number: int) -> str:
    return f"{number} Segment block{'s' if number != 1 else ''}"
