"""Settings from the environment and the `.env` file."""

from pathlib import Path

import pytest

from pombo.shared.errors import ConfigurationError
from pombo.shared.keys import Keys
from pombo.shared.settings import Settings, read_settings


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Start in an empty folder, without any setting of the machine's."""
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(f"POMBO_{name.upper()}", raising=False)


def test_everything_has_a_default() -> None:
    """A process without any setting starts with the documented defaults."""
    made = read_settings()
    assert (None, None, "pombo", 9108, "info", None, False) == (
        made.redis_url, made.jobs_redis_url, made.namespace, made.metrics_port, made.log_level,
        made.log_format, made.disabled,
    )  # fmt: skip
    assert Path("~/.pombo").expanduser() == made.home_dir


def test_the_contract_has_every_setting() -> None:
    """The settings are those that users are told of, and no others."""
    expected = {
        "redis_url", "jobs_redis_url", "home", "namespace", "secret_key", "spool_dir", "metrics_port",
        "log_level", "log_format", "console_token", "segment_write_key", "disabled", "server_bin",
        "gateway_body_bytes", "gateway_in_flight_bytes", "console_viewer_token", "export_dir",
    }  # fmt: skip
    assert expected == set(Settings.model_fields)


def test_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every variable carries the prefix and reaches its setting."""
    monkeypatch.setenv("POMBO_REDIS_URL", "redis://r")
    monkeypatch.setenv("POMBO_NAMESPACE", "team-a")
    monkeypatch.setenv("POMBO_METRICS_PORT", "0")
    monkeypatch.setenv("POMBO_DISABLED", "1")
    monkeypatch.setenv("POMBO_SECRET_KEY", "s1,s2")
    monkeypatch.setenv("REDIS_URL", "redis://other")
    made = read_settings()
    assert ("redis://r", Keys("team-a"), 0, True) == (
        made.redis_url,
        made.keys,
        made.metrics_port,
        made.disabled,
    )
    assert made.secret_key is not None
    assert "s1,s2" == made.secret_key.get_secret_value()


def test_env_file_is_read_and_the_environment_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A `.env` file fills in what the environment does not say, and may hold other programs' variables."""
    (tmp_path / ".env").write_text("POMBO_NAMESPACE=file\nPOMBO_LOG_LEVEL=debug\nOTHER=1\nPOMBO_UNKNOWN=x\n")
    monkeypatch.setenv("POMBO_NAMESPACE", "env")
    made = read_settings()
    assert ("env", "debug") == (made.namespace, made.log_level)


@pytest.mark.parametrize("name", ["REDIS_URL", "METRICS_PORT", "LOG_FORMAT", "DISABLED", "NAMESPACE", "SECRET_KEY"])
def test_empty_variables_are_unset(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """An empty variable counts as absent, as compose files write it."""
    monkeypatch.setenv(f"POMBO_{name}", "")
    assert Settings() == read_settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("METRICS_PORT", "-1"),
        ("METRICS_PORT", "70000"),
        ("METRICS_PORT", "http"),
        ("LOG_LEVEL", "loud"),
        ("LOG_FORMAT", "xml"),
        ("NAMESPACE", "a b"),
        ("NAMESPACE", "{x}"),
        ("NAMESPACE", "a:b"),
        ("NAMESPACE", "x" * 65),
        ("DISABLED", "perhaps"),
    ],
)
def test_unusable_setting_names_its_variable(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """The message names the variable and shows what was given, in one line."""
    monkeypatch.setenv(f"POMBO_{name}", value)
    with pytest.raises(ConfigurationError) as raised:
        read_settings()
    assert str(raised.value).startswith(f"POMBO_{name}: ")
    assert repr(value) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["SECRET_KEY", "CONSOLE_TOKEN", "SEGMENT_WRITE_KEY"])
def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Printing the settings shows no secret of ours."""
    monkeypatch.setenv(f"POMBO_{name}", "very-secret")
    made = read_settings()
    assert "very-secret" not in f"{made!r} {made} {made.model_dump()} {made.model_dump_json()}"


@pytest.mark.parametrize("name", ["REDIS_URL", "JOBS_REDIS_URL"])
def test_passwords_of_redis_are_not_shown(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Printing the settings shows no URL of a Redis, which may hold a password."""
    monkeypatch.setenv(f"POMBO_{name}", "redis://user:very-secret@localhost")
    made = read_settings()
    assert "very-secret" not in f"{made!r} {made}"


def test_home_may_be_relative_or_begin_with_a_tilde(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The folder in force is absolute, whatever was given."""
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    monkeypatch.setenv("POMBO_HOME", "~/x")
    assert tmp_path / "me" / "x" == read_settings().home_dir
    monkeypatch.setenv("POMBO_HOME", "here")
    assert tmp_path / "here" == read_settings().home_dir
