"""Remedies: what each reason of a dead letter means, and what to do about it."""

from typing import Final, NamedTuple

from pombo.shared.deadletters import Reason


class Remedy(NamedTuple):
    """A reason for people."""

    title: str
    means: str
    repair: str
    resend: bool
    """Whether Segment certainly does not have the event, so that a redrive counts nothing twice."""
    typed: str
    """The repair for those at a terminal, with the commands to type."""


REMEDIES: Final[dict[Reason, Remedy]] = {
    "rejected_by_segment": Remedy(
        "Rejected by Segment",
        "Segment answered that it does not take this event; others of the same request were taken.",
        "Read the answer. Mend the event here and redrive it, or mend the bot that sends such events.",
        True,
        "Segment refused this event alone; its answer says why. Repair it with `pombo dead edit`, or redrive it "
        "once Segment takes such events again.",
    ),
    "too_large": Remedy(
        "Too large",
        "The event is larger than Segment takes (32 KB).",
        "Edit it: take out what nobody needs, then redrive. Have the bot send less.",
        True,
        "Segment takes 32 KB an event. Shorten what is large in it with `pombo dead edit`, and have the bot send "
        "less.",
    ),
    "poison": Remedy(
        "Poison",
        "Requests with this event failed again and again, while others of the source went through.",
        "Look at the attempts. If the fault was Segment's and is over, redrive; else edit it first.",
        False,
        "Requests with this event alone failed ten times while others of its source went through, or fifty times "
        "with nothing else left to send. Look at the answers in its history; then redrive it, or repair it with "
        "`pombo dead edit`.",
    ),
    "expired": Remedy(
        "Expired",
        "It could not be delivered within the source's max_age, a day unless set otherwise.",
        "See that the source delivers again, then redrive.",
        False,
        "It failed for longer than the source's max age. Redrive it when Segment is well again; the bot's own "
        "clock of it, its timestamp, stays.",
    ),
    "outcome_unknown": Remedy(
        "Outcome unknown",
        "A request with it was sent, no answer came, and Segment's memory of messageIds (24 h) is over: "
        "Segment may have the event, or not.",
        "Look in Segment for its messageId. Redrive it only if it is not there; else discard it.",
        False,
        "No answer told whether Segment has it, and its 24 h of telling copies apart are over: a redrive may count "
        "it twice. Look for its messageId in Segment first.",
    ),
    "invalid": Remedy(
        "Invalid",
        "It reached the gateway from an SDK or a webhook, and breaks a rule for which Segment answers 200 and drops "
        "the event.",
        "Edit it, then redrive; the error names the field. Mend what sends it.",
        True,
        "Segment would have answered 200 and dropped it. Repair the field that the answer names with `pombo dead "
        "edit`, and correct the bot.",
    ),
    "corrupt": Remedy(
        "Corrupt",
        "A record batch that cannot be read: its bytes are not what was written.",
        "It cannot be redriven. Export it to look into it, then discard it; `pombo doctor` looks for the cause.",
        False,
        "A record batch that cannot be read, kept as it was: Redis or something between gave other bytes back. "
        "Export it to look into it, then discard it.",
    ),
    "unknown_item": Remedy(
        "Unknown item",
        "The gateway was given something that is no event it knows.",
        "Edit it into an event if it is worth one; else discard it, and mend what sends it.",
        True,
        "Nobody knows how to make an event of this item. Write the event that it should have been with `pombo dead "
        "edit`, or discard it.",
    ),
    "policy": Remedy(
        "Policy",
        "A rule of the installation sent it here instead of to Segment.",
        "If the rule was right, discard it; else change the rule, then redrive.",
        True,
        "A rule of yours keeps such events from Segment. Discard it, or change the rule and redrive it.",
    ),
}  # fmt: skip
_NEWER: Final = Remedy(
    "Of a newer pombo",
    "A newer pombo wrote this reason.",
    "Upgrade pombo here, then look again.",
    False,
    "Look at its history; then redrive, edit, export or discard it.",
)


def remedy(reason: str) -> Remedy:
    """What a reason means, also where nobody here knows it."""
    return {str(name): told for name, told in REMEDIES.items()}.get(reason, _NEWER)
