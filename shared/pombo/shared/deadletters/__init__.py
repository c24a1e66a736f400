"""Dead letters: events that will not be delivered as they are, with their reason and history.

A dead letter's life:

1. A worker's script appends it to the source's `dead` stream in the step in which the event leaves its
   in-flight record: `h` is a `LetterHeader`, `b` the serialised event as Segment would have got it. A record
   batch that cannot be read dies whole as `corrupt`: then `b` is the batch as it was, and `n` its events. In the
   same step the source's table gets a row for it, by which it is found among a million.
2. People and jobs read it as a `DeadLetter`, by pages, through a `Filter`; or see how many are alike, as `Group`s.
3. It is redriven (byte for byte, or as somebody edited it, to the end of its partition's stream) or discarded; the
   ledger moves along. From an export it can be put back.

A letter whose header has an unknown version is left alone: it is counted as unreadable, never shown or moved.
"""

from pombo.shared.deadletters.edit import edited
from pombo.shared.deadletters.filter import ALL, Filter
from pombo.shared.deadletters.groups import Group, groups, groups_at_hand
from pombo.shared.deadletters.letter import (
    MAX_ANSWER,
    MAX_HISTORY,
    REASONS,
    UNSOUND,
    WINDOW,
    Attempt,
    DeadLetter,
    LetterHeader,
    Reason,
)
from pombo.shared.deadletters.moves import FULL, MAX_RAW, discard, full_reason, redrive_page
from pombo.shared.deadletters.pages import PAGE, find, pages, read
from pombo.shared.deadletters.reader import Page
from pombo.shared.deadletters.rebuild import Make, Making, compact, make_now, making, rebuild, rebuilt
from pombo.shared.deadletters.restore import (
    Numbered,
    Restored,
    digest_of,
    exported,
    import_name,
    read_line,
    restore,
    restore_steps,
)
from pombo.shared.deadletters.rows import Row, row_of
from pombo.shared.deadletters.search import Counts, Found, count, search

__all__ = [
    "ALL",
    "FULL",
    "MAX_ANSWER",
    "MAX_HISTORY",
    "MAX_RAW",
    "PAGE",
    "REASONS",
    "UNSOUND",
    "WINDOW",
    "Attempt",
    "Counts",
    "DeadLetter",
    "Filter",
    "Found",
    "Group",
    "LetterHeader",
    "Make",
    "Making",
    "Numbered",
    "Page",
    "Reason",
    "Restored",
    "Row",
    "compact",
    "count",
    "digest_of",
    "discard",
    "edited",
    "exported",
    "find",
    "full_reason",
    "groups",
    "groups_at_hand",
    "import_name",
    "make_now",
    "making",
    "pages",
    "read",
    "read_line",
    "rebuild",
    "rebuilt",
    "redrive_page",
    "restore",
    "restore_steps",
    "row_of",
    "search",
]
