"""Conditions: whether what a flow knows lets an event be sent."""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, model_validator
from pydantic.alias_generators import to_camel
from pydantic.functional_validators import ModelWrapValidatorHandler

from pombo.producer.quickbot.comparisons import OPERATORS, UnusablePattern
from pombo.producer.quickbot.effort import Effort, Exhausted
from pombo.producer.quickbot.refusals import refusal
from pombo.producer.quickbot.template import Filling, single_value
from pombo.producer.quickbot.variables import Value, Variables
from pombo.shared.errors import InvalidEvent
from pombo.shared.values import shortened

_NULLS = frozenset({"undefined", "null"})


class Comparison(BaseModel):
    """One variable compared with a value; without a variable or an operator it is false.

    `variableId` is an id of the flow's variables, or a name; `value` is a template.
    """

    model_config = ConfigDict(alias_generator=to_camel, frozen=True, hide_input_in_errors=True)
    variable_id: str | None = None
    comparison_operator: str | None = None
    value: str | None = None

    def holds(self, variables: Variables, effort: Effort, path: str = "comparison") -> bool:
        """Compare.

        Raises:
            InvalidEvent: no such operator, inline code, a regular expression that cannot be used, or no effort left.
        """
        if not self.variable_id or not self.comparison_operator:
            return False
        compare = OPERATORS.get(self.comparison_operator)
        if compare is None:
            shown = shortened(self.comparison_operator)
            message = f"{path}: {shown!r} is no operator; the operators are {', '.join(OPERATORS)}"
            raise InvalidEvent(f"{path}.comparisonOperator", "operator_unknown", message)
        left, right = variables.value_of_id(self.variable_id), self._right(variables, f"{path}.value")
        try:
            effort.compare(self.value, None)
            return compare(left, right, effort)
        except UnusablePattern as error:
            message = f"{path}: the pattern {error}; write another regular expression"
            raise InvalidEvent(f"{path}.value", "pattern_unusable", message) from None
        except Exhausted:
            message = f"{path}: what there is to compare takes too long; compare less, or simpler patterns"
            raise InvalidEvent(f"{path}.value", "too_costly", message) from None

    def _right(self, variables: Variables, path: str) -> Value | None:
        template = self.value or ""
        if template in _NULLS:
            return None
        single = single_value(template, variables)
        return Filling(variables).text(template, path) if single is None else single


class Condition(BaseModel):
    """Comparisons that must all hold (`AND`, the default) or one of which must (`OR`); of none it is false."""

    model_config = ConfigDict(alias_generator=to_camel, frozen=True, hide_input_in_errors=True)
    logical_operator: Literal["AND", "OR"] | None = None
    comparisons: list[Comparison] | None = None

    @model_validator(mode="wrap")
    @classmethod
    def _refuse_in_words(cls, given: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        try:
            return handler(given)
        except ValidationError as error:
            raise refusal(error, (info.context or {}).get("path", "condition"), "condition_invalid") from None

    def holds(self, variables: Variables, effort: Effort | None = None, *, path: str = "condition") -> bool:
        """Evaluate, with a share of an effort that may be common to several.

        Raises:
            InvalidEvent: a comparison cannot be made; the field begins with `path`.
        """
        comparisons = self.comparisons or []
        effort = effort or Effort()
        made = (one.holds(variables, effort, f"{path}.comparisons[{at}]") for at, one in enumerate(comparisons))
        return any(made) if self.logical_operator == "OR" else bool(comparisons) and all(made)


def read_condition(given: object, path: str = "condition") -> Condition:
    """Take a condition, or the item of a Condition block that has one as its `content`.

    Raises:
        InvalidEvent: it is neither; the field begins with `path`.
    """
    if isinstance(given, Mapping) and "items" in given and "comparisons" not in given:
        remedy = "give the one of its items that leads to the Segment block"
        raise InvalidEvent(path, "condition_invalid", f"{path} is a whole block; {remedy}")
    content = given.get("content") if isinstance(given, Mapping) else None
    return Condition.model_validate(given if content is None else content, context={"path": path})
