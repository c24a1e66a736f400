"""A wall clock that a test sets, for processes of its choice; their monotonic time goes on as it does."""

import os
import shutil
from glob import glob
from pathlib import Path

import pytest

HOUR_S = 3600
_LIBRARIES = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/local/lib/faketime/libfaketimeMT.so.1")


class WrongClock:
    """Processes with its environment are as wrong as it says; skips the test where there is no libfaketime."""

    def __init__(self, folder: Path) -> None:
        found = [path for pattern in _LIBRARIES for path in glob(pattern)]
        if not found:
            pytest.skip("there is no libfaketime (apt install faketime)")
        self._file = folder / "clock"
        self._wrapper = folder / "server"
        self.env = {
            "LD_PRELOAD": found[0],
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DISABLE_SHM": "1",
        }
        self.set(0)

    def set(self, seconds: int) -> None:
        """Be so many seconds ahead, or behind, from within a second on."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n", "utf-8")
        new.replace(self._file)

    def server(self, program: Path) -> Path:
        """A program that is `program` under this clock."""
        words = " ".join(f"{name}='{value}'" for name, value in self.env.items())
        self._wrapper.write_text(f'#!/bin/sh\nexec env {words} {shutil.which(program)} "$@"\n', "utf-8")
        os.chmod(self._wrapper, 0o700)
        return self._wrapper
