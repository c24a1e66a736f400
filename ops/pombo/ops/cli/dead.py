"""`pombo dead`: look into dead letters, send them again, delete them, or keep them elsewhere."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pombo.ops import wording
from pombo.ops.cli import inputs, lettertables, output
from pombo.ops.cli.failures import UNWELL
from pombo.ops.cli.options import (
    ByJob,
    DryRun,
    EventName,
    Json,
    Limit,
    MessageId,
    OfGroup,
    OfSource,
    Reason,
    Since,
    Throttle,
    Until,
    User,
    Wait,
    Yes,
    examples,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pombo.ops.cli.session import Session
    from pombo.shared.deadletters import DeadLetter, Group

group = typer.Typer(no_args_is_help=True, help="Look into dead letters, redrive, discard or export them.")

ROWS = 50
"""Letters in a table, unless --limit says otherwise."""
TIMEOUT_S = 60.0
"""How long one answer of Redis may take while letters are looked through."""


@group.command(
    "list",
    epilog=examples("pombo dead list --source bot --reason rejected_by_segment --since 2h", "pombo dead list --json"),
)
def list_(
    *,
    source: OfSource = None,
    reason: Reason = None,
    event: EventName = None,
    user: User = None,
    message_id: MessageId = None,
    since: Since = None,
    until: Until = None,
    of_group: OfGroup = None,
    newest: Annotated[bool, typer.Option("--newest", help="The newest first.")] = False,
    limit: Limit = None,
    as_json: Json = False,
) -> int:
    """List dead letters, the oldest first.

    Without --limit the table has 50 of them, the JSON all.
    """
    from pombo.ops.cli.letters import read_letters, read_newest
    from pombo.ops.cli.session import Session, run
    from pombo.shared.deadletters import Filter

    wanted = inputs.letter_filter(
        source=source, reason=reason, event=event, user=user, message_id=message_id, since=since,
        until=until, group=of_group,
    )  # fmt: skip
    unreadable: list[str] = []

    def read(session: Session, count: int | None) -> "AsyncIterator[DeadLetter]":
        if newest:
            return read_newest(session, wanted, count)
        return read_letters(session, wanted, count, unreadable)

    async def document(session: Session) -> None:
        await output.write_json_list(letter.describe() async for letter in read(session, limit))

    async def table(session: Session) -> "list[DeadLetter]":
        return [letter async for letter in read(session, (limit or ROWS) + 1)]

    if as_json:
        run(document, timeout_s=TIMEOUT_S)
    else:
        lettertables.show_letters(run(table, timeout_s=TIMEOUT_S), limit or ROWS, filtered=wanted != Filter())
    if unreadable:
        letters = wording.plural(len(unreadable), "dead letter")
        output.note(f"warning: {letters} of another version of pombo left out; upgrade pombo here")
    return 0


@group.command(epilog=examples("pombo dead groups", "pombo dead groups --source bot --json"))
def groups(source: OfSource = None, as_json: Json = False) -> int:
    """Count dead letters that died alike.

    A group is of one reason, status, type, event and answer of Segment's, whatever numbers, ids and values stand in
    it. The other commands take its name as --group.
    """
    from pombo.ops.cli.letters import source_names
    from pombo.ops.cli.session import Session, run
    from pombo.ops.cli.tablemaking import make_told
    from pombo.shared import deadletters
    from pombo.shared.deadletters import Filter

    async def work(session: Session) -> "list[Group]":
        names = await source_names(session, Filter(source=source))
        redis, keys = session.redis, session.keys
        found = [one for name in names for one in await deadletters.groups(redis, keys, name, make=make_told)]
        return sorted(found, key=lambda one: -one.count)

    found = run(work, timeout_s=TIMEOUT_S)
    if as_json:
        output.write_json([one.describe() for one in found])
    elif found:
        lettertables.show_groups(found)
    else:
        output.say("No dead letters.")
    return 0


@group.command(epilog=examples("pombo dead show bot/1763752800000-0"))
def show(
    letter_id: Annotated[str, typer.Argument(metavar="ID", help="As `dead list` shows it.", show_default=False)],
    as_json: Json = False,
) -> int:
    """Show one dead letter with its event and its history."""
    from pombo.ops.cli.session import Session, run
    from pombo.shared import deadletters

    async def work(session: Session) -> "DeadLetter":
        return await deadletters.find(session.redis, session.keys, letter_id)

    letter = run(work)
    if as_json:
        output.write_json(letter.show())
    else:
        lettertables.show_letter(letter.show())
    return 0


@group.command(
    epilog=examples(
        "pombo dead edit bot/1763752800000-0",
        "jq '.event = \"Message Sent\"' event.json | pombo dead edit bot/1763752800000-0 - --yes",
    )
)
def edit(
    letter_id: Annotated[str, typer.Argument(metavar="ID", help="As `dead list` shows it.", show_default=False)],
    file: Annotated[
        str | None,
        typer.Argument(metavar="[FILE|-]", help="The event as JSON; - is standard input.", show_default=False),
    ] = None,
    *,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> int:
    """Repair one dead letter's event and redrive it.

    Without FILE it opens in $EDITOR. The event is checked like a bot's; messageId and timestamp stay, so that Segment
    can tell it from others. The difference is shown before it is sent.
    """
    from pombo.ops.cli.repair import edit as repair

    return repair(letter_id, file, dry_run=dry_run, yes=yes, as_json=as_json)


@group.command(
    epilog=examples(
        "pombo dead redrive --source bot --reason rejected_by_segment --dry-run",
        "pombo dead redrive --source bot --since 3d",
        "pombo dead redrive --source bot --group 4410b16d7701 --rate 50",
        "pombo dead redrive --yes --no-wait",
    )
)
def redrive(
    *,
    source: OfSource = None,
    reason: Reason = None,
    event: EventName = None,
    user: User = None,
    message_id: MessageId = None,
    since: Since = None,
    until: Until = None,
    of_group: OfGroup = None,
    limit: Limit = None,
    rate: Throttle = None,
    older: Annotated[
        bool,
        typer.Option("--yes-older", help="Also what was accepted more than 24 h ago: Segment might count it twice."),
    ] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    wait: Wait = None,
    as_json: Json = False,
) -> int:
    """Send dead letters again.

    Workers do it as jobs, one a source; without any filter it asks. The events go to the end of their
    streams byte for byte, with the same messageIds. What was accepted more than 24 h ago stays, as Segment knows its
    messageId no more, unless --yes-older says that this does not matter. Exit code 1 when nothing is redriven.
    """
    from pombo.ops.cli.redrive import redrive as start

    wanted = inputs.letter_filter(
        source=source, reason=reason, event=event, user=user, message_id=message_id, since=since,
        until=until, group=of_group,
    )  # fmt: skip
    return start(
        wanted, limit, dry_run=dry_run, yes=yes, wait=wait, as_json=as_json, rate=rate, older=older
    )  # fmt: skip


@group.command(
    epilog=examples("pombo dead discard --source bot --reason policy", "pombo dead discard --since 2h --dry-run")
)
def discard(
    *,
    source: OfSource = None,
    reason: Reason = None,
    event: EventName = None,
    user: User = None,
    message_id: MessageId = None,
    since: Since = None,
    until: Until = None,
    of_group: OfGroup = None,
    limit: Limit = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    by_job: ByJob = False,
    rate: Throttle = None,
    wait: Wait = None,
    as_json: Json = False,
) -> int:
    """Delete dead letters for good; it asks.

    With --job, --rate or --wait workers do it. Exit code 1 when nothing matches.
    """
    from pombo.ops.cli import letterjobs, letters
    from pombo.ops.cli.session import Session, run

    wanted = inputs.letter_filter(
        source=source, reason=reason, event=event, user=user, message_id=message_id, since=since,
        until=until, group=of_group,
    )  # fmt: skip

    if by_job or rate is not None or wait is not None:
        how = letterjobs.How(rate=rate, wait=wait, as_json=as_json)
        return letterjobs.discard(wanted, limit, how, dry_run=dry_run, yes=yes)

    async def count(session: Session) -> int:
        found = (await letters.count(session, wanted)).letters
        return found if limit is None else min(found, limit)

    async def work(session: Session) -> int:
        return await letters.discard(session, wanted, limit)

    found = run(count, timeout_s=TIMEOUT_S)
    told = wording.plural(found, "dead letter")
    if found and not dry_run:
        inputs.confirm(f"Delete {told} for good?", yes=yes)
    discarded = run(work) if found and not dry_run else 0
    if as_json:
        output.write_json({"letters": found, "discarded": discarded, "dry_run": dry_run})
    else:
        output.say(_discarded(found, discarded, dry_run))
    return 0 if found else UNWELL


@group.command(
    epilog=examples(
        "pombo dead export letters.ndjson --source bot",
        "pombo dead export - --reason too_large | jq -c .payload",
        "pombo dead export --job --source bot --since 30d --discard",
        "jq -c .payload letters.ndjson | pombo send --lenient --source bot",
    )
)
def export(
    file: Annotated[
        str | None, typer.Argument(metavar="FILE|-", help="Where to; - is standard output.", show_default=False)
    ] = None,
    *,
    source: OfSource = None,
    reason: Reason = None,
    event: EventName = None,
    user: User = None,
    message_id: MessageId = None,
    since: Since = None,
    until: Until = None,
    of_group: OfGroup = None,
    limit: Limit = None,
    by_job: ByJob = False,
    then_discard: Annotated[
        bool, typer.Option("--discard", help="Discard what the file holds when it is complete; with --job. It asks.")
    ] = False,
    yes: Yes = False,
    rate: Throttle = None,
    wait: Wait = None,
    as_json: Json = False,
) -> int:
    """Write dead letters to a file, as NDJSON.

    Events and histories are in it; the letters stay where they are. A file appears under its name when it
    is complete, readable for you alone. With --job, workers write files into their POMBO_EXPORT_DIR, and FILE is left
    out. Exit code 1 when nothing matches.
    """
    if by_job == (file is not None):
        raise typer.BadParameter("give a FILE, or --job, whose workers name their files themselves")
    if not by_job and (then_discard or yes or as_json or rate is not None or wait is not None):
        raise typer.BadParameter("--discard, --yes, --rate, --wait and --json go with --job")
    from pombo.ops.cli.export import export_to
    from pombo.ops.cli.session import run

    wanted = inputs.letter_filter(
        source=source, reason=reason, event=event, user=user, message_id=message_id, since=since,
        until=until, group=of_group,
    )  # fmt: skip
    if file is None:
        from pombo.ops.cli import letterjobs

        how = letterjobs.How(rate=rate, wait=wait, as_json=as_json)
        return letterjobs.export(wanted, limit, how, discards=then_discard, yes=yes)
    path = None if file == "-" else Path(file)

    async def work(session: "Session") -> int:
        return await export_to(session, wanted, limit, path)

    count = run(work)
    if path is not None:
        output.say(f"{wording.plural(count, 'dead letter')} written to {path}" if count else "no dead letter matches")
    return 0 if count else UNWELL


@group.command(
    "import",
    epilog=examples("pombo dead import letters.ndjson", "zcat letters.ndjson.gz | pombo dead import - --source bot"),
)
def import_(
    file: Annotated[
        str, typer.Argument(metavar="FILE|-", help="What `dead export` wrote; - is standard input.", show_default=False)
    ],
    *,
    source: Annotated[
        str | None, typer.Option("--source", metavar="S", help="Put all into this source, not each into its own.")
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Put back, too, what was put back from this file before.")
    ] = False,
    dry_run: DryRun = False,
    by_job: ByJob = False,
    rate: Throttle = None,
    wait: Wait = None,
    as_json: Json = False,
) -> int:
    """Put dead letters back that a file holds.

    They get new ids, and keep reason, history and payload byte for byte; the ledger counts them as accepted anew. What
    never left is passed over. Run it again if it was cut off: the same file puts nothing back twice within 30 days,
    by whatever command or job; --again does.
    With --job, FILE is the name of one in the worker's POMBO_EXPORT_DIR, and all of it goes into --source.
    Exit code 1 when lines hold no letter, or none does.
    """
    if by_job:
        from pombo.ops.cli import letterjobs

        if source is None or dry_run:
            raise typer.BadParameter("--job wants a --source, and knows no --dry-run")
        how = letterjobs.How(rate=rate, wait=wait, as_json=as_json)
        return letterjobs.import_(file, source, how, again=again)
    if rate is not None or wait is not None:
        raise typer.BadParameter("--rate and --wait go with --job")
    from pombo.ops.cli.imports import import_from

    return import_from(file, source, again=again, dry_run=dry_run, as_json=as_json)


def _discarded(found: int, discarded: int, dry_run: bool) -> str:
    if not found:
        return "no dead letter matches"
    if dry_run:
        return f"would delete {wording.plural(found, 'dead letter')}"
    return f"{wording.plural(discarded, 'event')} discarded"
