"""`pombo sources`: add, look at, change and remove sources."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pombo.ops.cli import inputs, output, platforms, trial
from pombo.ops.cli.failures import UNWELL
from pombo.ops.cli.options import Json, SourceName, Yes, examples
from pombo.ops.cli.sourceoptions import given, takes_settings
from pombo.ops.webhook import GATEWAY, describe_webhook

if TYPE_CHECKING:
    from pombo.ops.cli.session import Session
    from pombo.ops.overview import SourceView

group = typer.Typer(no_args_is_help=True, help="Add, look at, change and remove sources.")

_KEY = "The source's Write Key in Segment; - reads one line from standard input, which keeps it out of sight."
WriteKey = Annotated[str, typer.Option("--write-key", metavar="KEY|-", help=_KEY, show_default=False)]


@group.command(
    epilog=examples(
        "pombo sources add bot --write-key - < key.txt",
        "pombo sources add bot-eu --write-key - --region eu --rate 500 < key.txt",
        "pombo sources add test --write-key test --endpoint http://127.0.0.1:8082",
        "pombo sources add chat --write-key - --blip --identity hmac --gateway-url https://g.example < key.txt",
    )
)
@takes_settings
def add(
    name: SourceName,
    *,
    write_key: WriteKey,
    partitions: Annotated[int, typer.Option(metavar="N", help="Ordered streams, 1 to 256; fixed from now on.")] = 8,
    gateway_url: platforms.GatewayUrl = GATEWAY,
    as_json: Json = False,
    **settings: Any,
) -> int:
    """Add a source.

    Its intake key, with which SDKs and webhooks reach it, is printed here once, and nowhere later. With --blip it
    also prints what to paste into Blip.
    """
    from pombo.ops.cli.session import Session, run
    from pombo.shared.registry import Added

    options = given(settings)
    key = inputs.read_key(write_key)

    async def work(session: Session) -> Added:
        return await session.registry.add(name, key, partitions=partitions, **options)

    added = run(work)
    webhook = describe_webhook(added.source, added.intake_key, gateway_url)
    for warning in added.warnings:
        output.note(f"warning: {warning}")
    if as_json:
        row = {"state": "active", **_settings(added.source), "intake_key": added.intake_key}
        told = {"webhook": webhook} if added.source.blip else {}
        output.write_json({**row, **told, "warnings": list(added.warnings), "notices": list(added.notices)})
        return 0
    output.say(f"source {name} added: {added.notices[0]}", *added.notices[1:])
    output.say("", "Intake key, for Segment SDKs and webhooks; it is shown this once:", f"  {added.intake_key}")
    if added.source.blip:
        platforms.tell_webhook(webhook)
    return 0


@group.command("list", epilog=examples("pombo sources list", "pombo sources list --json"))
def list_(as_json: Json = False) -> int:
    """List all sources."""
    from pombo.ops.cli.session import Session, run
    from pombo.ops.overview import read_source
    from pombo.shared.flow import redis_now

    async def work(session: Session) -> "tuple[list[SourceView], tuple[str, ...]]":
        snapshot = await session.sources.snapshot()
        now = await redis_now(session.redis)
        views = [await read_source(session.redis, session.keys, s, now) for s in snapshot.sources.values()]
        return views, snapshot.unreadable

    views, unreadable = run(work)
    note_unreadable(unreadable)
    if as_json:
        output.write_json([_row(view) for view in views])
    elif views:
        output.show_table(
            ("source", "state", "goes to", ">partitions", ">limit/s", "rate group"),
            [(v.name, v.state, _place(v), v.source.partitions, _rate(v), v.source.rate_group) for v in views],
            keep=("source",),
        )
    else:
        output.say("There are no sources; `pombo sources add NAME --write-key -` makes one.")
    return 0


@group.command(epilog=examples("pombo sources show bot"))
def show(name: SourceName, as_json: Json = False) -> int:
    """Show one source: its settings and its state.

    Exit code 1 when its write key cannot be read with POMBO_SECRET_KEY, as a worker has to.
    """
    from pombo.ops.cli.session import run

    view, problem = run(lambda session: _look(session, name))
    document = {**_row(view), **_settings(view.source), **view.describe(), "write_key_problem": problem}
    if as_json:
        output.write_json(document)
        return UNWELL if problem else 0
    settings = _settings(view.source)
    for field in ("region", "endpoint"):
        settings.pop(field)
    output.show_fields(
        {
            "name": settings.pop("name"),
            "state": view.state,
            "reason": view.flow.reason,
            "held until": output.local(view.flow.held_until),
            "goes to": view.source.url,
            "write key": problem or "can be read",
            **_shown(settings),
        }
    )
    return UNWELL if problem else 0


@group.command("set", epilog=examples("pombo sources set bot --rate 500", "pombo sources set bot --region eu"))
@takes_settings
def set_(
    name: SourceName,
    *,
    as_json: Json = False,
    **settings: Any,
) -> int:
    """Change a source's settings.

    Another region, endpoint or --dead-bytes also ends its park. An empty --rate-group takes it out of its group, an
    empty --bot lets every bot's items count again. Workers follow within a second. A POMBO_SECRET_KEY
    that does not open the source's keys is refused; none is needed.
    """
    from pombo.ops.cli.session import Session, run
    from pombo.shared.sources import Source

    options = given(settings)
    if not options:
        raise typer.BadParameter("give at least one setting to change")
    if options.get("rate_group") == "":
        options["rate_group"] = None
    if options.get("bots") == [""]:
        options["bots"] = []

    async def work(session: Session) -> tuple[Source, Source]:
        if session.settings.secret_key is not None:
            await session.registry.check_keys(name)
        return await session.sources.get(name), await session.sources.set(name, **options)

    before, source = run(work)
    if {"identity", "blip"} & options.keys():
        platforms.note_identity(source, changed=source.identity != before.identity)
    if as_json:
        output.write_json(_settings(source))
    else:
        output.show_fields(_shown(_settings(source)))
    return 0


@group.command(epilog=examples("pombo sources pause bot"))
def pause(name: SourceName, as_json: Json = False) -> int:
    """Stop sending a source's events.

    They go on being accepted, and wait. Workers notice at once; what is on the wire is finished.
    """
    from pombo.ops.cli.session import Session, run
    from pombo.shared import flow

    async def work(session: Session) -> bool:
        await session.sources.get(name)
        return await flow.pause(session.redis, session.keys, name)

    changed = run(work)
    if as_json:
        output.write_json({"name": name, "changed": changed})
        return 0
    output.say(f"source {name} {'is paused' if changed else 'was paused already'}; `pombo sources resume {name}`")
    return 0


@group.command(epilog=examples("pombo sources resume bot"))
def resume(name: SourceName, as_json: Json = False) -> int:
    """Let a source send again that is paused, parked or broken.

    Workers notice at once. A hold that Segment asked for stays.
    """
    from pombo.ops.cli.session import Session, run
    from pombo.shared import flow

    async def work(session: Session) -> bool:
        await session.sources.get(name)
        return await flow.resume(session.redis, session.keys, name)

    changed = run(work)
    if as_json:
        output.write_json({"name": name, "changed": changed})
        return 0
    output.say(f"source {name} {'sends again' if changed else 'was neither paused, parked nor broken'}")
    return 0


@group.command(
    "rotate-key",
    epilog=examples("pombo sources rotate-key bot --write-key - < key.txt", "pombo sources rotate-key bot --intake"),
)
def rotate_key(
    name: SourceName,
    write_key: WriteKey = "-",
    intake: Annotated[
        bool, typer.Option("--intake", help="Make a new intake key instead; the old one ends at once.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a write key that POMBO_SECRET_KEY cannot open: its secret is lost.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Replace a source's write key, or its intake key.

    A new write key also ends the source's park. It is refused when POMBO_SECRET_KEY cannot open the old one, as
    workers could not open the new one; with --force it is stored all the same, every worker needs this
    POMBO_SECRET_KEY from then on, and --intake makes an intake key that works again.
    """
    if force and intake:
        raise typer.BadParameter("--force is for the write key; give the new one first, then use --intake")
    from pombo.ops.cli.session import Session, run

    key = "" if intake else inputs.read_key(write_key)

    async def work(session: Session) -> tuple[tuple[str, ...], str | None]:
        if intake:
            return (), await session.registry.rotate_intake_key(name)
        return await session.registry.rotate_key(name, key, force=force), None

    warnings, intake_key = run(work)
    for warning in warnings:
        output.note(f"warning: {warning}")
    if as_json:
        output.write_json({"name": name, "intake_key": intake_key, "warnings": list(warnings)})
    elif intake_key:
        output.say(f"source {name} has a new intake key; it is shown this once:", f"  {intake_key}")
    else:
        output.say(f"source {name} has a new write key")
    return 0


group.command("test", epilog=trial.EXAMPLES)(trial.try_out)


@group.command(epilog=examples("pombo sources remove bot", "pombo sources remove bot --discard --yes"))
def remove(
    name: SourceName,
    discard: Annotated[
        bool, typer.Option("--discard", help="Remove it with the events and dead letters that it holds.")
    ] = False,
    yes: Yes = False,
) -> int:
    """Remove a source; it asks.

    One that holds events is left alone, unless --discard.
    """
    from pombo.ops.cli.session import Session, run

    async def exists(session: Session) -> None:
        await session.sources.get(name)

    async def work(session: Session) -> None:
        await session.sources.remove(name, discard=discard)

    run(exists)
    what = " with every event and dead letter that it holds" if discard else ""
    inputs.confirm(f"Remove source {name}{what}?", yes=yes)
    run(work, timeout_s=60)
    output.say(f"source {name} removed")
    return 0


def note_unreadable(names: "tuple[str, ...] | list[str]") -> None:
    """Name the sources that a newer pombo stored."""
    for name in names:
        output.note(f"warning: source {name} was stored in a form that this pombo cannot read; upgrade pombo here")


async def _look(session: "Session", name: str) -> "tuple[SourceView, str | None]":
    """The source, and what is wrong with its write key."""
    from pombo.ops.overview import read_source
    from pombo.shared.errors import PomboError
    from pombo.shared.flow import redis_now

    source = await session.sources.get(name)
    view = await read_source(session.redis, session.keys, source, await redis_now(session.redis))
    try:
        await session.registry.write_key(name)
    except PomboError as error:
        return view, str(error)
    return view, None


def _settings(source: Any) -> dict[str, Any]:
    settings: dict[str, Any] = source.model_dump(mode="json", exclude={"v", "incarnation"})
    return settings


def _shown(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings for people."""
    return {**settings, "bots": ", ".join(settings["bots"]) or None}


def _row(view: "SourceView") -> dict[str, Any]:
    """The JSON of `sources list`."""
    source = view.source
    return {
        "name": source.name,
        "region": source.region,
        "endpoint": source.endpoint,
        "state": view.state,
        "partitions": source.partitions,
        "rate": source.rate,
        "rate_group": source.rate_group,
    }


def _place(view: "SourceView") -> str:
    return view.source.endpoint or f"region {view.source.region or 'us'}"


def _rate(view: "SourceView") -> str:
    return f"{view.source.rate:g}" if view.source.rate else "no limit"
