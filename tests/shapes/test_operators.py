from io import BytesIO, TextIOWrapper
from pathlib import Path

import orjson
import pytest

from ops.cli.commands import WRITE_KEY, events
from pombo.ops.cli import main
from support.programs import SECRET
from support.servers import Shape


def test_what_operators_look_with(
    shape: Shape, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Doctor, trace, top and the test of a source work on every shape of Redis."""
    for name, value in {"REDIS_URL": shape.url, "SECRET_KEY": SECRET, "METRICS_PORT": "0"}.items():
        monkeypatch.setenv(f"POMBO_{name}", value)
    monkeypatch.chdir(tmp_path)

    def pombo(*words: str, stdin: str = "") -> tuple[int, str]:
        monkeypatch.setattr("sys.stdin", TextIOWrapper(BytesIO(stdin.encode())))
        return main(words), capsys.readouterr().out

    assert pombo("sources", "add", "bot", "--write-key", WRITE_KEY, "--endpoint", "http://127.0.0.1:1")[0] == 0
    assert pombo("send", "--source", "bot", stdin=events("m1", "m2"))[0] == 0
    checks = {check["name"]: check for check in orjson.loads(pombo("doctor", "--json")[1])["checks"]}
    assert checks["redis"]["ok"], checks["redis"]
    assert checks["clock"]["ok"], checks["clock"]
    assert "data" not in checks
    assert any(name.startswith("persistence") for name in checks)
    assert "2 events under way" in checks["workers"]["detail"]
    code, found = pombo("trace", "m2", "--json")
    assert (0, [1]) == (code, [place["ahead"] for place in orjson.loads(found)["places"]])
    assert " 2 queued · " in pombo("top", "--once", "--interval", "0.1")[1]
    assert pombo("sources", "pause", "bot")[0] == 0  # So that the test of it waits for nobody.
    assert "no worker lives" in pombo("sources", "test", "bot", "--timeout", "60")[1]
