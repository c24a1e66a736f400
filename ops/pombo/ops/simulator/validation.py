"""What Segment drops after a 200: the codes that its delivery overview shows as failed on ingest.

Beside the documented codes there are four of our own, where Segment names none: `item_not_object`,
`unknown_type`, `event_too_large` and `too_many_events`. `id_required` also stands for a group without
groupId and an alias without userId and previousId, which the documentation requires without saying what
becomes of them.
"""

from typing import Any

import orjson

from pombo.ops.simulator.submission import EVENT_TYPES, Item, Submission
from pombo.ops.simulator.switches import Switches

KEPT = "kept"
DUPLICATE = "duplicate"
CONSENT_EVENTS = frozenset({"Segment Consent Preference", "Segment Consent Preference Updated"})
_REQUIRED_IDS = {"group": ("groupId",), "alias": ("userId", "previousId")}


def fates(submission: Submission, switches: Switches) -> list[str]:
    """Return what becomes of each item before duplicates are looked for: "kept" or a drop code."""
    items = submission.items or []
    over = len(items) > switches.batch_limit
    if over and switches.over_batch_limit == "drop_all":
        return ["too_many_events"] * len(items)
    found = [_fate(item, submission, switches) for item in items[: switches.batch_limit]]
    return found + ["too_many_events"] * (len(items) - len(found))


def batch_code(found: list[str]) -> str | None:
    """Return the code that a batch as a whole fails with, if any of it fails."""
    if not found:
        return "empty_batch"
    kept = found.count(KEPT)
    if kept == len(found):
        return None
    return "multi_user_error" if kept else "empty_batch_result"


def oversized(submission: Submission, switches: Switches) -> bool:
    """Return whether any event is over its limit; a body within the limit cannot hold one."""
    if submission.raw_bytes <= switches.event_limit:
        return False
    return any(event_bytes(item) > switches.event_limit for item in submission.items or ())


def event_bytes(item: object) -> int:
    """Return an event's size as compact UTF-8 JSON, in bytes."""
    try:
        return len(orjson.dumps(item))
    except TypeError:  # orjson reads deeper than the 254 levels that it writes.
        return _deep_bytes(item)


def _deep_bytes(value: object) -> int:
    total, pending = 0, [value]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            total += 1 + max(1, len(node)) + sum(len(orjson.dumps(name)) + 1 for name in node)
            pending.extend(node.values())
        elif isinstance(node, list):
            total += 1 + max(1, len(node))
            pending.extend(node)
        else:
            total += len(orjson.dumps(node))
    return total


def _fate(item: object, submission: Submission, switches: Switches) -> str:
    return (
        _source_code(submission.key_of(item), switches)
        or _size_code(item, submission, switches)
        or drop_code(item, switches, submission.context)
        or KEPT
    )


def _source_code(key: str | None, switches: Switches) -> str | None:
    if switches.known_keys is not None and key not in switches.known_keys:
        return "project_not_found"
    if key in switches.disabled_keys:
        return "source_disabled"
    return "locked_workspace" if key in switches.locked_keys else None


def _size_code(item: object, submission: Submission, switches: Switches) -> str | None:
    if submission.raw_bytes <= switches.event_limit or event_bytes(item) <= switches.event_limit:
        return None
    return "event_too_large"


def drop_code(item: object, switches: Switches, common_context: Item | None = None) -> str | None:
    """Return the code that an item is dropped with, or None; null counts as absent everywhere."""
    if not isinstance(item, dict):
        return "item_not_object"
    kind = item.get("type")
    if kind not in EVENT_TYPES:
        return "unknown_type" if switches.unknown_type == "drop" else _ids_code(item, None)
    code = _ids_code(item, kind) or _content_code(item, kind)
    if code or kind != "track" or item["event"] not in CONSENT_EVENTS:
        return code
    return _consent_code(item, common_context)


def _ids_code(item: Item, kind: str | None) -> str | None:
    user, anonymous = item.get("userId"), item.get("anonymousId")
    if not (_absent_or_text(user) and _absent_or_text(anonymous)):
        return "id_not_string"
    if user is None and anonymous is None:
        return "no_user_anon_id"
    for name in _REQUIRED_IDS.get(kind or "", ()):
        if item.get(name) is None:
            return "id_required"
        if not _absent_or_text(item[name]):
            return "id_not_string"
    return None


def _content_code(item: Item, kind: str) -> str | None:
    if kind == "track":
        return _event_code(item.get("event")) or _object_code(item, "properties")
    if kind in ("page", "screen"):
        return _label_code(item) or _object_code(item, "properties")
    return None if kind == "alias" else _object_code(item, "traits")


def _event_code(event: object) -> str | None:
    if event is None or event == "":
        return "event_not_defined"
    return None if isinstance(event, str) else "event_not_string"


def _label_code(item: Item) -> str | None:
    return next((f"{name}_not_string" for name in ("name", "category") if not _absent_or_text(item.get(name))), None)


def _object_code(item: Item, name: str) -> str | None:
    value = item.get(name)
    return None if value is None or isinstance(value, dict) else f"{name}_not_object"


def _absent_or_text(value: object) -> bool:
    return value is None or (isinstance(value, str) and value != "")


def _consent_code(item: Item, common_context: Item | None) -> str | None:
    if item.get("anonymousId") is None:
        return "consent_needs_anonymous_id_set"
    context = {**(common_context or {}), **_mapping(item.get("context"))}
    if not isinstance(_mapping(context.get("device")).get("advertisingId"), str | None):
        return "device_advertisingid_should_be_string"
    return _preferences_code(_mapping(context.get("consent")))


def _preferences_code(consent: dict[str, Any]) -> str | None:
    preferences, version = consent.get("categoryPreferences"), consent.get("version")
    if preferences is None:
        return "consent_categorypreferences_should_exist"
    if not isinstance(preferences, dict):
        return "consent_categorypreferences_should_be_object"
    if not all(isinstance(value, bool) for value in preferences.values()):
        return "consent_categorypreferences_fields_should_be_bool"
    number = not isinstance(version, bool) and isinstance(version, int | float | None)
    return None if number else "consent_version_should_be_number"


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
