"""Assets: styles, scripts and symbols, which browsers keep for as long as their content stays the same."""

from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Final

from starlette.staticfiles import StaticFiles
from starlette.types import Message, Receive, Scope, Send

FOLDER: Final = Path(__file__).parent / "static"
_FOREVER: Final = b"public, max-age=31536000, immutable"


@cache
def asset(name: str) -> str:
    """The URL of an asset, with a version that changes with its content.

    Raises:
        FileNotFoundError: there is no such asset.
    """
    return f"/static/{name}?v={sha256((FOLDER / name).read_bytes()).hexdigest()[:12]}"


@cache
def _versions() -> frozenset[str]:
    """The URLs of all assets; during an upgrade a page of the other version asks for other ones."""
    files = (path for path in FOLDER.rglob("*") if path.is_file())
    return frozenset(asset(path.relative_to(FOLDER).as_posix()) for path in files)


class Assets(StaticFiles):
    """Serve the folder; what is asked for in the version that is here may be kept for good."""

    def __init__(self) -> None:
        super().__init__(directory=FOLDER)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one asset."""
        kept = _FOREVER if f"{scope['path']}?{scope['query_string'].decode('latin-1')}" in _versions() else b"no-cache"

        async def cached(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"].append((b"cache-control", kept))
            await send(message)

        await super().__call__(scope, receive, cached)
