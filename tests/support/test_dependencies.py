import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from support.dependencies import audit, main, pinned, read
from support.servers import free_port

FAULTY = {
    "id": "PYSEC-1", "aliases": ["CVE-1"], "summary": "it leaks", "details": "it leaks",
    "affected": [{
        "package": {"name": "leaky", "ecosystem": "PyPI"}, "versions": ["1.0"],
        "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.1"}]}],
    }],
}  # fmt: skip


class Advisories(BaseHTTPRequestHandler):
    """A vulnerability service in OSV's form, which knows one vulnerability."""

    def do_POST(self) -> None:
        asked: Any = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        body = json.dumps({"vulns": [FAULTY]} if asked["package"]["name"] == "leaky" else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def osv_url() -> Iterator[str]:
    """URL of such a service."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Advisories) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1/query"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def pins(tmp_path: Path) -> Path:
    """A file of pinned requirements, one of which is vulnerable."""
    path = tmp_path / "constraints.txt"
    path.write_text("leaky==1.0\nsound==2.0\n")
    return path


def test_a_vulnerability_fails(pins: Path, osv_url: str) -> None:
    """A vulnerable package fails the audit, and is named with the version that mends it."""
    report = audit(str(pins), services=["osv"], osv_url=osv_url)

    assert ("leaky 1.0: PYSEC-1, mended in 1.1",) == report.vulnerable
    assert (1, {"leaky", "sound"}) == (report.code(), set(report.audited))
    assert not report.unaudited


def test_sound_packages_pass(pins: Path, osv_url: str) -> None:
    """Nothing found where everything was looked up passes, also when that is strict."""
    pins.write_text("sound==2.0\n")

    report = audit(str(pins), services=["osv"], osv_url=osv_url)

    assert (0, ["dependency audit: 1 packages audited, 0 vulnerabilities"]) == (
        report.code(strict=True),
        report.lines(),
    )


def test_a_service_that_is_away_is_said(pins: Path) -> None:
    """Without a service nothing is called sound: it is said, and fails only who is strict."""
    report = audit(str(pins), services=["osv"], osv_url=f"http://127.0.0.1:{free_port()}/v1/query")

    assert (0, 1) == (report.code(), report.code(strict=True))
    assert report.lines()[0].startswith("dependency audit: osv gave no report: ")
    assert "NOT audited: 2 of 2 packages (leaky, sound)" in report.lines()[1]


def test_the_next_service_is_asked_for_the_rest(pins: Path, osv_url: str) -> None:
    """What one service does not know, another may."""
    skipped = {"dependencies": [{"name": "leaky", "skip_reason": "not found"}, {"name": "sound", "skip_reason": "x"}]}
    known = {"dependencies": [{"name": "Leaky", "version": "1.0", "vulns": []}]}

    assert {"leaky", "sound"} == read(["leaky", "sound"], [skipped]).unaudited
    assert {"sound"} == read(["leaky", "sound"], [skipped, known]).unaudited


def test_a_file_that_is_missing_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A name that is mistyped must not pass for an audit."""
    path = tmp_path / "nothing"

    assert 2 == main([str(path)])
    assert f"{path}: No such file or directory\n" == capsys.readouterr().err


def test_pins_are_read() -> None:
    """Every line that pins a version names a package."""
    assert ["a", "b-c"] == pinned("a==1\n# no\nb-c==2.0\n")
