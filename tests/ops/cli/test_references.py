import os
import subprocess
import sys
from pathlib import Path

import pytest

from pombo.ops.references import REFERENCES, cli_page, main, metrics_page, settings_page
from pombo.shared.settings import Settings


def test_stale_references_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--check` names what is missing or changed and exits 1; after writing it finds nothing."""
    words = ["--folder", str(tmp_path)]
    assert main([*words, "--check"]) == 1
    assert len(capsys.readouterr().err.splitlines()) == len(REFERENCES)
    assert main(words) == 0
    assert main([*words, "--check"]) == 0
    (tmp_path / "keys.md").write_text("old")
    capsys.readouterr()
    assert main([*words, "--check"]) == 1
    assert capsys.readouterr().err.startswith(f"{tmp_path / 'keys.md'} is stale")


def test_references_depend_on_the_code_alone(tmp_path: Path) -> None:
    """Another terminal, environment, folder and home make the same pages."""
    pages = []
    for name, env in (
        ("a", {"COLUMNS": "40", "POMBO_NAMESPACE": "x"}),
        ("b", {"COLUMNS": "200", "TERM": "dumb"}),
    ):
        folder = tmp_path / name
        folder.mkdir()
        command = [sys.executable, "-m", "pombo.ops.references", "--folder", "made"]
        subprocess.run(command, cwd=folder, env={**os.environ, "HOME": str(folder), **env}, check=True)
        pages.append({path.name: path.read_text() for path in (folder / "made").iterdir()})
    assert pages[0] == pages[1]
    assert not any(str(tmp_path) in page or sys.prefix in page for page in pages[0].values())


def test_every_setting_has_its_meaning() -> None:
    """Each variable is in the page, with a text."""
    lines = settings_page().splitlines()
    for name in Settings.model_fields:
        (line,) = [line for line in lines if line.startswith(f"| `POMBO_{name.upper()}` |")]
        assert line.rstrip("| ").endswith(".")


def test_every_command_is_in_the_page() -> None:
    """Commands, arguments, options and examples are there."""
    page = cli_page()
    for heading in ("### pombo worker", "#### pombo sources rotate-key", "#### pombo dead export"):
        assert f"\n{heading}\n" in page
    assert "pombo sources add [OPTIONS] NAME" in page
    assert "| `--processes N` | How many; one uses one core. Default: `1`. |" in page
    assert "```sh\npombo jobs list\n" in page


def test_every_metric_has_its_labels() -> None:
    """Worker, installation and producer have their tables."""
    page = metrics_page()
    assert "| `pombo_requests_total` | counter | `source`, `status` |" in page
    assert "| `pombo_queue_events` | gauge | `source` |" in page
    assert "| `pombo_rejected_events_total` | counter | `source`, `reason` |" in page
