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
LONGEST = 1_000_000
"""Characters that the fields of one block may come to, so that no template multiplies a long value without end."""

_LINE_END = re.compile("[\n\r\u2028\u2029]")


class Filling:
    """Fills templates with one conversation's variables, up to a length over all of them."""

    def __init__(self, variables: Variables) -> None:
        self._variables = variables
        self._left = LONGEST

    def text(self, template: str, field: str) -> str:
        """Put the variables' values into a template.

        Raises:
            InvalidEvent: it holds inline code, or it comes to too much; `field` is the error's.
        """
        refuse_code(template, field)
        parts, end = [], 0
        for found in _VARIABLE.finditer(template):
            parts += [self._counted(template[end : found.start()], field), self._value(found[1], field)]
            end = found.end()
        return mend("".join((*parts, self._counted(template[end:], field))))

    def value(self, value: Any, path: str) -> Any:
        """Fill a text, or every text of an object, also of objects within and in lists.

        A member of an object that comes out empty is left out. Texts that are members of a list themselves stay as
        they are, as do numbers and booleans. Containers are plain dicts and lists of bounded depth.
        """
        if isinstance(value, str):
            return self.text(value, path)
        if isinstance(value, dict):
            filled = {key: self.value(item, member(path, key)) for key, item in value.items()}
            return {key: item for key, item in filled.items() if item is not None and item != ""}
        if isinstance(value, list):
            return [
                self.value(item, f"{path}[{index}]") if isinstance(item, dict) else item
                for index, item in enumerate(value)
            ]
        return value

    def _value(self, name: str, field: str) -> str:
        value = self._variables.value(name)
        return "" if value is None else self._counted(text_of(value), field)

    def _counted(self, part: str, field: str) -> str:
        self._left -= len(part)
        if self._left < 0:
            shown = shortened(field)
            complaint = f"with {shown}, the fields come to over {LONGEST:,} characters; an event has 32,000 bytes"
            raise InvalidEvent(shown, "too_large", f"{complaint}; send less")
        return part


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
