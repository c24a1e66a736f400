"""The events that are measured: those of real dialogues where they are, else of made-up ones like them."""

import gzip
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import orjson

from pombo.ops.dialogues import Dialogue, Event, events, generate, parse

BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data" / "dialogues.ndjson.gz"
SEED = 20_260
MADE_UP = 3_710
"""As many as there are real ones."""
_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class Corpus:
    """Events in the order in which a bot that talks to many people sends them; they have no messageIds yet."""

    name: str
    dialogues: int
    events: Sequence[Event]

    def write(self, path: Path) -> None:
        """Write them, one a line."""
        path.write_bytes(b"".join(orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE) for event in self.events))


def load() -> Corpus:
    """The real dialogues, from POMBO_DIALOGUES or beside the repository; without that file made-up ones.

    Raises:
        DialogueError: a line of the file is no dialogue.
        OSError: the file that POMBO_DIALOGUES names cannot be read.
    """
    given = os.environ.get("POMBO_DIALOGUES")
    path = Path(given or BESIDE)
    if given or path.exists():
        with gzip.open(path) as lines:
            return _corpus("real dialogues", list(parse(lines)))
    return _corpus(f"made-up dialogues, seed {SEED}", list(islice(generate(SEED), MADE_UP)))


def _corpus(name: str, dialogues: Sequence[Dialogue]) -> Corpus:
    return Corpus(name, len(dialogues), [_without_id(event) for event in _mixed(dialogues)])


def _mixed(dialogues: Sequence[Dialogue]) -> Iterator[Event]:
    """The events of dialogues that run side by side: each in its order."""
    waiting = [iter(events(dialogue)) for dialogue in reversed(dialogues)]
    running: list[Iterator[Event]] = []
    while waiting or running:
        while waiting and len(running) < _AT_ONCE:
            running.append(waiting.pop())
        spoke = [(talk, event) for talk in running if (event := next(talk, None)) is not None]
        yield from (event for _, event in spoke)
        running = [talk for talk, _ in spoke]


def _without_id(event: Event) -> Event:
    return {name: value for name, value in event.items() if name != "messageId"}
