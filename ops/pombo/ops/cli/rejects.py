"""The rejects file: what `pombo send` could not hand over, so that nothing is lost or guessed."""

import os
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import orjson

from pombo.shared.errors import ConfigurationError


class Reject(NamedTuple):
    """One line that was not taken: `event` as it was to be sent, or the `text` of a line that holds none."""

    line: int
    reason: str
    field: str | None
    message: str
    event: dict[str, Any] | None = None
    text: str | None = None

    def dump(self) -> bytes:
        """The JSON line in the file."""
        fields = self._asdict()
        del fields["text" if self.event is not None else "event"]
        return orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS)


class Rejects:
    """Write rejects to a file that is made, for its owner alone, with the first of them.

    Raises:
        ConfigurationError: the file cannot be made there, or would be the one that is being read.
    """

    def __init__(self, path: Path, *, source: Path | None) -> None:
        with suppress(OSError):
            if source is not None and path.samefile(source):
                raise ConfigurationError(f"--rejects {path} is the file that is being sent; choose another")
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise ConfigurationError(f"no rejects file can be made as {path}; give --rejects another place")
        self.path = path
        self.reasons: Counter[str] = Counter()
        self._file: BinaryIO | None = None

    @property
    def count(self) -> int:
        """How many there were."""
        return self.reasons.total()

    def add(self, reject: Reject) -> None:
        """Write one down."""
        if self._file is None:
            self._file = open(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")  # noqa: SIM115
        self._file.write(reject.dump())
        self.reasons[reject.reason] += 1

    def close(self) -> None:
        """Have all of it in the file."""
        if self._file is not None:
            self._file.close()
