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


REMEDIES: Final[dict[Reason, Remedy]] = {
    "rejected_by_segment": Remedy(
        "Rejected by Segment",
        "Segment answered that it does not take this event; others of the same request were taken.",
        "Read the answer. Mend the event here and redrive it, or mend the bot that sends such events.",
        True,
    ),
    "too_large": Remedy(
        "Too large",
        "The event is larger than Segment takes (32 KB).",
        "Edit it: take out what nobody needs, then redrive. Have the bot send less.",
        True,
    ),
    "poison": Remedy(
        "Poison",
        "Requests with this event failed again and again, while others of the source went through.",
        "Look at the attempts. If the fault was Segment's and is over, redrive; else edit it first.",
        False,
    ),
    "expired": Remedy(
        "Expired",
        "It could not be delivered within the source's max_age, a day unless set otherwise.",
        "See that the source delivers again, then redrive.",
        False,
    ),
    "outcome_unknown": Remedy(
        "Outcome unknown",
        "A request with it was sent, no answer came, and Segment's memory of messageIds (24 h) is over: "
        "Segment may have the event, or not.",
        "Look in Segment for its messageId. Redrive it only if it is not there; else discard it.",
        False,
    ),
    "invalid": Remedy(
        "Invalid",
        "It reached the gateway from an SDK or a webhook, and breaks a rule for which Segment answers 200 and drops "
        "the event.",
        "Edit it, then redrive; the error names the field. Mend what sends it.",
        True,
    ),
    "corrupt": Remedy(
        "Corrupt",
        "A record batch that cannot be read: its bytes are not what was written.",
        "It cannot be redriven. Export it to look into it, then discard it; `pombo doctor` looks for the cause.",
        False,
    ),
    "unknown_item": Remedy(
        "Unknown item",
        "The gateway was given something that is no event it knows.",
        "Edit it into an event if it is worth one; else discard it, and mend what sends it.",
        True,
    ),
    "policy": Remedy(
        "Policy",
        "A rule of the installation sent it here instead of to Segment.",
        "If the rule was right, discard it; else change the rule, then redrive.",
        True,
    ),
}  # fmt: skip
_NEWER: Final = Remedy(
    "Of a newer pombo", "A newer pombo wrote this reason.", "Upgrade pombo here, then look again.", False
)


def remedy(reason: str) -> Remedy:
    """What a reason means, also where nobody here knows it."""
    return {str(name): told for name, told in REMEDIES.items()}.get(reason, _NEWER)
