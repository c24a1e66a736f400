"""Write the dashboards' JSON, or check it with `--check`."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from pombo.ops.dashboards import DASHBOARDS, dumped
from pombo.ops.references import make

FOLDER = Path("deploy/monitoring/grafana/dashboards")
PAGES: dict[str, Callable[[], str]] = {name: partial(dumped, one) for name, one in DASHBOARDS.items()}

if __name__ == "__main__":
    sys.exit(make("pombo.ops.dashboards", FOLDER, PAGES))
