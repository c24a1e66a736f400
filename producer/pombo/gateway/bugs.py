"""Bugs, as the log tells of them."""

import traceback


def told(error: Exception) -> dict[str, str]:
    """What to log of an exception that nobody expected: its kind and its way, without its words.

    Those may hold what a client sent.
    """
    frames = traceback.extract_tb(error.__traceback__)
    way = " > ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in frames)
    return {"error": type(error).__name__, "way": way, "note": "a bug in pombo; please report it"}
