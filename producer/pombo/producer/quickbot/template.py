"""Templates: `{{variable}}` in a text, with the semantics of the platform's second pass.

A name is one or more characters other than braces, and is looked up exactly: no trimming, no other case. What has
no value becomes an empty text. What is inserted is not looked at again, so a user's own `{{…}}` stays text.
Inline code, `{{= … =}}`, is JavaScript that the platform runs before that pass: it is refused, not run.
"""

import re
from collections.abc import Iterator
from typing import Any

from pombo.producer.quickbot.variables import Value, Variables, text_of
from pombo.shared.errors import InvalidEvent
from pombo.shared.values import member, mend, shortened

_VARIABLE = re.compile(r"\{\{([^{}]+)\}\}")
_LINE_END = re.compile("[\n\r\u2028\u2029]")


def fill(template: str, variables: Variables, field: str) -> str:
    """Put the variables' values into a template.

    Raises:
        InvalidEvent: it holds inline code; `field` is the error's.
    """
    refuse_code(template, field)
    return _VARIABLE.sub(lambda found: _inserted(variables.value(found[1])), mend(template))


def fill_value(value: Any, variables: Variables, path: str) -> Any:
    """Fill a text, or every text of an object, also of objects within and in lists.

    A member of an object that comes out empty is left out. Texts that are members of a list themselves stay as
    they are, as do numbers and booleans. Containers are plain dicts and lists of bounded depth.
    """
    if isinstance(value, str):
        return fill(value, variables, path)
    if isinstance(value, dict):
        filled = {key: fill_value(item, variables, member(path, key)) for key, item in value.items()}
        return {key: item for key, item in filled.items() if item is not None and item != ""}
    if isinstance(value, list):
        return [
            fill_value(item, variables, f"{path}[{index}]") if isinstance(item, dict) else item
            for index, item in enumerate(value)
        ]
    return value


def single_value(template: str, variables: Variables) -> Value | None:
    """The value itself, maybe a list, of a template that is one `{{variable}}` and nothing else."""
    found = _VARIABLE.fullmatch(template)
    return None if found is None else variables.value(found[1])


def names_in(template: str) -> Iterator[str]:
    """The names that a template looks up."""
    return (found[1] for found in _VARIABLE.finditer(template))


def is_template(text: str) -> bool:
    """Whether a text looks up anything."""
    return _VARIABLE.search(text) is not None


def refuse_code(template: str, field: str) -> None:
    """Raise `InvalidEvent` for inline code: `{{=`, something on the same line, `=}}`."""
    if "{{=" not in template:
        return
    for line in _LINE_END.split(template):
        start = line.find("{{=")
        if start >= 0 and line.rfind("=}}") > start + len("{{="):
            shown = shortened(field)
            remedy = "compute it in a Set variable block before and name that variable here"
            raise InvalidEvent(
                shown, "inline_code", f"{shown} holds inline code ({{{{= … =}}}}), which is not run; {remedy}"
            )


def _inserted(value: Value | None) -> str:
    return "" if value is None else text_of(value)
