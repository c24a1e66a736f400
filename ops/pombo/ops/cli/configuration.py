"""The configuration: every setting in force, where it comes from, and nothing that is secret."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr
from pydantic_settings import DotEnvSettingsSource, EnvSettingsSource

from pombo.shared.connection import redact, redis_url
from pombo.shared.logs import REDACTED
from pombo.shared.secrets import SECRET_FILE
from pombo.shared.settings import Settings, read_settings

PREFIX = "POMBO_"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting in force."""

    name: str
    """As in the environment."""
    value: str | int | bool | None
    """None: it is not set, and nothing stands in for it."""
    origin: str
    """`environment`, `.env`, `default`, or the file that stands in for it."""

    def describe(self) -> dict[str, Any]:
        """The setting's part of `config --json`."""
        return {"value": self.value, "from": self.origin}


def read_configuration() -> list[Setting]:
    """Read the settings as every command does, and tell where they come from.

    Raises:
        ConfigurationError: one cannot be used.
    """
    settings = read_settings()
    return list(_settings(settings, set(EnvSettingsSource(Settings)()), set(DotEnvSettingsSource(Settings)())))


def _settings(settings: Settings, environment: set[str], file: set[str]) -> Iterator[Setting]:
    for field in Settings.model_fields:
        name, value = PREFIX + field.upper(), getattr(settings, field)
        # What is no proper URL may hold a password all the same.
        shown = redact(value) if field.endswith("_url") and value else _shown(value)
        if field in environment:
            yield Setting(name, shown, "environment")
        elif field in file:
            yield Setting(name, shown, ".env")
        else:
            yield _default(settings, name, value)


def _default(settings: Settings, name: str, value: object) -> Setting:
    """What is in force when nobody said so; with the embedded server, more than the declared default."""
    secret_file = settings.home_dir / SECRET_FILE
    if name == "POMBO_REDIS_URL":
        return Setting(name, redis_url(settings), "default: the embedded server")
    if name == "POMBO_JOBS_REDIS_URL":
        return Setting(name, redact(redis_url(settings)), "default: POMBO_REDIS_URL")
    if name == "POMBO_SECRET_KEY" and settings.redis_url is None and secret_file.exists():
        return Setting(name, REDACTED, str(secret_file))
    return Setting(name, _shown(value), "default")


def _shown(value: object) -> str | int | bool | None:
    if isinstance(value, SecretStr):
        return REDACTED
    if value is None or isinstance(value, (bool, int)):
        return value
    text = str(value)
    return redact(text) if "://" in text else text
