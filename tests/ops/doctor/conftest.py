import pytest

from support import servers


@pytest.fixture
def free_port() -> int:
    """A port that nobody listens on."""
    return servers.free_port()
