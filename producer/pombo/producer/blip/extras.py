"""Extras: what bots put beside the fields that Blip knows, and Blip's own notes among it."""

import re
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

_KEPT_BACK = frozenset({
    "cpf", "cnpj", "rg", "taxdocument", "documento", "password", "senha", "token", "accesstoken", "authorization",
    "card", "cartao", "cvv",
})  # fmt: skip
"""Names of documents and secrets, without case, accents and separators."""

_WORDS = _KEPT_BACK - {"card"}
"""Those that say the same as one word of a name, as in `cpfCliente` or `numero_cartao`."""
_WORD = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z0-9]+(?![a-z])")


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
    own = {key: _without_secrets(value) for key, value in extras.items() if not key.startswith("#")}
    told = {key: value for key, value in own.items() if value is not None and not _is_secret(key)}
    return {scrub.text(key): scrub(told[key]) for key in sorted(told)}


def _without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_secrets(member) for key, member in value.items() if not _is_secret(key)}
    return [_without_secrets(member) for member in value] if isinstance(value, list) else value


def _is_secret(key: str) -> bool:
    ascii_key = "".join(letter for letter in unicodedata.normalize("NFKD", key) if letter.isascii())
    whole = "".join(letter for letter in ascii_key.lower() if letter.isalnum())
    return whole in _KEPT_BACK or any(word.lower() in _WORDS for word in _WORD.findall(ascii_key))
