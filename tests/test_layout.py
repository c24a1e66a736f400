"""The four source roots of one namespace."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOTS = ("shared", "producer", "worker", "ops")
# redis itself looks whether there is a `cryptography`, and loads nothing of it.
FORBIDDEN = (
    "rq",
    "httpx",
    "starlette",
    "typer",
    "rich",
    "structlog",
    "cryptography.hazmat",
    "prometheus_client",
)


def modules() -> list[str]:
    """Every module of the four roots, by its dotted name."""
    found = []
    for root in ROOTS:
        for path in sorted((ROOT / root / "pombo").rglob("*.py")):
            parts = path.relative_to(ROOT / root).with_suffix("").parts
            found.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return [name for name in found if not name.endswith("__main__")]


@pytest.mark.parametrize("root", ROOTS)
def test_namespace_has_no_init(root: str) -> None:
    """A `pombo/__init__.py` in one root would hide the packages of the others."""
    assert (ROOT / root / "pombo").is_dir()
    assert not (ROOT / root / "pombo" / "__init__.py").exists()


@pytest.mark.parametrize("root", ROOTS)
def test_every_folder_of_python_is_a_package(root: str) -> None:
    """Folders with modules have an `__init__.py`, or a wheel and a type checker would see other things."""
    folders = {path.parent for path in (ROOT / root / "pombo").rglob("*.py")}
    assert [] == sorted(str(folder) for folder in folders if not (folder / "__init__.py").exists())


def test_packages_are_typed() -> None:
    """Every package tells type checkers that it is typed."""
    packages = [
        folder for root in ROOTS for folder in (ROOT / root / "pombo").iterdir() if (folder / "__init__.py").exists()
    ]
    assert [] == [str(folder) for folder in packages if not (folder / "py.typed").exists()]


@pytest.mark.parametrize("name", modules())
def test_every_module_imports(name: str) -> None:
    """No module is broken, and none warns at its import."""
    importlib.import_module(name)


def test_bots_stay_light() -> None:
    """A bot that imports the producer loads none of what only our own processes need."""
    code = f"import sys, pombo.producer; print(*[name for name in {FORBIDDEN!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (0, "", "") == (done.returncode, done.stderr, done.stdout.strip())


def test_adapters_are_loaded_only_where_they_are_used() -> None:
    """A bot that sends its own events loads no adapter of a platform."""
    code = (
        "import sys, pombo.producer; print(*[name for name in sys.modules if name.startswith('pombo.producer.blip')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (0, "") == (done.returncode, done.stdout.strip())


def test_producer_configures_no_logging() -> None:
    """A bot's logging is its own: the import adds no handler and sets no level."""
    code = (
        "import logging; root = logging.getLogger(); before = (root.level, list(root.handlers));"
        "import pombo.producer; assert before == (root.level, list(root.handlers));"
        "assert logging.getLogger('pombo').level == 0"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (0, "") == (done.returncode, done.stderr)
