"""Ways into a source by HTTP: what its users paste into Blip, and a first event by hand."""

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pombo.shared.sources import Source

GATEWAY: Final = "https://YOUR-GATEWAY"
"""Stands for the gateway's address, which nobody here can know."""


LOCAL_GATEWAY: Final = "http://localhost:8080"
"""The gateway of `pombo up`, seen from its own machine."""


def curl_line(intake_key: str = "INTAKE_KEY", gateway: str = LOCAL_GATEWAY) -> str:
    """A command that sends one event as Segment's SDKs do."""
    event = '{"userId": "u1", "event": "Message Sent"}'
    return f"curl {gateway}/v1/track -u {intake_key}: -H 'Content-Type: application/json' -d '{event}'"


def describe_webhook(source: "Source", intake_key: str, gateway: str = GATEWAY) -> dict[str, Any]:
    """Where Blip's webhook has to point, and the header that it has to send."""
    url = f"{gateway.rstrip('/')}/blip/{source.name}"
    kinds = {kind: f"{url}/{kind}" for kind in ("messages", "events", "contacts")}
    return {"url": url, "urls": kinds, "header": source.intake_header, "value": intake_key}
