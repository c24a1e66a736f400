"""What the bots of end-to-end tests say: the real dialogues where they are, else made-up ones; and files of it."""

import gzip
import os
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from pombo.ops.dialogues import Dialogue, Event, events, generate, parse

BESIDE = Path(__file__).resolve().parents[3] / "shared" / "data" / "dialogues.ndjson.gz"
SEED = 20_260
MADE_UP = 3_710
"""As many as there are real ones."""


def all_dialogues(say: Callable[[str], None]) -> list[Dialogue]:
    """Every real dialogue, from POMBO_DIALOGUES or beside the repository; without the file made-up ones, and a word."""
    path = Path(os.environ.get("POMBO_DIALOGUES") or BESIDE)
    if path.exists():
        with gzip.open(path) as lines:
            return list(parse(lines))
    say(f"{path} is not there: {MADE_UP:,} dialogues are made up with seed {SEED}; POMBO_DIALOGUES names the real ones")
    return made_up(MADE_UP)


def made_up(count: int) -> list[Dialogue]:
    """Dialogues that nobody had."""
    return list(islice(generate(SEED), count))


def shares(dialogues: Sequence[Dialogue], count: int) -> list[list[Event]]:
    """Cut dialogues into so many streams of events, whole dialogues each, in which several run at once."""
    return [_interleaved(dialogues[number::count]) for number in range(count)]


def _interleaved(dialogues: Sequence[Dialogue], at_once: int = 50) -> list[Event]:
    """The events of dialogues that run side by side: each in its order, all of them mixed."""
    waiting = [iter(events(dialogue)) for dialogue in reversed(dialogues)]
    running: list[Any] = []
    mixed: list[Event] = []
    while waiting or running:
        while waiting and len(running) < at_once:
            running.append(waiting.pop())
        spoke = [(talk, event) for talk in running if (event := next(talk, None)) is not None]
        mixed += [event for _, event in spoke]
        running = [talk for talk, _ in spoke]
    return mixed


def write(path: Path, some: Iterable[Event]) -> str:
    """Write events for a bot, one a line; returns the path."""
    path.write_bytes(b"".join(orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE) for event in some))
    return str(path)
