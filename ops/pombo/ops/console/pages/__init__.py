"""Pages of the console: a module each, found by themselves.

A page's module has `routes`, a list of Starlette's routes, and, if it belongs into the navigation, `nav`, a
`Nav`. A module that is not there is not in the navigation, and `there(path)` in templates is false for its paths.
"""

import importlib
import pkgutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from starlette.routing import BaseRoute


@dataclass(frozen=True, slots=True)
class Nav:
    """A page's entry in the navigation."""

    title: str
    path: str
    key: str
    """The letter that, after g, leads there."""
    order: int
    """Where in the navigation: overview 10, sources 20, debugger 30, dead letters 40, jobs 50, workers 60, trail 70."""
    icon: str = ""
    """Name of its symbol in `static/icons.svg`."""


@dataclass(frozen=True, slots=True)
class Page:
    """What one module contributes."""

    name: str
    routes: Sequence[BaseRoute]
    nav: Nav | None


@cache
def pages() -> Sequence[Page]:
    """Every page there is, in the order of the navigation."""
    return sorted(_found(), key=lambda page: (page.nav.order if page.nav else 1000, page.name))


def _found() -> Iterator[Page]:
    for module in pkgutil.iter_modules(__path__):
        loaded = importlib.import_module(f"{__name__}.{module.name}")
        if hasattr(loaded, "routes"):
            yield Page(module.name, loaded.routes, getattr(loaded, "nav", None))
