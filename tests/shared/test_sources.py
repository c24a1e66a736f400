"""Sources as they are stored, and where they send."""

import re
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pombo.shared.errors import StoredVersionError
from pombo.shared.sources import Source, endpoint_root

# -- endpoints -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "root"),
    [
        ("https://api.segment.io", "https://api.segment.io"),
        ("https://api.segment.io/", "https://api.segment.io"),
        ("https://api.segment.io/v1", "https://api.segment.io"),
        ("https://api.segment.io/v1/", "https://api.segment.io"),
        ("https://api.segment.io//v1//", "https://api.segment.io"),
        (" https://api.segment.io/v1 \n", "https://api.segment.io"),
        ("HTTPS://api.segment.io", "https://api.segment.io"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://[::1]:8080/v1", "http://[::1]:8080"),
        ("https://proxy.example/segment", "https://proxy.example/segment"),
        ("https://proxy.example/segment/v1/", "https://proxy.example/segment"),
        ("https://proxy.example/v1/v1", "https://proxy.example"),
        ("https://proxy.example/v1//v1/", "https://proxy.example"),
        ("https://v1", "https://v1"),
        ("http://v1/v1", "http://v1"),
        ("https://proxy.example/v1x", "https://proxy.example/v1x"),
        ("https://proxy.example/v2", "https://proxy.example/v2"),
    ],
)
def test_endpoint_is_brought_to_its_root(given: str, root: str) -> None:
    """A trailing slash or `/v1` is tolerated, a path is kept; once is enough."""
    assert root == endpoint_root(given)
    assert root == endpoint_root(root)


@pytest.mark.parametrize(
    "given",
    [
        "",
        " ",
        "api.segment.io",
        "//api.segment.io",
        "ftp://api.segment.io",
        "https://",
        "https:///v1",
        "https://:443",
        "https://api.segment.io:99999",
        "https://api.segment.io:port",
        "https://api.segment.io/v1?key=1",
        "https://api.segment.io/#v1",
        "https://user@api.segment.io",
        "https://user:secret@api.segment.io",
        "https://:secret@api.segment.io",
        "https://@api.segment.io",
        "https://user:secret/x@api.segment.io",
        "https://api.segment.io:0",
        "https://api.segment.io:00",
        "https://api .segment.io",
        "https://api.segment.io/a b",
        "https://api.segment.io/\u00a0x",
        "https://api.\nsegment.io",
        "https://api.segment.io/a\tb",
        "https://api.segment.io\x00",
        "\x00https://api.segment.io",
        "http://[::1",
        "redis://localhost",
    ],
)
def test_unusable_endpoint_is_refused(given: str) -> None:
    """What is no http(s) root is refused when it is set, not when it is sent to."""
    with pytest.raises(ValueError, match="URL"):
        endpoint_root(given)
    with pytest.raises(ValidationError):
        Source(name="bot", incarnation="i", endpoint=given)


_pieces = st.sampled_from(
    [
        "https://",
        "http://",
        "HTTPS:",
        "/",
        "//",
        "v1",
        "/v1",
        "v1/",
        "h.example",
        "[::1]",
        ":80",
        ":0",
        "@",
        " ",
        "\n",
        "?",
    ]
) | st.text(max_size=3)


@settings(deadline=None, max_examples=400)
@given(st.sampled_from(["https://", "http://h", "https://h/v1", ""]), st.lists(_pieces, max_size=6))
def test_root_of_a_root_is_the_same(start: str, pieces: list[str]) -> None:
    """Whatever is taken as an endpoint is taken again, unchanged: it may be stored and loaded for good."""
    try:
        root = endpoint_root(start + "".join(pieces))
    except ValueError:
        return
    assert root == endpoint_root(root)
    assert not root.endswith(("/", "/v1")) or root in {"http://v1", "https://v1"}
    assert not re.search(r"[\s@]", root)


# -- where batches go ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "url"),
    [
        ({}, "https://api.segment.io/v1/batch"),
        ({"region": "us"}, "https://api.segment.io/v1/batch"),
        ({"region": "eu"}, "https://events.eu1.segmentapis.com/v1/batch"),
        ({"region": None}, "https://api.segment.io/v1/batch"),
        ({"endpoint": "http://127.0.0.1:9/v1/"}, "http://127.0.0.1:9/v1/batch"),
        ({"region": "eu", "endpoint": "https://proxy.example/s"}, "https://proxy.example/s/v1/batch"),
    ],
)
def test_url_is_the_batch_route_of_region_or_endpoint(options: dict[str, Any], url: str) -> None:
    """An endpoint replaces the region's host; the route is always Segment's."""
    assert url == Source(name="bot", incarnation="i", **options).url


# -- validation ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a", "A9", "support_bot", "a.b-c_d", "0", "x" * 64])
def test_good_names(name: str) -> None:
    """Letters and digits first, then also dots, dashes and underscores, 64 characters at most."""
    assert name == Source(name=name, incarnation="i").name


@pytest.mark.parametrize(
    "name", ["", "x" * 65, "_a", ".a", "-a", "a b", "a:b", "{a}", "@fleet", "a\n", "ção", "a/0", "a\x00"]
)
def test_bad_names(name: str) -> None:
    """No name can hold what keys, partitions or hash tags are made with."""
    with pytest.raises(ValidationError):
        Source(name=name, incarnation="i")
    with pytest.raises(ValidationError):
        Source(name="bot", incarnation="i", rate_group=name)


@pytest.mark.parametrize(
    "options",
    [
        {"partitions": 0},
        {"partitions": 257},
        {"rate": -1},
        {"rate": float("nan")},
        {"rate": float("inf")},
        {"burst": float("inf")},
        {"max_age_s": float("inf")},
        {"window_s": float("inf")},
        {"burst": 0},
        {"max_age_s": 0},
        {"window_s": 59},
        {"backlog_bytes": -1},
        {"region": "br"},
        {"v": 2},
        {"intake_header": "X Key"},
        {"intake_header": "X-Key\n"},
        {"intake_header": ""},
        {"message_bodies": "half"},
        {"identity": "sha256"},
        {"perspective": "agent"},
        {"bots": ["no-domain"]},
        {"bots": ["bot@msging.net/instance"]},
    ],
)
def test_settings_out_of_bounds_are_refused(options: dict[str, Any]) -> None:
    """Every setting has its bounds."""
    with pytest.raises(ValidationError):
        Source(name="bot", incarnation="i", **options)


def test_sources_do_not_change() -> None:
    """A source that is handed round stays what it is."""
    source = Source(name="bot", incarnation="i")
    with pytest.raises(ValidationError):
        source.rate = 5


# -- stored form ---------------------------------------------------------------------------------------------

_positive = st.floats(1e-3, 1e12)


@settings(deadline=None)
@given(
    st.fixed_dictionaries(
        {"name": st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z"), "incarnation": st.text(max_size=20)},
        optional={
            "partitions": st.integers(1, 256),
            "region": st.sampled_from(["us", "eu", None]),
            "endpoint": st.sampled_from([None, "https://h/v1", "http://[::1]:80/x/", "https://h.example"]),
            "rate": st.just(0) | _positive,
            "burst": st.none() | _positive,
            "rate_group": st.none() | st.just("workspace"),
            "max_age_s": _positive,
            "window_s": st.floats(60, 1e9),
            "backlog_bytes": st.integers(0, 1 << 50),
            "intake_header": st.from_regex(r"\A[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}\Z"),
            "blip": st.booleans(),
            "message_bodies": st.sampled_from(["full", "length", "drop"]),
            "identity": st.sampled_from(["raw", "hmac"]),
            "perspective": st.sampled_from(["bot", "customer"]),
            "tickets": st.booleans(),
            "bots": st.lists(st.sampled_from(["a@msging.net", "b@msging.net"])),
        },
    )
)
def test_source_survives_storing(fields: dict[str, Any]) -> None:
    """What is stored is loaded again, exactly."""
    source = Source(**fields)
    assert source == Source.load(source.name, source.dump())
    assert source.url == Source.load(source.name, source.dump()).url


def test_source_of_an_older_pombo_has_the_careful_choices() -> None:
    """What was stored before there were choices for platforms is read with defaults that tell the least."""
    source = Source.load("bot", b'{"v":1,"name":"bot","incarnation":"i"}')
    told = source.model_dump(include={"intake_header", "blip", "message_bodies", "tickets", "perspective", "bots"})
    expected = {
        "intake_header": "Authorization", "blip": False, "message_bodies": "length", "tickets": False,
        "perspective": "bot", "bots": (),
    }  # fmt: skip
    assert expected == told
    assert "raw" == source.identity


def test_bots_are_compared_without_case() -> None:
    """LIME compares addresses without case, so identities are kept in lower case."""
    assert ("mybot@msging.net",) == Source(name="bot", incarnation="i", bots=("MyBot@MSGING.net",)).bots


def test_stored_form_carries_its_version() -> None:
    """The stored settings say in which version they were written."""
    assert 1 == orjson.loads(Source(name="bot", incarnation="i").dump())["v"]


def test_unknown_fields_are_ignored() -> None:
    """A field that a newer pombo added to the same version harms nobody."""
    stored = orjson.dumps({"v": 1, "name": "bot", "incarnation": "i", "new": {"x": 1}})
    assert Source(name="bot", incarnation="i") == Source.load("bot", stored)


@pytest.mark.parametrize(
    "stored",
    [
        b'{"v": 2, "name": "bot", "incarnation": "i"}',
        b'{"v": "1", "name": "bot", "incarnation": "i"}',
        b'{"v": 1, "name": "bot"}',
        b'{"v": 1, "name": "bot", "incarnation": "i", "region": "moon"}',
        b"[]",
        b"null",
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 10_000,
    ],
)
def test_unknown_form_is_left_alone(stored: bytes) -> None:
    """What cannot be read is named, and never called anything but another version's."""
    with pytest.raises(StoredVersionError, match="'bot'"):
        Source.load("bot", stored)
