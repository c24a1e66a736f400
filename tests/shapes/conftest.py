"""Redis of every shape, each started once a session, and a world on it."""

from collections.abc import Iterator

import pytest

from ops.cli.conftest import place, pombo, program, simulator
from support.servers import SHAPES, Park, Shape
from worker.conftest import world

__all__ = ["place", "pombo", "program", "simulator", "world"]


@pytest.fixture(scope="session")
def park() -> Iterator[Park]:
    with Park() as made:
        yield made


@pytest.fixture(params=SHAPES)
def shape(request: pytest.FixtureRequest, park: Park) -> Shape:
    """A Redis of each shape in turn, empty."""
    made: Shape = park.get(request.param)
    return made


@pytest.fixture
def redis_url(shape: Shape) -> str:
    """What the fixtures of all tests are made from."""
    return shape.url
