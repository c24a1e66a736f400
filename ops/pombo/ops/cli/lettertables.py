"""Dead letters and their groups as people read them on a terminal."""

from typing import TYPE_CHECKING, Any

from pombo.ops import wording
from pombo.ops.cli import output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pombo.shared.deadletters import DeadLetter, Group

_GROUP_COLUMNS = ("source", "group", "reason", ">letters", "newest", "event", "answer")
_COLUMNS = ("id", "reason", "died", "event", "user", "answer")


def show_letters(letters: "Sequence[DeadLetter]", limit: int, *, filtered: bool) -> None:
    """Show the first `limit` letters as a table, and whether there are more."""
    if not letters:
        output.say("No dead letters match." if filtered else "No dead letters.")
        return
    output.show_table(_COLUMNS, [_row(letter.describe()) for letter in letters[:limit]], keep=("id", "reason", "died"))
    if len(letters) > limit:
        output.say("", f"There are more than {limit:,}; filter them, or raise --limit.")


def _row(letter: dict[str, Any]) -> tuple[object, ...]:
    status, answer = letter["status"], letter["answer"]
    told = " ".join(str(part) for part in (status, answer and answer[:60]) if part)
    name = letter["event"] or letter["type"] or wording.plural(letter["events"], "event")
    return (letter["id"], letter["reason"], output.brief(letter["died_at"]), name, letter["user"], told)


def show_groups(groups: "Sequence[Group]") -> None:
    """Show groups as a table."""
    output.show_table(_GROUP_COLUMNS, [_group_row(one) for one in groups], keep=("source", "group", "reason"))


def _group_row(one: "Group") -> tuple[object, ...]:
    told = " ".join(str(part) for part in (one.status, one.answer) if part)
    name = "of several" if one.other else one.event or one.type
    return (one.source, one.fingerprint, one.reason, one.count, output.brief(one.last_at.isoformat()), name, told)


def show_letter(letter: dict[str, Any]) -> None:
    """Show all of one letter, as `DeadLetter.show` tells it."""
    from pombo.ops.remedies import remedy

    payload, encoding, history = (letter.pop(name) for name in ("payload", "payload_encoding", "history"))
    letter.pop("payload_raw", None)
    for name in ("accepted_at", "died_at"):
        letter[name] = output.local(letter[name])
    output.show_fields(letter)
    if history:
        output.say("", "History")
        output.show_table(
            ("at", ">status", "outcome", "note"),
            [(output.local(a["at"]), a["status"], a["outcome"], a.get("note")) for a in history],
        )
    output.say("", "What to do", remedy(letter["reason"]).typed)
    output.say("", "Event" if encoding == "json" else f"Payload ({encoding})")
    output.write_json(payload)
