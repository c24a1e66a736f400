"""A filter of dead letters as a job tells it: without the people it names."""

from collections.abc import Mapping
from typing import Any

from rq.job import Job

from pombo.shared.deadletters import Filter

NOBODY = ""
"""A user, or a messageId, that no event has: stands in an ended job for what was wanted."""
PEOPLE = ("user", "message_id", "ids")
"""What of a filter may say whom it is about."""
_TOLD = {"reason": "reason", "event": "event", "since": "since", "until": "until", "group": "group"}


def words(wanted: Filter) -> str:
    """The filter for people, in brackets with a space before, without whom it is about; empty when it means all."""
    criteria = wanted.describe()
    criteria |= {name: f"{at:%Y-%m-%d %H:%M:%S} UTC" for name in ("since", "until") if (at := getattr(wanted, name))}
    told = [f"{name} {criteria[field]}" for field, name in _TOLD.items() if criteria.get(field) is not None]
    told += ["one user"] if criteria.get("user") is not None else []
    told += ["one messageId"] if criteria.get("message_id") is not None else []
    told += [f"{len(criteria['ids'])} chosen ones"] if criteria.get("ids") is not None else []
    return f" ({', '.join(told)})" if told else ""


def forget(job: Job) -> None:
    """Take out of an ended job's words whom it was about; the job has to be saved."""
    job.args = tuple(_masked(value) if isinstance(value, dict) else value for value in job.args or ())


def _masked(criteria: Mapping[str, Any]) -> dict[str, Any]:
    masks: dict[str, Any] = {"user": NOBODY, "message_id": NOBODY, "ids": []}
    return {name: masks[name] if name in PEOPLE and value is not None else value for name, value in criteria.items()}
