import subprocess
import sys
from pathlib import Path

from prometheus_client import generate_latest

from pombo.shared.crewmetrics import crew_environment, crew_registry

WORKS = """
import os, sys
from pombo.shared.crewmetrics import join_crew
from pombo.worker.metrics import Metrics
member = join_crew()
metrics = Metrics()
for _ in range(int(sys.argv[1])):
    metrics.requests.labels("bot", "200").inc()
    metrics.request_seconds.labels("bot").observe(0.02)
print(member, os.environ.get("POMBO_CREW_MEMBER"))
os._exit(9)
"""


def works(folder: Path, member: int, requests: int) -> str:
    """A process of a crew that counts requests, and dies without a word; what it printed."""
    done = subprocess.run(
        [sys.executable, "-u", "-c", WORKS, str(requests)],
        env=crew_environment(folder, member), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (9, "") == (done.returncode, done.stderr)
    return done.stdout.strip()


def shown(folder: Path) -> list[str]:
    """The lines of a scrape."""
    return generate_latest(crew_registry(folder)).decode().splitlines()


def test_a_crew_counts_together(tmp_path: Path) -> None:
    """A scrape shows the sums of all processes, and one version once."""
    assert ["1 None", "2 None"] == [works(tmp_path, 1, 3), works(tmp_path, 2, 4)]
    lines = shown(tmp_path)
    assert 'pombo_requests_total{source="bot",status="200"} 7.0' in lines
    assert 'pombo_request_seconds_bucket{le="0.025",source="bot"} 7.0' in lines
    assert 'pombo_request_seconds_count{source="bot"} 7.0' in lines
    (build,) = [line for line in lines if line.startswith("pombo_build_info{")]
    assert "pid" not in build
    assert build.endswith(" 1.0")


def test_who_is_started_again_goes_on_counting(tmp_path: Path) -> None:
    """Counters never fall when a process dies, and its successor adds no files."""
    works(tmp_path, 1, 3)
    files = set(tmp_path.iterdir())
    for _ in range(3):
        works(tmp_path, 1, 2)
    assert 'pombo_requests_total{source="bot",status="200"} 9.0' in shown(tmp_path)
    assert files == set(tmp_path.iterdir())


def test_an_empty_crew_shows_nothing(tmp_path: Path) -> None:
    """Before the first process has counted, and with a file that it has only just made, a scrape is answered."""
    assert [] == shown(tmp_path)
    works(tmp_path, 1, 1)
    (tmp_path / "gauge_max_2.db").write_bytes(bytes(1 << 16))
    assert 'pombo_requests_total{source="bot",status="200"} 1.0' in shown(tmp_path)
