"""What a source is told of a chatbot platform, and what its users paste there."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pombo.ops.cli import output
from pombo.ops.webhook import GATEWAY

if TYPE_CHECKING:
    from pombo.shared.sources import Source

IntakeHeader = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Header in which webhooks bring the intake key (Authorization unless set)."),
]
Blip = Annotated[
    bool | None, typer.Option("--blip/--no-blip", help="It takes what Blip's data webhook sends.", show_default=False)
]
MessageBodies = Annotated[
    str | None,
    typer.Option(metavar="full|length|drop", help="Blip: what is told of messages' bodies (length unless set)."),
]
Identity = Annotated[
    str | None,
    typer.Option(
        metavar="raw|hmac",
        help="Blip: userIds are its identities, on WhatsApp phone numbers, or keyed hashes (raw unless set).",
    ),
]
Perspective = Annotated[
    str | None,
    typer.Option(metavar="bot|customer", help="Blip: whose sending is Message Sent (bot unless set)."),
]
Tickets = Annotated[
    bool | None,
    typer.Option(
        "--tickets/--no-tickets", help="Blip: tickets become Ticket Updated (off unless set).", show_default=False
    ),
]
Bots = Annotated[
    list[str] | None,
    typer.Option(
        "--bot",
        metavar="IDENTITY",
        help="Blip: only items of this bot count, such as router@msging.net; may be repeated.",
        show_default=False,
    ),
]
GatewayUrl = Annotated[
    str, typer.Option(metavar="URL", help="The gateway's address, for the URL to paste.", show_default=False)
]


def tell_webhook(webhook: dict[str, Any]) -> None:
    """Say what to paste into Blip."""
    output.say("", "Paste into Blip (your bot, Integrations, Webhook; a URL for all types, and a custom header):")
    output.show_fields({f"  {name}": webhook[name] for name in ("url", "header", "value")})
    if webhook["url"].startswith(GATEWAY):
        output.say(f"{GATEWAY} stands for your gateway's address; --gateway-url fills it in.")


def note_identity(source: "Source", *, changed: bool) -> None:
    """Say on stderr what a source's choice of userIds means."""
    from pombo.shared.options import identity_notice

    notice = identity_notice(source)
    if notice:
        output.note(f"note: {notice}")
    if changed:
        output.note("note: people known so far have other userIds from now on, and Segment takes them for others")
