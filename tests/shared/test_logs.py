import io
import json
import logging
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog

from pombo.shared.logs import configure_logs, get_logger, get_quick_logger, held_back, redact


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    quiet = {name: logging.getLogger(name).level for name in ("asyncio", "httpcore", "httpx", "rq")}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in quiet.items():
        logging.getLogger(name).setLevel(before)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_line_of_json() -> None:
    """Fields, level, logger and an ISO time in UTC stand in one JSON object a line."""
    stream = io.StringIO()
    configure_logs("info", "json", stream=stream)

    get_logger("pombo.test").info("delivery.attempted", source="bot", events=3)

    [line] = lines(stream)
    time = datetime.fromisoformat(line.pop("timestamp"))
    assert abs(datetime.now(UTC) - time) < timedelta(minutes=1)
    expected = {
        "event": "delivery.attempted",
        "level": "info",
        "logger": "pombo.test",
        "source": "bot",
        "events": 3,
    }
    assert expected == line


def test_everything_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    """Standard output belongs to what a command prints."""
    configure_logs("info", "json")

    get_logger("pombo.test").warning("seen")

    printed = capsys.readouterr()
    assert "" == printed.out
    assert "seen" == json.loads(printed.err)["event"]


@pytest.mark.parametrize(("stream", "is_json"), [(io.StringIO(), True), (Terminal(), False)])
def test_the_format_follows_the_terminal(stream: io.StringIO, is_json: bool) -> None:
    """Without a format, people at a terminal get the console's, and everything else JSON."""
    configure_logs(stream=stream)

    get_logger("pombo.test").info("seen")

    assert is_json == stream.getvalue().startswith("{")


@pytest.mark.parametrize(("no_color", "colored"), [("1", False), ("", True)])
def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch, no_color: str, colored: bool) -> None:
    """NO_COLOR, when it is not empty, takes the colours off a terminal."""
    monkeypatch.setenv("NO_COLOR", no_color)
    stream = Terminal()
    configure_logs("info", "console", stream=stream)

    get_logger("pombo.test").info("seen")

    assert colored == ("\x1b[" in stream.getvalue())


def test_less_than_the_level_is_dropped() -> None:
    """The level holds for our loggers and the standard library's."""
    stream = io.StringIO()
    configure_logs("warning", "json", stream=stream)

    get_logger("pombo.test").info("unseen")
    logging.getLogger("other").info("unseen")
    get_logger("pombo.test").warning("seen")

    assert ["seen"] == [line["event"] for line in lines(stream)]


def test_the_standard_library_is_routed_through_it() -> None:
    """A library's log line has the same shape as ours, with its extra fields."""
    stream = io.StringIO()
    configure_logs("info", "json", stream=stream)

    logging.getLogger("library").warning("%d left", 3, extra={"queue": "jobs"})

    [line] = lines(stream)
    expected = {"event": "3 left", "level": "warning", "logger": "library", "queue": "jobs"}
    assert expected == {key: line[key] for key in expected}


@pytest.mark.parametrize("name", ["rq.worker", "httpx", "httpcore.http11"])
@pytest.mark.parametrize("level", ["debug", "info"])
def test_chatty_libraries_are_heard_from_warnings_on(name: str, level: str) -> None:
    """What RQ and httpx say of every job and request is said better by our own lines."""
    stream = io.StringIO()
    configure_logs(level, "json", stream=stream)

    logging.getLogger(name).info("unseen")
    logging.getLogger(name).warning("seen")

    assert ["seen"] == [line["event"] for line in lines(stream)]


def test_configuring_again_replaces() -> None:
    """A second call leaves no second handler behind."""
    first, second = io.StringIO(), io.StringIO()
    log = get_logger("pombo.test")
    configure_logs("info", "json", stream=first)
    log.info("one")
    configure_logs("info", "console", stream=second)

    log.info("two")

    assert ["one"] == [line["event"] for line in lines(first)]
    assert 1 == second.getvalue().count("two")


def test_lines_can_be_held_back() -> None:
    """Until the end, or the first warning, which they precede; after an error as well."""
    stream = io.StringIO()
    configure_logs(format="json", stream=stream)
    log = get_logger("pombo.test")
    with suppress(ZeroDivisionError), held_back():
        log.info("first")
        assert "" == stream.getvalue()
        log.warning("second")
        assert ["first", "second"] == [json.loads(line)["event"] for line in stream.getvalue().splitlines()]
        log.info("third")
        raise ZeroDivisionError
    log.info("fourth")
    assert ["third", "fourth"] == [json.loads(line)["event"] for line in stream.getvalue().splitlines()[2:]]


def test_an_exception_is_one_structured_line() -> None:
    """A traceback stays inside its JSON line, cause and all, without local variables."""
    stream = io.StringIO()
    configure_logs("info", "json", stream=stream)
    phone = "+55 31 99999-0000"

    try:
        try:
            raise KeyError(len(phone))
        except KeyError as cause:
            raise ValueError("broken") from cause
    except ValueError:
        get_logger("pombo.test").exception("failed")

    [line] = lines(stream)
    assert ["ValueError", "KeyError"] == [part["exc_type"] for part in line["exception"]]
    assert "error" == line["level"]
    assert phone not in stream.getvalue()


def test_an_exception_on_the_console_shows_no_local_variables() -> None:
    """The console's traceback is the plain one."""
    stream = Terminal()
    configure_logs("info", "console", stream=stream)
    phone = "+55 31 99999-0000"

    try:
        raise ValueError(len(phone))
    except ValueError:
        get_logger("pombo.test").exception("failed")

    assert "Traceback (most recent call last)" in stream.getvalue()
    assert phone not in stream.getvalue()


@pytest.mark.parametrize(
    "key",
    [
        "write_key",
        "writeKey",
        "intake_key",
        "Authorization",
        "Proxy-Authorization",
        "secret_key",
        "POMBO_SECRET_KEY",
        "password",
        "token",
        "console_token",
        "accessToken",
        "X-Api-Key",
        "Cookie",
    ],
)
def test_a_secret_is_redacted_by_its_key(key: str) -> None:
    """Whatever the spelling and the depth, the value of a key that names a secret is not written."""
    stream = io.StringIO()
    configure_logs("info", "json", stream=stream)

    get_logger("pombo.test").info("seen", **{key: "s3cret"}, request={"headers": [{key: "s3cret"}]})

    [line] = lines(stream)
    assert "***" == line[key]
    assert {"headers": [{key: "***"}]} == line["request"]


@pytest.mark.parametrize("key", ["source", "ordering_key", "event", "keys", "tokens", "message_id"])
def test_other_keys_keep_their_values(key: str) -> None:
    """Redaction takes secrets and nothing else."""
    assert {key: "u1"} == redact(None, "info", {key: "u1"})


def test_a_missing_secret_shows_as_missing() -> None:
    """None is no secret, and worth seeing."""
    assert {"write_key": None} == redact(None, "info", {"write_key": None})


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://:pw@host:6379/0", "redis://:***@host:6379/0"),
        ("cannot reach rediss://bot:p%40w@host", "cannot reach rediss://bot:***@host"),
        ("http://host:8080/a@b", "http://host:8080/a@b"),
    ],
)
def test_a_password_in_a_url_is_redacted(url: str, expected: str) -> None:
    """Libraries put whole URLs into their messages."""
    assert {"event": expected} == redact(None, "info", {"event": url})


def test_a_password_in_an_exception_is_redacted() -> None:
    """What an exception says goes through the same redaction."""
    stream = io.StringIO()
    configure_logs("info", "json", stream=stream)

    try:
        raise ConnectionError("no answer from redis://:hunter2@host")
    except ConnectionError:
        get_logger("pombo.test").exception("failed")

    assert "hunter2" not in stream.getvalue()


def test_bound_context_is_written() -> None:
    """Context variables of structlog reach the line."""
    stream = io.StringIO()
    configure_logs("info", "json", stream=stream)

    with structlog.contextvars.bound_contextvars(worker="w1"):
        get_logger("pombo.test").info("seen")

    assert "w1" == lines(stream)[0]["worker"]


def test_what_json_does_not_know_is_written_as_text() -> None:
    """An odd value costs its beauty, not the line."""
    stream = io.StringIO()
    configure_logs("info", "json", stream=stream)

    get_logger("pombo.test").info("seen", value={1, 2}, name="\ud800")

    assert "seen" == lines(stream)[0]["event"]


@pytest.mark.parametrize("value", ["\ud800", 1 << 70, {1: "x"}])
def test_what_is_hard_to_write_is_written(value: object) -> None:
    """Half a character, a huge number and keys that are no text stand in the line as the standard library has them."""
    stream = io.StringIO()
    configure_logs("info", "json", stream=stream)
    get_logger("pombo.test").info("seen", value=value)
    assert json.loads(json.dumps(value)) == lines(stream)[0]["value"]


def test_quick_lines_are_like_the_others(tmp_path: Path) -> None:
    """A quick logger's JSON has the keys of any other line, obeys the level, and is the usual one on a console."""
    lines = []
    for quick in (False, True):
        with (tmp_path / "log").open("w", encoding="utf-8") as stream:
            configure_logs("info", "json", stream=stream)
            logger = get_quick_logger("pombo.x") if quick else get_logger("pombo.x")
            logger.debug("unseen")
            logger.info("request", status=200, path="/v1/batch")
        lines.append(json.loads((tmp_path / "log").read_text()))
    usual, quick_line = lines
    assert usual | {"timestamp": ""} == quick_line | {"timestamp": ""}
    with (tmp_path / "log").open("w", encoding="utf-8") as stream:
        configure_logs("info", "console", stream=stream)
        get_quick_logger("pombo.x").info("request", status=200)
    assert "request" in (tmp_path / "log").read_text()
