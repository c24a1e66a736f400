"""Extras: what bots put beside the fields that Blip knows, and Blip's own notes among it."""

import unicodedata
from collections.abc import Mapping
from typing import Any

from pombo.producer.blip.identities import Scrub, reference
from pombo.producer.blip.options import BlipOptions

NOTES = {
    "#stateName": "state_name",
    "#stateId": "state_id",
    "#previousStateName": "previous_state_name",
    "#previousStateId": "previous_state_id",
    "#messageKind": "message_kind",
    "#messagePurpose": "message_purpose",
    "#message.ticketId": "ticket_id",
    "#wa.forwarded": "forwarded",
    "#wa.voice": "voice",
}
"""Keys of metadata and extras that are told, under the property's name; other metadata is noise, or personal."""

REFERENCES = {"#messageId": "input_ref", "#inReplyToId": "in_reply_to_ref", "#wa.context.id": "in_reply_to_ref"}
"""Keys that hold an id of another message."""

_KEPT_BACK = frozenset(
    {"cpf", "cnpj", "rg", "taxdocument", "password", "senha", "token", "accesstoken", "authorization", "cvv"}
)
"""Names of documents and secrets, without case, accents and separators."""


def told_notes(metadata: Mapping[str, Any], options: BlipOptions, scrub: Scrub) -> dict[str, Any]:
    """The properties that Blip's notes make."""
    told = {name: scrub(metadata[key]) for key, name in NOTES.items() if isinstance(metadata.get(key), str | int)}
    for key, name in REFERENCES.items():
        blip_id = metadata.get(key)
        if isinstance(blip_id, str) and blip_id and name not in told:
            told[name] = reference(options, blip_id)
    return told


def told_extras(extras: Mapping[str, Any], scrub: Scrub) -> dict[str, Any]:
    """What the bot added itself, without Blip's notes and without documents and secrets, by their names."""
    own = {key: value for key, value in extras.items() if not key.startswith("#") and _plain(key) not in _KEPT_BACK}
    return {scrub.text(key): scrub(own[key]) for key in sorted(own) if own[key] is not None}


def _plain(key: str) -> str:
    letters = unicodedata.normalize("NFKD", key).lower()
    return "".join(letter for letter in letters if letter.isascii() and letter.isalnum())
