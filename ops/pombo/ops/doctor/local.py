"""What this machine has to do with it: switches, the secret, the metrics port."""

import socket
from collections.abc import Iterator
from contextlib import suppress
from urllib.request import ProxyHandler, build_opener

from pombo.ops.doctor.check import Check, failed
from pombo.shared.errors import ConfigurationError
from pombo.shared.secrets import Secrets, load_secrets
from pombo.shared.settings import Settings

TIMEOUT_S = 1.0
SECRET_REMEDY = "set POMBO_SECRET_KEY to that of the workers; `pombo secret` makes one for a new installation"  # noqa: S105


def disabled_check(settings: Settings) -> Check:
    """Judge the switch that makes producers drop everything."""
    if not settings.disabled:
        return Check("producers", True, "they send what they accept")
    detail = "POMBO_DISABLED is on: producers here check events and drop them"
    return Check("producers", False, detail, "unset POMBO_DISABLED, except in tests")


def read_secrets(settings: Settings) -> tuple[Secrets | None, Check]:
    """The secrets in force, and what is wrong with them."""
    try:
        return load_secrets(settings), Check("secret key", True, "set, and strong enough")
    except ConfigurationError as error:
        return None, failed("secret key", str(error), SECRET_REMEDY)


def metrics_checks(port: int) -> Iterator[Check]:
    """Look who has the port where a worker here shows its metrics."""
    if not port:
        yield Check("metrics", True, "off (POMBO_METRICS_PORT is 0)")
    elif _is_free(port):
        yield Check("metrics", True, f"port {port} is free for a worker here")
    elif b"pombo_build_info" in _page(port):
        yield Check("metrics", True, f"port {port} shows a worker's")
    else:
        detail = f"port {port} is another program's: a worker here would run without metrics"
        yield Check("metrics", True, detail, "set POMBO_METRICS_PORT to a free port, or to 0")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
        return True


def _page(port: int) -> bytes:
    page = b""
    with suppress(OSError, ValueError):
        local = build_opener(ProxyHandler({}))
        with local.open(f"http://127.0.0.1:{port}/metrics", timeout=TIMEOUT_S) as answer:
            page = answer.read(1 << 20)
    return page
