"""The webhook of a source: what its users paste into Blip."""

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pombo.shared.sources import Source

GATEWAY: Final = "https://YOUR-GATEWAY"
"""Stands for the gateway's address, which nobody here can know."""


def describe_webhook(source: "Source", intake_key: str, gateway: str = GATEWAY) -> dict[str, Any]:
    """Where Blip's webhook has to point, and the header that it has to send."""
    url = f"{gateway.rstrip('/')}/blip/{source.name}"
    kinds = {kind: f"{url}/{kind}" for kind in ("messages", "events", "contacts")}
    return {"url": url, "urls": kinds, "header": source.intake_header, "value": intake_key}
