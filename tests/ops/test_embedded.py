import contextlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pombo.ops.embedded import EmbeddedServer, EmbeddedServerError
from pombo.ops.serverbinary import ServerVersion, find_program
from pombo.ops.serverhome import SOCKET_PATH_LIMIT, ServerHome
from pombo.shared.connection import SOCKET_POINTER, connect, redis_url
from pombo.shared.errors import ConfigurationError
from pombo.shared.settings import Settings
from support.programs import exists
from support.waiting import until

OWNER = """
import sys, time
from pathlib import Path
from pombo.ops.embedded import EmbeddedServer
server = EmbeddedServer(Path(sys.argv[1]), server_bin=Path(sys.argv[2]))
server.start()
print(server.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="session")
def binary() -> Path:
    """The program under test: the bundled one, or the one the suite is run against."""
    given = shutil.which(os.environ.get("POMBO_TEST_SERVER_BIN", ""))
    return find_program(Path(given) if given else None).path


@pytest.fixture
def home() -> Iterator[Path]:
    """A new home with a path short enough for a socket, which pytest's own folders do not promise."""
    folder = Path(tempfile.mkdtemp(prefix="pombo-", dir="/tmp"))
    yield folder / "home"
    shutil.rmtree(folder)


@pytest.fixture
def make(home: Path, binary: Path) -> Iterator[Callable[..., EmbeddedServer]]:
    """Make servers of the home that are stopped at the test's end."""
    with contextlib.ExitStack() as stack:

        def new(path: Path = home, **options: object) -> EmbeddedServer:
            server = EmbeddedServer(path, **{"server_bin": binary, **options})  # type: ignore[arg-type]
            stack.callback(server.stop)
            return server

        yield new


@pytest.fixture
def orphan(home: Path, binary: Path) -> Iterator[int]:
    """The pid of a server whose owner was killed with -9, after `answer` was set to 42."""
    command = [sys.executable, "-c", OWNER, str(home), str(binary)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        with connect(f"unix://{home}/redis.sock") as client:
            client.set("answer", 42)
        owner.kill()
    yield pid
    # A failed test must not leave it to the machine; its folder tells it from a later process of that pid.
    with contextlib.suppress(OSError):
        if Path(f"/proc/{pid}/cwd").samefile(home / "data"):
            os.kill(pid, signal.SIGKILL)


Make = Callable[..., EmbeddedServer]


def answer(server: EmbeddedServer) -> object:
    with connect(server.url) as client:
        return client.get("answer")


def set_answer(server: EmbeddedServer) -> None:
    with connect(server.url) as client:
        client.set("answer", 42)


def mode(path: Path) -> str:
    return f"{stat.S_IMODE(path.stat().st_mode):o}"


def kill(pid: int | None) -> None:
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    try:
        # A child's last thread may outlive what /proc shows: this waits for it, and leaves it to be reaped.
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    except ChildProcessError:
        until(lambda: not exists(pid), "end of the process")


def script(path: Path, version: str, then: str) -> Path:
    """A program that says it is the server of `version`, and otherwise does something else."""
    path.write_text(f'#!/bin/sh\nif [ "$1" = --version ]; then echo "{version}"; exit; fi\n{then}\n')
    path.chmod(0o700)
    return path


def in_one_line(error: pytest.ExceptionInfo[Exception]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


class TestRunning:
    def test_it_answers_where_the_settings_say(self, make: Make, home: Path) -> None:
        """Who has no POMBO_REDIS_URL finds it by POMBO_HOME alone."""
        with make() as server:
            with connect(redis_url(Settings(home=home, redis_url=None))) as client:
                assert client.ping()
            assert redis_url(Settings(home=home, redis_url=None)) == server.url

    def test_it_is_set_up_to_lose_nothing(self, make: Make) -> None:
        """Each write is on the disk before it is acknowledged, and none is evicted."""
        expected = {
            "appendonly": "yes",
            "appendfsync": "always",
            "aof-use-rdb-preamble": "yes",
            "save": "",
            "maxmemory-policy": "noeviction",
            "port": "0",
        }
        with make() as server, connect(server.url) as client:
            assert expected == {name: client.config_get(name)[name] for name in expected}

    def test_its_files_are_its_owners_alone(self, make: Make, home: Path) -> None:
        """Nobody else reads the data or talks to the server."""
        with make() as server:
            assert ["700", "700", "700"] == [mode(path) for path in (home, home / "data", server.socket)]
            assert "600" == mode(home / "redis.log")

    def test_ctrl_c_does_not_reach_it(self, make: Make) -> None:
        """It leads a session of its own, so that the terminal's signals go to its owner."""
        with make() as server:
            assert server.pid is not None
            assert server.pid == os.getsid(server.pid)

    def test_it_is_given_no_secrets(self, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        """The server's environment holds none of pombo's settings."""
        monkeypatch.setenv("POMBO_SECRET_KEY", "s3cret")
        with make() as server:
            assert b"s3cret" not in Path(f"/proc/{server.pid}/environ").read_bytes()

    def test_a_path_may_hold_any_character(self, make: Make, home: Path) -> None:
        """Spaces, percent signs and accents in a home are nothing special."""
        with make(home.with_name("a b%41'é")) as server:
            set_answer(server)
            assert b"42" == answer(server)

    def test_the_log_is_set_aside_when_it_is_large(self, make: Make, home: Path) -> None:
        """A home in use for years does not fill its disk with the log."""
        home.mkdir(mode=0o700)
        with (home / "redis.log").open("wb") as file:
            file.truncate(10_000_001)

        make().start()

        assert 10_000_001 == (home / "redis.log.1").stat().st_size
        assert (home / "redis.log").stat().st_size < 100_000


class TestStopping:
    def test_it_ends_and_leaves_its_data_alone(self, make: Make, home: Path) -> None:
        """After the stop there is no process and no socket, and the next start has the data."""
        with make() as server:
            set_answer(server)
            pid = server.pid
        assert pid is not None
        assert not exists(pid)
        assert [] == [name for name in ("redis.sock", "redis.pid") if (home / name).exists()]

        with make() as server:
            assert b"42" == answer(server)

    def test_one_that_does_not_react_is_killed(self, make: Make) -> None:
        """A stop is bounded, whatever the server is doing."""
        server = make(stop_timeout_s=0.05)
        server.start()
        pid = server.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)

        server.stop()

        assert not exists(pid)

    def test_stopping_twice_is_harmless(self, make: Make) -> None:
        """The second call finds nothing to do, and a late watcher starts nothing."""
        server = make()
        server.start()
        server.stop()

        server.stop()

        assert server.ensure_running() is False
        assert server.pid is None


class TestDying:
    def test_a_killed_server_is_started_again_with_what_it_acknowledged(self, make: Make) -> None:
        """A kill -9 of the server costs a moment and no data, at the same address."""
        with make() as server:
            set_answer(server)
            url, pid = server.url, server.pid
            kill(pid)

            assert server.ensure_running() is True

            assert (url, 1, b"42") == (server.url, server.restarts, answer(server))
            assert pid != server.pid

    def test_a_living_server_is_left_alone(self, make: Make) -> None:
        """The watcher may look as often as it likes."""
        with make() as server:
            pid = server.pid

            assert server.ensure_running() is False

            assert (pid, 0) == (server.pid, server.restarts)

    def test_a_start_that_fails_is_tried_again(self, make: Make, home: Path, binary: Path) -> None:
        """An error of one look does not keep the next from succeeding."""
        program = home.with_name("program")
        program.symlink_to(binary)
        with make(server_bin=program) as server:
            set_answer(server)
            kill(server.pid)
            program.unlink()
            with pytest.raises(ConfigurationError, match="cannot be run"):
                server.ensure_running()
            program.symlink_to(binary)

            assert server.ensure_running() is True

            assert b"42" == answer(server)


class TestOrphans:
    def test_an_orphan_is_adopted(self, orphan: int, home: Path, make: Make) -> None:
        """A server whose owner was killed serves on under the next one, and its users notice nothing."""
        with connect(f"unix://{home}/redis.sock") as user:
            user.ping()

            with make() as server:
                assert (orphan, True) == (server.pid, server.adopted)
                assert b"42" == user.get("answer")
                assert server.ensure_running() is False

        assert not exists(orphan)

    def test_an_adopted_server_is_started_again_when_it_dies(self, orphan: int, make: Make) -> None:
        """Adoption takes over the watch as well."""
        with make() as server:
            kill(orphan)

            until(server.ensure_running, "running server")

            assert (b"42", False) == (answer(server), server.adopted)

    def test_an_orphan_of_another_version_is_replaced(self, orphan: int, home: Path, make: Make, binary: Path) -> None:
        """After an upgrade the old server ends by itself before the new one opens its data."""
        newer = script(home.with_name("newer"), "Valkey server v=99.0.0", f'exec "{binary}" "$@"')

        with make(server_bin=newer) as server:
            assert (b"42", False) == (answer(server), server.adopted)
            assert not exists(orphan)

    def test_an_orphan_is_not_ended_for_a_program_that_could_not_follow(
        self, orphan: int, home: Path, make: Make
    ) -> None:
        """A refused downgrade leaves the running server to its users."""
        (home / "server.json").write_text('{"product": "valkey", "version": "99.0.0"}')

        with pytest.raises(ConfigurationError, match="cannot read"):
            make().start()

        assert exists(orphan)

    @pytest.mark.parametrize("pid_file", ["", "rubbish", "-1", "1", "999999999"])
    def test_a_corrupt_pid_file_changes_nothing(self, orphan: int, home: Path, make: Make, pid_file: str) -> None:
        """Whether a server lives is told by its lock, and who it is by its own answer."""
        (home / "redis.pid").write_text(pid_file)

        with make() as server:
            assert (orphan, b"42") == (server.pid, answer(server))

    def test_one_that_cannot_be_reached_is_named(self, orphan: int, home: Path, make: Make) -> None:
        """No second server opens the data while the first holds it, reachable or not."""
        (home / "redis.sock").unlink()

        with pytest.raises(EmbeddedServerError, match=f"pid {orphan}") as error:
            make(start_timeout_s=0.05).start()

        assert str(home / "data") in in_one_line(error)
        assert exists(orphan)

    def test_what_a_killed_pair_leaves_behind_is_cleared(self, orphan: int, home: Path, make: Make) -> None:
        """When owner and server were both killed, their socket and pid file are in nobody's way."""
        kill(orphan)
        left = {"lock", "redis.pid", "redis.sock"}
        assert left == left & {path.name for path in home.iterdir()}

        with make() as server:
            assert (b"42", False) == (answer(server), server.adopted)


class TestHome:
    def test_a_home_in_use_names_who_uses_it(self, make: Make, home: Path) -> None:
        """A second start says which process to stop, or what else to do."""
        with make() as server:
            set_answer(server)

            with pytest.raises(ConfigurationError, match=f"pid {os.getpid()}") as error:
                make().start()

            assert f"POMBO_HOME {home}" in in_one_line(error)
            assert b"42" == answer(server)

    def test_a_failed_start_gives_the_home_back(self, make: Make, home: Path) -> None:
        """An error blocks nothing but the start that met it."""
        with pytest.raises(ConfigurationError, match="cannot be run"):
            make(server_bin=home.with_name("none")).start()

        with make() as server:
            set_answer(server)

    def test_a_long_path_has_its_socket_elsewhere(self, make: Make, home: Path) -> None:
        """A socket's path is limited, a home's is not: the home says where the socket is."""
        deep = home / ("d" * 60) / ("e" * 60)
        settings = Settings(home=deep, redis_url=None)
        with make(deep) as server:
            set_answer(server)
            path = server.socket
            assert len(os.fsencode(path)) <= SOCKET_PATH_LIMIT
            assert (server.url, "700") == (redis_url(settings), mode(path.parent))

        assert not path.parent.exists()
        with make(deep) as server:
            assert (path, b"42") == (server.socket, answer(server))

    def test_the_other_place_stays_when_tmpdir_changes(self, make: Make, home: Path) -> None:
        """Who knew the socket finds the next server there, wherever a new home would have it."""
        deep = home / ("d" * 120)
        deep.mkdir(mode=0o700, parents=True)
        written = home / make(deep).socket.parent.name / "redis.sock"
        (deep / SOCKET_POINTER).write_text(f"{written}\n")

        with make(deep) as server:
            set_answer(server)
            assert written == server.socket

    def test_a_stranger_in_the_other_place_is_refused(self, make: Make, home: Path) -> None:
        """A folder that others may enter is not trusted with the socket."""
        deep = home / ("d" * 120)
        server = make(deep)
        server.socket.parent.mkdir(mode=0o755)
        (server.socket.parent / "file").touch()
        try:
            with pytest.raises(ConfigurationError, match="not a private folder"):
                server.start()
        finally:
            shutil.rmtree(server.socket.parent)

    def test_a_stale_pointer_is_removed(self, make: Make, home: Path) -> None:
        """A pointer from a home's longer days would send everybody astray."""
        home.mkdir(mode=0o700)
        (home / SOCKET_POINTER).write_text("/nowhere/redis.sock\n")

        with make() as server:
            assert server.url == redis_url(Settings(home=home, redis_url=None))

    def test_an_empty_folder_is_closed_to_others(self, make: Make, home: Path) -> None:
        """A folder made by hand, or a mounted volume, becomes private."""
        home.mkdir(mode=0o755)
        (home / "lost+found").mkdir()

        make().start()

        assert "700" == mode(home)

    def test_an_open_folder_of_something_else_is_refused(self, make: Make, home: Path) -> None:
        """POMBO_HOME=/tmp must not lock everybody else out of /tmp."""
        home.mkdir()
        home.chmod(0o755)
        (home / "file").touch()

        with pytest.raises(ConfigurationError, match="holds other files") as error:
            make().start()

        assert "755" in in_one_line(error)
        assert "755" == mode(home)

    def test_a_home_that_cannot_be_made_is_one_line(self, make: Make, home: Path) -> None:
        """A file where the folder should be is named, not traced back."""
        home.touch()

        with pytest.raises(ConfigurationError, match=f"POMBO_HOME {home}/below cannot be used") as error:
            make(home / "below").start()

        in_one_line(error)

    def test_a_home_that_cannot_be_written_is_one_line(self, make: Make) -> None:
        """A read-only disk is said to be one; /proc plays it, as root may write everywhere else."""
        with pytest.raises(ConfigurationError, match="POMBO_HOME /proc/pombo cannot be used") as error:
            make(Path("/proc/pombo")).start()

        in_one_line(error)


class TestStarting:
    def test_a_torn_end_of_the_file_is_dropped(self, make: Make, home: Path) -> None:
        """A write cut by a power failure was never acknowledged, and hinders no start."""
        with make() as server:
            set_answer(server)
        [file] = (home / "data/appendonlydir").glob("*.incr.aof")
        file.write_bytes(file.read_bytes() + b"*3\r\n$3\r\nSET\r\n$6\r\nans")

        with make() as server:
            assert b"42" == answer(server)

    def test_a_corrupt_file_is_named_with_the_way_to_repair_it(self, make: Make, home: Path) -> None:
        """The error has the server's own words and a command that exists."""
        with make() as server:
            set_answer(server)
        [file] = (home / "data/appendonlydir").glob("*.incr.aof")
        file.write_bytes(b"rubbish" + file.read_bytes())

        with pytest.raises(EmbeddedServerError, match="ended while starting") as error:
            make().start()

        text = in_one_line(error)
        named = [part for part in (file.name, "redis.log", "check-aof", str(home / "data")) if part in text]
        assert [file.name, "redis.log", "check-aof", str(home / "data")] == named

    def test_a_server_that_gives_no_sign_of_life_is_given_up(self, make: Make, home: Path) -> None:
        """A start is bounded, and leaves no process behind."""
        home.mkdir(mode=0o700)
        silent = script(home / "silent", "Valkey server v=99.0.0", "exec sleep 600")

        with pytest.raises(EmbeddedServerError, match=r"no sign of life for 0\.05 s"):
            make(server_bin=silent, start_timeout_s=0.05).start()

        assert not ServerHome(home).server_lives()

    def test_a_refused_option_is_shown(self, make: Make, home: Path) -> None:
        """What the program prints before it has a log reaches the error too."""
        home.mkdir(mode=0o700)
        refusing = script(home / "refusing", "Valkey server v=99.0.0", "echo unknown option >&2; exit 1")

        with pytest.raises(EmbeddedServerError, match="unknown option"):
            make(server_bin=refusing).start()

    def test_an_older_program_is_refused(self, make: Make, home: Path) -> None:
        """A server that cannot read the data is not even started on it."""
        with make() as server:
            used = server.program.version
        older = script(home / "older", f"{used.product.capitalize()} server v=7.2.0", "exit 1")
        (home / "server.json").write_text(json.dumps({"product": used.product, "version": "99.1.2"}))

        with pytest.raises(ConfigurationError, match=r"7\.2\.0 .* cannot read .* 99\.1\.2 wrote") as error:
            make(server_bin=older).start()

        assert "POMBO_SERVER_BIN" in in_one_line(error)

    def test_the_version_is_recorded(self, make: Make, home: Path) -> None:
        """The home knows who wrote its data last."""
        with make() as server:
            version = server.program.version
            expected = {"product": version.product, "version": version.text}
            assert expected == json.loads((home / "server.json").read_text())

    @pytest.mark.parametrize("record", ["", "[]", "{}", '{"product": "x", "version": 1}', "\x00"])
    def test_a_damaged_record_does_not_block(self, make: Make, home: Path, record: str) -> None:
        """The record is a courtesy: the server itself refuses what it cannot read."""
        home.mkdir(mode=0o700)
        (home / "server.json").write_text(record)

        make().start()

        assert "version" in json.loads((home / "server.json").read_text())


class TestProgram:
    @pytest.mark.parametrize(
        ("reader", "writer", "expected"),
        [
            (("valkey", 9, 1, 2), ("valkey", 9, 1, 2), True),
            (("valkey", 9, 1, 0), ("valkey", 9, 1, 2), True),
            (("valkey", 9, 2, 0), ("valkey", 9, 1, 2), True),
            (("valkey", 9, 0, 9), ("valkey", 9, 1, 2), False),
            (("valkey", 9, 1, 2), ("valkey", 10, 0, 0), False),
            (("valkey", 7, 2, 0), ("redis", 7, 2, 5), True),
            (("valkey", 9, 1, 2), ("redis", 7, 0, 15), True),
            (("valkey", 9, 1, 2), ("redis", 7, 4, 0), False),
            (("redis", 7, 0, 15), ("valkey", 9, 1, 2), False),
            (("redis", 8, 0, 0), ("valkey", 7, 2, 0), False),
            (("redis", 7, 0, 15), ("redis", 7, 2, 0), False),
            (("redis", 8, 0, 0), ("redis", 7, 4, 0), True),
        ],
    )
    def test_who_reads_whom(self, reader: tuple[str, int], writer: tuple[str, int], expected: bool) -> None:
        """Files are read by the same product of no older release, and Redis' up to 7.2 by Valkey too."""
        made = [ServerVersion(product, tuple(number)) for product, *number in (reader, writer)]  # type: ignore[arg-type]

        assert expected == made[0].reads(made[1])

    def test_the_setting_comes_first(self, tmp_path: Path) -> None:
        """POMBO_SERVER_BIN beats the bundled program."""
        program = script(tmp_path / "mine", "Redis server v=7.4.1 sha=0:0", "exit 1")

        assert (program, "Redis 7.4.1") == (find_program(program).path, str(find_program(program).version))

    def test_the_bundled_program_comes_second(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """What pombo[embedded] brought beats what happens to be installed."""
        bundled = script(tmp_path / "bundled", "Valkey server v=9.1.2", "exit 1")
        script(tmp_path / "valkey-server", "Valkey server v=8.0.0", "exit 1")
        monkeypatch.setenv("PATH", str(tmp_path))

        assert bundled == find_program(bundled=lambda: bundled).path

    @pytest.mark.parametrize("names", [["valkey-server", "redis-server"], ["redis-server"]])
    def test_the_path_comes_third(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[str]) -> None:
        """Of the installed servers Valkey is taken first; links keep their names, which tell what to be."""
        real = script(tmp_path / "multi-call", "Valkey server v=8.0.0", "exit 1")
        for name in names:
            (tmp_path / name).symlink_to(real)
        monkeypatch.setenv("PATH", str(tmp_path))

        assert tmp_path / names[0] == find_program(bundled=lambda: None).path

    def test_none_at_all_says_what_to_install(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The message is a command to type."""
        monkeypatch.setenv("PATH", str(tmp_path))

        with pytest.raises(ConfigurationError, match=r"pip install 'pombo\[embedded\]'"):
            find_program(bundled=lambda: None)

    @pytest.mark.parametrize("version", ["Redis server v=6.2.14", "Valkey server v=7.1.9"])
    def test_one_that_is_too_old_is_refused(self, tmp_path: Path, version: str) -> None:
        """The scripts need what came with Redis 7.0 and Valkey 7.2."""
        with pytest.raises(ConfigurationError, match=r"too old; .*pombo\[embedded\]"):
            find_program(script(tmp_path / "old", version, "exit 1"))

    def test_something_else_is_refused(self, tmp_path: Path) -> None:
        """A wrong POMBO_SERVER_BIN is found before it is given the data."""
        with pytest.raises(ConfigurationError, match="neither a Redis nor a Valkey"):
            find_program(script(tmp_path / "editor", "Vim 9.1", "exit 1"))
