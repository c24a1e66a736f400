"""Fault plans: a list of rules, of which the first that matches a request decides its answer.

```json
[{"when": {"requests": [3, 5]}, "answer": {"status": 429, "headers": {"Retry-After": 2}}, "times": 1}]
```

`when` — all of it must hold; what it leaves out matches everything:

* `key`: the write key, or a list of them; any key in the request counts.
* `requests`: N for the N-th request, [from, to] for a range with both ends in it, [from, null] for an open
  one. Counted from 1 over every POST on one of Segment's routes since the start or the last reset: the `n`
  of `/_sim/requests`.
* `message_id`: a messageId, or a list of them, of which the request contains at least one.
* `share`: the probability that the rule fires, from 0 to 1, drawn once the rest of `when` holds.

`answer` — what it leaves out stays as Segment would do it:

* `status`: outside 200–299 nothing of the request is accepted.
* `headers`: put over the usual ones. `body`: a string is sent as it is, an object or a list as JSON; one
  that says `"success": false` refuses the request, whatever the status.
* `delay_s`: seconds to wait before anything else happens.
* `action`: "hang" never answers and accepts nothing, "reset_before" resets the connection with nothing
  accepted, "reset_after" does so once everything is. With an action no status, headers or body is sent.

`times`: how often the rule may fire; without it, without end.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StrictInt,
    StrictStr,
    ValidationError,
)
from pydantic_core import ErrorDetails

from pombo.ops.simulator.errors import PlanError
from pombo.ops.simulator.messages import pretty

Action = Literal["hang", "reset_before", "reset_after"]
_FRAMING = ("content-length", "transfer-encoding")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e\t]*[\x21-\x7e])?|")


def _texts(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _range(value: object) -> object:
    return [value, value] if isinstance(value, int) and not isinstance(value, bool) else value


def _ascending(value: tuple[int, int | None]) -> tuple[int, int | None]:
    if value[1] is not None and value[1] < value[0]:
        raise ValueError("the range ends before it begins")
    return value


def _header_name(name: str) -> str:
    if not _HEADER_NAME.fullmatch(name) or name.lower() in _FRAMING:
        raise ValueError("not a header that a plan may set")
    return name


def _header_value(value: object) -> object:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if isinstance(text, str) and not _HEADER_VALUE.fullmatch(text):
        raise ValueError("not a header's value")
    return text


Texts = Annotated[frozenset[StrictStr], BeforeValidator(_texts)]
Count = Annotated[StrictInt, Field(ge=1)]
Range = Annotated[tuple[Count, Count | None], BeforeValidator(_range), AfterValidator(_ascending)]
HeaderName = Annotated[StrictStr, AfterValidator(_header_name)]
HeaderValue = Annotated[StrictStr, BeforeValidator(_header_value)]


class When(BaseModel):
    """Say which requests a rule is about."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: Texts | None = Field(default=None, description="a string or a list of strings")
    requests: Range | None = Field(
        default=None,
        description="a whole number from 1, or [from, to] with to ≥ from or null for an open end",
    )
    message_id: Texts | None = Field(default=None, description="a string or a list of strings")
    share: Annotated[float, Field(strict=True, ge=0, le=1)] | None = Field(
        default=None, description="a number from 0 to 1"
    )


class Answer(BaseModel):
    """Say what such a request meets."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    status: Annotated[StrictInt, Field(ge=200, le=599)] | None = Field(
        default=None, description="a whole number from 200 to 599"
    )
    headers: dict[HeaderName, HeaderValue] | None = Field(
        default=None,
        description="an object of header names to strings or whole numbers, without "
        "Content-Length and Transfer-Encoding",
    )
    body: StrictStr | dict[str, JsonValue] | list[JsonValue] | None = Field(
        default=None, description="a string, an object or a list"
    )
    delay_s: Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)] | None = Field(
        default=None, description="a number of seconds from 0"
    )
    action: Action | None = Field(default=None, description='"hang", "reset_before" or "reset_after"')

    def rendered(self) -> bytes | None:
        """Return the bytes of the body, or None where the plan names none."""
        if self.body is None or isinstance(self.body, str):
            return None if self.body is None else self.body.encode()
        return pretty(self.body)

    def refuses(self) -> bool:
        """Return whether the body is JSON that says `"success": false`."""
        try:
            document = orjson.loads(self.rendered() or b"null")
        except orjson.JSONDecodeError:
            return False
        return isinstance(document, dict) and document.get("success") is False


class Rule(BaseModel):
    """Pair an answer with the requests that it is for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    when: When = Field(default=When(), description="an object")
    answer: Answer = Field(description="an object")
    times: Count | None = Field(default=None, description="a whole number from 1")


def parse_plan(document: object) -> tuple[Rule, ...]:
    """Read a plan from a parsed JSON document.

    Raises:
        PlanError: it is no list of rules; the message names the rule and the key.
    """
    if not isinstance(document, list | tuple):
        raise PlanError(f"a plan must be a list of rules, not {_shown(document)}")
    return tuple(_rule(number, rule) for number, rule in enumerate(document, start=1))


def read_plan(text: bytes, name: str = "plan") -> tuple[Rule, ...]:
    """Read a plan from JSON text; `name` is what the message calls it.

    Raises:
        PlanError: the text is no JSON, or no plan.
    """
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise PlanError(f"{name} is not valid JSON: {error}") from error
    return parse_plan(document)


def load_plan(path: Path) -> tuple[Rule, ...]:
    """Read a plan from a file.

    Raises:
        PlanError: the file cannot be read, or holds no plan.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise PlanError(f"plan {path} cannot be read: {error.strerror}") from error
    return read_plan(text, f"plan {path}")


def _rule(number: int, document: object) -> Rule:
    if isinstance(document, Rule):
        return document
    try:
        return Rule.model_validate(document)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_context=False)
        # A key that is missing may be there, misspelt: what is wrong with those that are there says more.
        problem = _complaint(min(errors, key=lambda one: one["type"] == "missing"))
        raise PlanError(f"plan rule {number}: {problem}") from error


def _complaint(error: ErrorDetails) -> str:
    """Turn pydantic's first finding into one line; below a field its description says it all."""
    names = [str(part) for part in error["loc"]]
    if not names:
        return f"a rule must be an object, not {_shown(error['input'])}"
    parts: dict[str, type[BaseModel]] = {"when": When, "answer": Answer}
    part = parts.get(names[0], Rule) if len(names) > 1 else Rule
    place, name = (names[0], names[1]) if part is not Rule else ("the rule", names[0])
    if error["type"] == "extra_forbidden":
        return f'unknown key "{name}" in {place}; allowed: {", ".join(part.model_fields)}'
    if error["type"] == "missing" and len(names) == 1:
        return f'"{name}" is missing; a rule has: {", ".join(part.model_fields)}'
    label = name if part is Rule else f"{place}.{name}"
    return f"{label} must be {part.model_fields[name].description}, not {_shown(error['input'])}"


def _shown(value: Any) -> str:
    try:
        text = orjson.dumps(value).decode()
    except TypeError:
        text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
