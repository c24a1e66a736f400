"""Settings of a process, from the environment and a `.env` file. Everything else is per source."""

from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from pombo.shared.errors import ConfigurationError
from pombo.shared.keys import Keys


class Settings(BaseSettings):
    """What a process of pombo is told from outside; the reference in docs/ is made from this class."""

    model_config = SettingsConfigDict(env_prefix="POMBO_", env_file=".env", extra="ignore", env_ignore_empty=True)

    redis_url: Annotated[str | None, Field(repr=False)] = None
    """`redis://`, `rediss://`, `unix://`, `redis+sentinel://HOST:PORT,…/SERVICE/DB` or `redis+cluster://HOST:PORT,…`;
    unset: the embedded server's socket under `POMBO_HOME`."""
    jobs_redis_url: Annotated[str | None, Field(repr=False)] = None
    """Redis of the control plane (RQ), which cannot be a cluster; default: the same as `POMBO_REDIS_URL`.
    Installations that share one need different namespaces: whoever has the same runs the others' jobs."""
    home: Path = Path("~/.pombo")
    """Folder of the embedded server: its data, socket, log and secret key."""
    namespace: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")] = "pombo"
    """Prefix of every key in Redis."""
    secret_key: SecretStr | None = None
    """Encrypts write keys; `pombo secret` makes one; comma-separated for rotation, newest first."""
    spool_dir: Path | None = None
    """Folder where producers keep events while Redis is away."""
    export_dir: Path | None = None
    """Folder of the dead letters that jobs export, and of files that they import; default: `exports` under
    `POMBO_HOME`. It should outlive the worker: on a container's own disk it would not."""
    metrics_port: Annotated[int, Field(ge=0, le=65_535)] = 9108
    """Port of a worker's `/metrics`; 0 is off. A port in use is a warning."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severity that is logged."""
    log_format: Literal["json", "console"] | None = None
    """`json` or `console`; default: console on a terminal, else json."""
    console_token: SecretStr | None = None
    """Token that opens the console to operators; without any token it is open on loopback, and listens nowhere else."""
    console_viewer_token: SecretStr | None = None
    """Token that opens the console to viewers, who may change nothing."""
    segment_write_key: SecretStr | None = None
    """Makes the source `default` on `pombo up`."""
    disabled: bool = False
    """Producers validate and discard."""
    gateway_body_bytes: Annotated[int, Field(ge=1024, le=1 << 30)] = 5 << 20
    """Bytes of one request's body at the gateway, inflated; larger ones are answered with 413."""
    gateway_in_flight_bytes: Annotated[int, Field(ge=1 << 20)] = 64 << 20
    """Bytes of all requests that one gateway process has in hand; beyond, requests are answered with 429."""
    server_bin: Path | None = None
    """The embedded server's program; default: the bundled one, else `valkey-server` or `redis-server` on the path."""

    @cached_property
    def keys(self) -> Keys:
        """The key catalogue of this namespace."""
        return Keys(self.namespace)

    @property
    def home_dir(self) -> Path:
        """`home` with `~` resolved."""
        return self.home.expanduser().absolute()

    @property
    def export_folder(self) -> Path:
        """`export_dir` in force."""
        return self.export_dir.expanduser().absolute() if self.export_dir else self.home_dir / "exports"


def read_settings() -> Settings:
    """Read the settings of this process.

    Raises:
        ConfigurationError: one cannot be used; the message names the variable.
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = "POMBO_" + "_".join(str(part) for part in first["loc"]).upper().removeprefix("POMBO_")
        raise ConfigurationError(f"{name}: {first['msg']}; got {first['input']!r}") from None
