"""Variables: what a conversation knows, by name and by id.

A value is a text or a list of texts, as in a flow; numbers and booleans become the text that JavaScript writes
for them, objects their JSON. Null is no value.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from math import isfinite
from typing import Any, NamedTuple, Self

from pombo.shared.errors import InvalidEvent
from pombo.shared.values import clean, dumps, member, mend

Value = str | list[str | None]
Given = Mapping[str, Any] | Sequence[Mapping[str, Any]]
"""A dict of values by name, or the `variables` of a flow: `[{"id": …, "name": …, "value": …}]`."""

CODE = "variables_invalid"
MOST = 10_000
"""Variables of one conversation."""
_FIXED = 1e-6
"""JavaScript writes smaller numbers with an exponent, Python already those below 1e-4."""
_EXPONENT = 1e21


class Variable(NamedTuple):
    """One variable; without a value it counts as not there."""

    name: str
    value: Value | None
    id: str | None = None


class Variables:
    """The variables of one conversation; of several with one name the first that has a value counts."""

    def __init__(self, variables: Iterable[Variable] = ()) -> None:
        self._all = tuple(variables)
        self._values: dict[str, Value] = {}
        self._by_id: dict[str, Variable] = {}
        for variable in self._all:
            if variable.value is not None:
                self._values.setdefault(variable.name, variable.value)
            if variable.id is not None:
                self._by_id.setdefault(variable.id, variable)

    @classmethod
    def read(cls, given: "Given | Variables") -> Self:
        """Take what a caller has.

        Raises:
            InvalidEvent: it is none of the two forms, or a value is nothing that a text can stand for; its
                `field` says which.
        """
        if isinstance(given, Variables):
            return cls(given._all)
        if isinstance(given, Mapping | Sequence) and len(given) > MOST:
            complaint = f"there are {len(given):,} variables, and {MOST:,} are the most; send those that the block uses"
            raise InvalidEvent("variables", CODE, complaint)
        if isinstance(given, Mapping):
            return cls(Variable(_name(name), _value(value, _path(name))) for name, value in given.items())
        if isinstance(given, Sequence) and not isinstance(given, str | bytes | bytearray):
            return cls(_row(row, f"variables[{number}]") for number, row in enumerate(given))
        raise InvalidEvent("variables", CODE, f"variables is {type(given).__name__}; make it a dict of values by name")

    def __len__(self) -> int:
        return len(self._all)

    def __repr__(self) -> str:
        return f"Variables(<{len(self._all)}>)"

    @property
    def names(self) -> frozenset[str]:
        """The names of all, with and without a value."""
        return frozenset(variable.name for variable in self._all)

    def value(self, name: str) -> Value | None:
        """The value of the variable of exactly this name."""
        return self._values.get(name)

    def value_of_id(self, variable_id: str) -> Value | None:
        """The value of the variable with this id; if none has it, of the one that is called so."""
        found = self._by_id.get(variable_id)
        return self._values.get(variable_id) if found is None else found.value

    def under(self, other: "Variables") -> "Variables":
        """These, with the values that `other` has for the same names put on top."""
        theirs = other._values
        mine = (variable._replace(value=theirs.get(variable.name, variable.value)) for variable in self._all)
        return Variables((*mine, *(variable for variable in other._all if variable.name not in self.names)))


def text_of(value: Value) -> str:
    """A value as a template inserts it: a list as JSON."""
    return value if isinstance(value, str) else dumps(value).decode()


def _row(row: object, path: str) -> Variable:
    if not isinstance(row, Mapping):
        raise InvalidEvent(path, CODE, f"{path} is {type(row).__name__}; make it a dict with name and value")
    name = row.get("name")
    if not isinstance(name, str):
        raise InvalidEvent(f"{path}.name", CODE, f"{path} has no name that is a string; give it one")
    variable_id = row.get("id")
    known = mend(variable_id) if isinstance(variable_id, str) else None
    return Variable(mend(name), _value(row.get("value"), f"{path}.value"), known)


def _name(name: object) -> str:
    if not isinstance(name, str):
        raise InvalidEvent("variables", CODE, f"variables has a name of type {type(name).__name__}; use strings")
    return mend(name)


def _path(name: object) -> str:
    return member("variables", mend(name)) if isinstance(name, str) else "variables"


def _value(value: object, path: str) -> Value | None:
    if value is None:
        return None
    if isinstance(value, list | tuple):
        return [None if item is None else _text(item, f"{path}[{index}]") for index, item in enumerate(value)]
    return _text(value, path)


def _text(value: object, path: str) -> str:
    if isinstance(value, str):
        return mend(value)
    plain = clean(value, path)
    if isinstance(plain, bool):
        return "true" if plain else "false"
    if isinstance(plain, int):
        return str(plain)
    if isinstance(plain, float | Decimal):
        return _number(float(plain))
    if isinstance(plain, str):
        return plain
    return dumps(plain).decode()


def _number(number: float) -> str:
    """A number as JavaScript writes it."""
    assert isfinite(number)
    if number == 0:
        return "0"
    if _FIXED <= abs(number) < _EXPONENT:
        return format(Decimal(repr(number)), "f").removesuffix(".0")
    mantissa, _, exponent = repr(number).partition("e")
    return f"{mantissa}e{exponent[0]}{exponent[1:].lstrip('0')}"
