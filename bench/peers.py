"""The peers that are measured beside pombo, where they are installed, and their versions."""

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson

ROOT = Path(__file__).resolve().parents[1]
HOME = ROOT / ".venv" / "bench"
"""What `make bench` installs: a Python environment, and Node's modules beside it."""
_DISTRIBUTIONS = ("segment-analytics-python", "streaq", "arq")
_ASK = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"
_NODE_SDK = "@segment/analytics-node"


@dataclass(frozen=True, slots=True)
class Peers:
    """Programs that run the peers' trials; None where they are not installed. RQ is one of pombo's own parts."""

    python: Path | None
    """Has Segment's SDK for Python, streaq and arq."""
    node: Path | None
    modules: Path
    """Has Segment's SDK for Node."""

    @property
    def missing(self) -> list[str]:
        """What is not installed."""
        absent = [] if self.python else [*_DISTRIBUTIONS]
        return absent if self.node else [*absent, _NODE_SDK]

    def versions(self) -> dict[str, str]:
        """Of those that are installed."""
        return dict(self._versions())

    def _versions(self) -> Iterator[tuple[str, str]]:
        if self.python is not None:
            yield from zip(_DISTRIBUTIONS, _told(str(self.python), "-c", _ASK, *_DISTRIBUTIONS).split(), strict=True)
        if self.node is not None:
            package = orjson.loads((self.modules / _NODE_SDK / "package.json").read_bytes())
            yield _NODE_SDK, package["version"]
            yield "Node", _told(str(self.node), "--version").lstrip("v")


def find(home: Path = HOME) -> Peers:
    """The peers below `home`."""
    python, modules, node = home / "bin" / "python", home / "node_modules", shutil.which("node")
    has_node = node is not None and (modules / _NODE_SDK).exists()
    return Peers(python if python.exists() else None, Path(node) if node and has_node else None, modules)


def _told(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
