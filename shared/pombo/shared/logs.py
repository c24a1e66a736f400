"""Logs of pombo's own processes: structured events on stderr, one line each.

A bot's process is never configured by us and has no structlog, so only the functions here import it.
"""

import json
import logging
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, TextIO, cast

import orjson

if TYPE_CHECKING:
    from structlog.stdlib import BoundLogger
    from structlog.typing import EventDict, Processor, WrappedLogger

REDACTED = "***"

_SECRET_KEY = re.compile(
    r"(write_?key|intake_?key|secret|secret_?key|api_?key|password|passwd|token|authorization|cookie)$"
)
_URL_PASSWORD = re.compile(r"(?<=://)([^/\s:@]*):[^/\s@]+(?=@)")
# Libraries that report every request or job at info, which our own wide lines already say better.
_QUIET = ("asyncio", "httpcore", "httpx", "rq")


_HELD = 1000
"""Lines that are held back at most; then they are written."""


class _Handler(logging.StreamHandler[TextIO]):
    """Ours among the root logger's handlers, so that configuring again replaces it and no other."""

    json = False
    """Whether its lines are JSON."""


def configure_logs(
    level: str = "info", format: Literal["json", "console"] | None = None, *, stream: TextIO | None = None
) -> None:
    """Write the logs of this process, the standard library's included, to stderr; call it once at the start.

    Args:
        level: the least severity that is logged: `debug`, `info`, `warning` or `error`.
        format: `json` or `console`; `None` chooses `console` on a terminal, else `json`.
        stream: where to write instead of stderr.
    """
    stream = stream or sys.stderr
    terminal = stream.isatty()
    format = format or ("console" if terminal else "json")
    handler = _Handler(stream)
    handler.json = format == "json"
    handler.setFormatter(_formatter(format, colors=terminal))
    root = logging.getLogger()
    for old in [one for one in root.handlers if isinstance(one, _Handler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    # RQ gives its logger handlers of its own, and keeps its lines from ours, when it starts before us.
    worker = logging.getLogger("rq.worker")
    worker.handlers.clear()
    worker.propagate = True
    worker.setLevel(logging.NOTSET)


@contextmanager
def held_back() -> Iterator[None]:
    """Keep what is logged until the end of the context, so that something else is read first; warnings do not wait."""
    # With it come sockets and queues, which a bot's import does without.
    from logging.handlers import MemoryHandler

    root = logging.getLogger()
    ours = [one for one in root.handlers if isinstance(one, _Handler)]
    kept = [MemoryHandler(_HELD, logging.WARNING, one) for one in ours]
    try:
        for handler, keeper in zip(ours, kept, strict=True):
            root.removeHandler(handler)
            root.addHandler(keeper)
        yield
    finally:
        for handler, keeper in zip(ours, kept, strict=True):
            root.removeHandler(keeper)
            root.addHandler(handler)
            keeper.close()


def get_logger(name: str) -> "BoundLogger":
    """A structured logger; before `configure_logs` it is as quiet as the standard library's."""
    import structlog

    logger: BoundLogger = structlog.wrap_logger(
        logging.getLogger(name),
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    return logger


def get_quick_logger(name: str) -> "BoundLogger":
    """A logger for lines that come by the thousand a second, made after `configure_logs`: a sixth of the cost.

    As JSON its lines go to stderr past the standard library, and nothing in them is redacted: it is for fields that
    can hold no secret. In any other case it is `get_logger`'s.
    """
    import structlog

    ours = [handler for handler in logging.getLogger().handlers if isinstance(handler, _Handler)]
    buffer = getattr(ours[0].stream, "buffer", None) if ours and ours[0].json else None
    if buffer is None:
        return get_logger(name)

    def add_name(_logger: "WrappedLogger", _method: str, event: "EventDict") -> "EventDict":
        event["logger"] = name
        return event

    logger = structlog.wrap_logger(
        structlog.BytesLogger(buffer),
        processors=[
            add_name,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(serializer=orjson.dumps),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLogger().level),
        cache_logger_on_first_use=True,
    )
    return cast("BoundLogger", logger)


def redact(_logger: "WrappedLogger", _method: str, event: "EventDict") -> "EventDict":
    """Hide values whose keys name secrets, at any depth, and passwords in URLs; a structlog processor."""
    return {key: _redacted(key, value) for key, value in event.items()}


def _redacted(key: object, value: Any) -> Any:
    if value is not None and isinstance(key, str) and _SECRET_KEY.search(key.lower().replace("-", "_")):
        return REDACTED
    if isinstance(value, str):
        return _URL_PASSWORD.sub(rf"\1:{REDACTED}", value)
    if isinstance(value, Mapping):
        return {inner: _redacted(inner, one) for inner, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_redacted(None, one) for one in value]
    return value


def _formatter(format: str, *, colors: bool) -> logging.Formatter:
    import structlog

    colors = colors and not os.environ.get("NO_COLOR")
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.ExtraAdder()],
        processors=[
            structlog.stdlib.add_logger_name,
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *(_json() if format == "json" else _console(colors=colors)),
        ],
    )


def _json() -> "list[Processor]":
    from structlog.processors import ExceptionRenderer, JSONRenderer
    from structlog.tracebacks import ExceptionDictTransformer

    # Local variables may hold people's data, so tracebacks go without them.
    return [ExceptionRenderer(ExceptionDictTransformer(show_locals=False)), redact, JSONRenderer(_dumps)]


def _dumps(event: "EventDict", **options: Any) -> str:
    """An event's JSON; what orjson does not write, such as a surrogate alone, the standard library does, slowly."""
    try:
        return orjson.dumps(event, options.get("default")).decode()
    except orjson.JSONEncodeError:
        return json.dumps(event, **options)


def _console(*, colors: bool) -> "list[Processor]":
    from structlog.dev import ConsoleRenderer, plain_traceback
    from structlog.processors import format_exc_info

    return [format_exc_info, redact, ConsoleRenderer(colors=colors, exception_formatter=plain_traceback)]
