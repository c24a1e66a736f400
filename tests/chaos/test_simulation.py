"""The simulation itself: the same seed is the same world, the product stands it, and a broken one does not."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.breaks import MUTANTS, Mutant
from chaos.explore import Outcome, points, run
from chaos.mutants import ROOT
from chaos.scenarios import CALM_ONLY, REPEATING, SCENARIOS
from chaos.segment import Reply
from chaos.stage import Stage
from chaos.virtualserver import VirtualServer, virtual_server
from chaos.weather import Calm
from chaos.world import made_world

_STREAM_ID = re.compile(r"\d{13}-\d+")


@pytest.fixture(scope="module")
def server() -> Iterator[VirtualServer]:
    """A server on virtual time."""
    with virtual_server() as made:
        yield made


def trace(outcome: Outcome) -> list[str]:
    """What happened, without what the server's own clock made."""
    return [_STREAM_ID.sub("ID", repr(line)) for line in outcome.trace]


@pytest.mark.parametrize("name", ["storm:3", "storm:17", "sharing:20:FROZEN"])
def test_the_same_name_is_the_same_run(server: VirtualServer, tmp_path: Path, name: str) -> None:
    """A run can be repeated step by step."""
    first, second = (run(server, name, tmp_path / "run", traced=True) for _ in range(2))
    assert trace(first) == trace(second)
    assert len(first.trace) > 50


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_calm(server: VirtualServer, tmp_path: Path, scenario: str) -> None:
    """Every scenario ends well when nothing is struck."""
    assert [] == run(server, f"{scenario}:calm", tmp_path / "run").problems


def test_every_blow_at_every_step_of_a_delivery(server: VirtualServer, tmp_path: Path) -> None:
    """The plainest scenario stands everything everywhere; `make chaos` does the same to the others."""
    outcomes = [run(server, name, tmp_path / "run") for name in points(server, "delivery", tmp_path / "run")]
    assert [] == [(one.name, one.problems) for one in outcomes if one.problems]
    assert len(outcomes) > 150
    assert all(sum(one.blows.values()) == 1 for one in outcomes)


def test_random_schedules(server: VirtualServer, tmp_path: Path) -> None:
    """Some storms."""
    outcomes = [run(server, f"storm:{seed}", tmp_path / "run") for seed in range(40)]
    assert [] == [(one.name, one.problems) for one in outcomes if one.problems]


def test_what_segment_drops_is_noticed(server: VirtualServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oracle believes arrivals, not answers: a 200 to events that were thrown away is a loss."""

    async def dropping(stage: Stage) -> None:
        await stage.open()
        stage.segment.mood = lambda _: Reply(taken=False)
        stage.staff(1)
        stage.bot("bot", [(0.0, "a0", "u"), (0.0, "a1", "u")])
        await stage.settled()

    monkeypatch.setitem(SCENARIOS, "dropping", dropping)
    outcome = run(server, "dropping:calm", tmp_path / "run")
    assert ["lost: a0", "lost: a1"] == outcome.problems
    assert any("offers a0" in str(line) for line in outcome.trace)


def test_a_freeze_does_not_end_before_a_longer_one(server: VirtualServer) -> None:
    """Who is stopped twice goes on when both freezes are over."""
    with made_world(server, Calm(), "freezes") as world:
        process = world.process("frozen")
        process.freeze(10)
        process.freeze(1)
        assert 10 == process.frozen_until


def test_long_scenarios_are_played_in_calm_weather_alone(server: VirtualServer, tmp_path: Path) -> None:
    """The scenarios whose points cost too much have none, and each of them is there."""
    assert SCENARIOS.keys() >= CALM_ONLY | REPEATING
    assert [] == [name for scenario in CALM_ONLY for name in points(server, scenario, tmp_path / "run")]


@pytest.mark.parametrize("name", ["storm:x", "nothing:calm", "delivery:1:SNEEZE", "storm"])
def test_a_run_that_is_none(server: VirtualServer, tmp_path: Path, name: str) -> None:
    """A name that means nothing is refused with those that do."""
    with pytest.raises(ValueError, match="is no run; use storm:SEED or SCENARIO:STEP:BLOW, of delivery"):
        run(server, name, tmp_path / "run")


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_mutants_fit_the_code(tmp_path: Path, mutant: Mutant) -> None:
    """Each break finds the text that it breaks; `make mutants` sees each of them found out."""
    path = tmp_path / mutant.file
    path.parent.mkdir(parents=True)
    path.write_text((ROOT / mutant.file).read_text("utf-8"), "utf-8")
    mutant.applied(tmp_path)


def test_a_broken_pombo_is_found_out() -> None:
    """The command breaks a copy of the product, and says which run found it; the product is as it was."""
    words = [sys.executable, "-m", "chaos", "--mutants", "second half"]
    done = subprocess.run(
        words, cwd=Path(__file__).resolve().parents[1], capture_output=True, text=True, check=False, timeout=100
    )
    assert (0, "") == (done.returncode, done.stderr)
    assert re.search(r"second half of a bisection first +[0-9.]+ s  refused:calm: out of order", done.stdout)
    assert "1 of 1 broken pombos found out" in done.stdout
