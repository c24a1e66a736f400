"""Remedies: what can be done about what died, for each reason, in a sentence or two."""

from pombo.shared.deadletters import Reason

REMEDIES: dict[Reason, str] = {
    "rejected_by_segment": (
        "Segment refused this event alone; its answer says why. Repair it with `pombo dead edit`, or redrive it once "
        "Segment takes such events again."
    ),
    "too_large": (
        "Segment takes 32 KB an event. Shorten what is large in it with `pombo dead edit`, and have the bot send less."
    ),
    "poison": (
        "Requests with this event alone failed ten times while others of its source went through. Look at the answers "
        "in its history; then redrive it, or repair it with `pombo dead edit`."
    ),
    "expired": (
        "It failed for longer than the source's max age. Redrive it when Segment is well again; the bot's own clock of "
        "it, its timestamp, stays."
    ),
    "outcome_unknown": (
        "No answer told whether Segment has it, and its 24 h of telling copies apart are over: a redrive may count it "
        "twice. Look for its messageId in Segment first."
    ),
    "invalid": (
        "Segment would have answered 200 and dropped it. Repair the field that the answer names with `pombo dead "
        "edit`, and correct the bot."
    ),
    "corrupt": (
        "A record batch that cannot be read, kept as it was: Redis or something between gave other bytes back. Export "
        "it to look into it, then discard it."
    ),
    "unknown_item": (
        "Nobody knows how to make an event of this item. Write the event that it should have been with `pombo dead "
        "edit`, or discard it."
    ),
    "policy": "A rule of yours keeps such events from Segment. Discard it, or change the rule and redrive it.",
}


def remedy(reason: str) -> str:
    """What can be done about letters of a reason; of one that is unknown here, what always can."""
    known = {str(one): told for one, told in REMEDIES.items()}
    return known.get(reason, "Look at its history; then redrive, edit, export or discard it.")
