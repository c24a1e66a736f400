"""The command line; `main` is the program `pombo`."""

from pombo.ops.cli.entry import main

__all__ = ["main"]
