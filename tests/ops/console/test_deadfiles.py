"""Files of dead letters: downloads, and imports of uploads and of what lies in the folder."""

from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import httpx
import orjson
import pytest
from redis import Redis

from ops.console.letterbox import add, dead, deeds, letter, post, put
from ops.console.rig import OPERATOR, VIEWER, Running, console, token_of
from pombo.ops.console.letterfiles import CHECKED, MOST_UPLOADED
from support.jobs import do_jobs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of exports."""
    made = tmp_path / "exports"
    made.mkdir()
    return made


@pytest.fixture
def running(redis_url: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """A console with a folder of its own, which jobs that are done here share."""
    monkeypatch.setenv("POMBO_REDIS_URL", redis_url)
    monkeypatch.setenv("POMBO_EXPORT_DIR", str(folder))
    monkeypatch.setenv("POMBO_LOG_LEVEL", "error")
    with console(redis_url, console_token=OPERATOR, console_viewer_token=VIEWER, export_dir=folder) as found:
        yield found


@pytest.fixture
def ana(running: Running) -> Iterator[httpx.Client]:
    """An operator."""
    with running.client(OPERATOR, "ana") as client:
        yield client


def exported(redis: Redis, client: httpx.Client, folder: Path) -> Path:
    """Export and discard all letters; the file."""
    post(client, "/dead/-/act", {"action": "export", "all": "1", "discards": "1"})
    do_jobs(redis)
    (file,) = folder.glob("*.ndjson")
    return file


def upload(client: httpx.Client, content: bytes, name: str = "letters.ndjson", **form: str) -> httpx.Response:
    """Send a file as the page does."""
    headers = {"X-CSRF-Token": token_of(client.get("/dead/-/files").text)}
    files = {"upload": (name, content)}
    return client.post("/dead/-/files", data={"source": "bot", **form}, files=files, headers=headers)


def test_an_export_can_be_downloaded_and_imported(
    redis_url: str, sync_redis: Redis, ana: httpx.Client, folder: Path
) -> None:
    """Its bytes are the file's; what they tell is a dead letter again, once, whichever way it is imported."""
    add(redis_url, "bot")
    put(redis_url, letter("m1"), letter("m2"))
    file = exported(sync_redis, ana, folder)
    page = ana.get("/jobs")
    assert f'href="/dead/-/files/{file.name}"' in page.text
    answer = ana.get(f"/dead/-/files/{file.name}")
    assert (file.read_bytes(), f'attachment; filename="{file.name}"') == (
        answer.content, answer.headers["content-disposition"],
    )  # fmt: skip
    assert "Import of bot" in ana.get(upload(ana, answer.content).headers["location"]).text
    do_jobs(sync_redis)
    assert 2 == dead(sync_redis)
    post(ana, "/dead/-/files", {"source": "bot", "file": file.name, "rate": "500"})
    do_jobs(sync_redis)
    assert 2 == dead(sync_redis)
    assert "2 had been put back before, and were not put back again" in ana.get("/jobs").text
    told = [what for _, what, _ in deeds(sync_redis)]
    assert ["dead.export", "dead.download", "dead.import", "dead.import"] == told


def test_an_upload_is_kept_for_its_owner_alone(redis_url: str, ana: httpx.Client, folder: Path) -> None:
    """Under a name of ours, whatever its own is."""
    add(redis_url, "bot")
    line = orjson.dumps({"id": "bot/1-0", "reason": "poison", "partition": 0, "payload": {"messageId": "m"}})
    assert 303 == upload(ana, line, "../../etc/passwd").status_code
    (kept,) = folder.iterdir()
    assert (line, 0o600, True) == (kept.read_bytes(), kept.stat().st_mode & 0o777, kept.name.startswith("bot-upload-"))


@pytest.mark.parametrize(
    ("content", "words"), [(b"", "it is empty"), (b"\n\n", "it is empty"), (b"hello\n" * (CHECKED + 5), "no JSON")]
)
def test_an_upload_that_is_no_export_is_refused(
    redis_url: str, ana: httpx.Client, folder: Path, content: bytes, words: str
) -> None:
    """At once, and nothing of it is kept."""
    add(redis_url, "bot")
    answer = upload(ana, content)
    assert (422, []) == (answer.status_code, [*folder.iterdir()])
    assert f"This is no export of dead letters: {words}" in answer.text.replace("it is no JSON", "no JSON")


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"source": "", "file": "a.ndjson"}, "Choose the source"), ({"file": ""}, "is no name of an export"),
        ({"file": "../secret.ndjson"}, "is no name of an export"), ({"file": "a.ndjson", "rate": "x"}, "is no rate"),
    ],
)  # fmt: skip
def test_what_cannot_be_imported_is_explained(
    redis_url: str, ana: httpx.Client, form: dict[str, str], words: str
) -> None:
    """Beside the form, as it was filled in."""
    add(redis_url, "bot")
    answer = post(ana, "/dead/-/files", {"source": "bot", **form})
    assert 422 == answer.status_code
    assert words in answer.text
    assert "No jobs" in ana.get("/jobs").text


@pytest.mark.parametrize("name", ["..%2Fsecret.ndjson", "link.ndjson", "notes.txt", ".hidden.ndjson", "none.ndjson"])
def test_nothing_but_exports_can_be_downloaded(
    redis_url: str, ana: httpx.Client, folder: Path, tmp_path: Path, name: str
) -> None:
    """Neither another folder's files, nor by a link, nor what has another kind of name."""
    secret = tmp_path / "secret.ndjson"
    secret.write_text("secret")
    (folder / "link.ndjson").symlink_to(secret)
    for other in ("notes.txt", ".hidden.ndjson"):
        (folder / other).write_text("secret")
    answer = ana.get(f"/dead/-/files/{name}")
    assert (404, False) == (answer.status_code, "secret\n" in answer.text)
    assert "link.ndjson" not in ana.get("/dead/-/files").text


def test_an_upload_too_large_is_refused_before_it_is_read(redis_url: str, running: Running, ana: httpx.Client) -> None:
    """By the length that it says; one that says none is refused too."""
    headers = {
        "X-CSRF-Token": token_of(ana.get("/dead/-/files").text), "Content-Type": "multipart/form-data; boundary=x",
        "Cookie": "; ".join(f"{name}={value}" for name, value in ana.cookies.items()),
    }  # fmt: skip
    for more, status in (({"Content-Length": str(2 * MOST_UPLOADED)}, 413), ({"Transfer-Encoding": "chunked"}, 411)):
        connection = HTTPConnection("127.0.0.1", running.port, timeout=30)
        connection.putrequest("POST", "/dead/-/files")
        for name, value in {**headers, **more}.items():
            connection.putheader(name, value)
        connection.endheaders()
        assert status == connection.getresponse().status
        connection.close()


def test_viewers_neither_take_nor_bring_files(redis_url: str, running: Running, folder: Path) -> None:
    """Exports hold people's data: viewers see their names alone."""
    (folder / "bot-1.ndjson").write_text("{}")
    with running.client(VIEWER, "vic") as vic:
        page = vic.get("/dead/-/files").text
        assert ("bot-1.ndjson" in page, "Download" in page, 'type="file"' in page) == (True, False, False)
        assert 403 == vic.get("/dead/-/files/bot-1.ndjson").status_code
        assert 403 == upload(vic, b"{}").status_code
