import re
from pathlib import Path

import pytest

from ops.cli.commands import Cli, said
from pombo.shared.secrets import Secrets
from support.programs import SECRET


def test_secret_is_fit_for_use(pombo: Cli) -> None:
    """`secret` prints one line that POMBO_SECRET_KEY takes, another one each time."""
    first, second = pombo("secret"), pombo("secret")
    assert re.fullmatch(r"pbs_[\w-]{43}\n", first.out)
    assert first.out != second.out
    Secrets([first.out.strip()])


def test_config_tells_where_settings_come_from(pombo: Cli, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment wins over `.env`, which wins over the default."""
    (place / ".env").write_text("POMBO_NAMESPACE=mine\nPOMBO_METRICS_PORT=9999\n")
    monkeypatch.setenv("POMBO_METRICS_PORT", "9200")
    settings = pombo("config", "--json").json["settings"]
    assert {"value": 9200, "from": "environment"} == settings["POMBO_METRICS_PORT"]
    assert {"value": "mine", "from": ".env"} == settings["POMBO_NAMESPACE"]
    assert {"value": "info", "from": "default"} == settings["POMBO_LOG_LEVEL"]


def test_config_shows_no_secret(pombo: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets are masked, and so are passwords in URLs."""
    monkeypatch.setenv("POMBO_REDIS_URL", "redis://user:hidden@cache:6379")
    monkeypatch.setenv("POMBO_CONSOLE_TOKEN", "hidden")
    for answer in (pombo("config"), pombo("config", "--json")):
        assert answer.code == 0
        assert "hidden" not in answer.out
        assert SECRET not in answer.out
        assert "redis://user:***@cache:6379" in answer.out


def test_config_masks_what_is_hardly_a_url(pombo: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """A password is masked too where the URL lacks its slashes."""
    monkeypatch.setenv("POMBO_REDIS_URL", "redis:hidden@cache")
    assert "redis:***@cache" in pombo("config").out
    assert "hidden" not in pombo("config").out


def test_config_shows_ports_as_they_are_written(pombo: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """A port is no amount: it has no thousands separator."""
    monkeypatch.setenv("POMBO_METRICS_PORT", "9108")
    lines = [line.split() for line in pombo("config").out.splitlines()]
    assert ["POMBO_METRICS_PORT", "9108", "environment"] in lines


def test_config_knows_the_embedded_servers_places(pombo: Cli, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without URL and secret, the socket and the secret file under POMBO_HOME stand in for them."""
    monkeypatch.delenv("POMBO_REDIS_URL")
    monkeypatch.delenv("POMBO_SECRET_KEY")
    (place / "home").mkdir()
    (place / "home" / "secret.key").write_text(SECRET)
    settings = pombo("config", "--json").json["settings"]
    assert f"unix://{place}/home/redis.sock" == settings["POMBO_REDIS_URL"]["value"]
    assert {"value": "***", "from": f"{place}/home/secret.key"} == settings["POMBO_SECRET_KEY"]


def test_a_setting_that_cannot_be_used(pombo: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command names the variable at fault, with exit code 2."""
    monkeypatch.setenv("POMBO_METRICS_PORT", "many")
    answer = pombo("config")
    assert answer.code == 2
    assert said(answer).startswith("POMBO_METRICS_PORT: ")


def test_no_colour_where_nobody_wants_any(program: Cli) -> None:
    """A pipe gets no escape codes, whatever the terminal's name."""
    assert "\x1b" not in program("config", TERM="xterm-256color", NO_COLOR="1").out
