"""Ends and splits of real processes."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis

from producer.proxy import Proxy
from producer.rig import add_source, ids, stored

Run = Callable[..., "subprocess.CompletedProcess[str]"]
THOUSAND = [f"m{number}" for number in range(1000)]
TRACK = """
from pombo.producer import Producer
producer = Producer("bot")
for number in range(1000):
    producer.track("u1", "A", message_id=f"m{number}")
"""
LOOP_IN_A_THREAD = """
import asyncio, threading
from pombo.producer import AsyncProducer
producer = AsyncProducer("bot", linger_s=60.0)
loop = asyncio.new_event_loop()
threading.Thread(target=loop.run_forever, daemon=True).start()
asyncio.run_coroutine_threadsafe(producer.track("u1", "A", message_id="m0"), loop)
asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result()
"""
SPOOLING = """
import os, threading, time
from pathlib import Path
os.environ["POMBO_SPOOL_DIR"] = {folder!r}
from pombo.producer import Producer
from pombo.producer.spool import read_spool, spool_path
path = spool_path(Path({folder!r}), "pombo")
producer = Producer("bot", budget_s=4.0)
"""
SPOOL_THOUSAND = """
for number in range(1000):
    producer.track("u1", "A", message_id=f"m{number}")
"""
AWAIT_EMPTY = """
ends = time.monotonic() + 50
while read_spool(path) and time.monotonic() < ends:
    time.sleep(0.01)
assert not read_spool(path)
"""
SPOOL_AND_FORK = """
producer.track("u1", "A", message_id="first").result(30)
def work(name, number):
    for at in range(number):
        receipt = producer.track(name, "A", message_id=f"{name}-{at}")
        if at % 5 == 0:
            assert type(receipt.result(30)).__name__ == "Spooled"
threads = [threading.Thread(target=work, args=(f"t{at}", 300)) for at in range(3)]
for thread in threads:
    thread.start()
children = []
for number in range(6):
    child = os.fork()
    if child == 0:
        work(f"c{number}", 20)
        os._exit(0 if producer.flush(30) else 1)
    children.append(child)
for child in children:
    assert os.waitpid(child, 0)[1] == 0
for thread in threads:
    thread.join()
"""

unix = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


@pytest.fixture
def run(redis_url: str, tmp_path: Path) -> Run:
    """Run a script in a process of its own."""

    def start(script: str, url: str = redis_url) -> "subprocess.CompletedProcess[str]":
        path = tmp_path / "bot.py"
        path.write_text(textwrap.dedent(script), "utf-8")
        environment = {"POMBO_REDIS_URL": url, "PYTHONWARNINGS": "error", "PATH": ""}
        return subprocess.run(
            [sys.executable, str(path)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return start


@pytest.mark.parametrize(
    ("ending", "code"),
    [("", 0), ("import sys; sys.exit(3)", 3), ("raise ZeroDivisionError", 1)],
    ids=["end", "sys.exit", "exception"],
)
def test_exit_sends_what_is_left(run: Run, redis: Redis, ending: str, code: int) -> None:
    """A process that ends without flushing delivers 1,000 of 1,000 events, in order."""
    done = run(TRACK + ending)
    assert code == done.returncode, done.stderr
    assert THOUSAND == ids(stored(redis))


def test_threads_and_exit_handlers(run: Run, redis: Redis) -> None:
    """Events of threads that outlive the main one, and of the bot's exit handlers, are delivered."""
    done = run("""
        import atexit, threading
        from pombo.producer import Producer
        producer = Producer("bot")
        atexit.register(producer.track, "u1", "A", message_id="handler")
        threading.Timer(0.05, producer.track, ("u1", "A"), {"message_id": "thread"}).start()
    """)
    assert ("", 0) == (done.stderr, done.returncode)
    assert ["thread", "handler"] == ids(stored(redis))


def test_first_event_at_exit(run: Run, redis: Redis) -> None:
    """A first event that comes in an exit handler, when no thread can start any more, is delivered."""
    done = run("""
        import atexit
        from pombo.producer import Producer
        atexit.register(Producer("bot").track, "u1", "A", message_id="m1")
    """)
    assert ("", 0) == (done.stderr, done.returncode)
    assert ["m1"] == ids(stored(redis))


def test_exit_without_redis(run: Run, redis_url: str) -> None:
    """Without Redis a process still ends, within the budget, and rejects what was left."""
    with Proxy(redis_url, listening=False) as proxy:
        done = run(
            """
            from pombo.producer import Producer
            def show(rejected, event):
                print(rejected.reason)
            producer = Producer("bot", budget_s=0.1, on_rejected=show)
            producer.track("u1", "A")
            """,
            proxy.url,
        )
    assert ("unavailable\n", 0) == (done.stdout, done.returncode)
    (line,) = done.stderr.splitlines()  # Though this bot has configured no logging.
    assert "of source bot rejected: unavailable: " in line


def test_exit_without_redis_but_with_a_spool(run: Run, redis_url: str, tmp_path: Path) -> None:
    """A process that ends while Redis is away leaves its events on the disk; the next one brings them to Redis."""
    with Proxy(redis_url, listening=False) as proxy:
        done = run(SPOOLING.format(folder=str(tmp_path / "spool")) + SPOOL_THOUSAND, proxy.url)
        (line,) = done.stderr.splitlines()
        assert line.startswith("events of source bot are spooled to ")
        assert 0 == done.returncode
        with Redis.from_url(redis_url) as redis:
            add_source(redis)
            proxy.listen()
            done = run(SPOOLING.format(folder=str(tmp_path / "spool")) + AWAIT_EMPTY, proxy.url)
            assert ("", 0) == (done.stderr, done.returncode)
            assert THOUSAND == ids(stored(redis))


@unix
def test_exit_with_a_loop_in_a_thread(run: Run, sync_redis: Redis) -> None:
    """A loop that still runs in a thread of its own sends what it has before the interpreter ends."""
    add_source(sync_redis)
    done = run(LOOP_IN_A_THREAD)
    assert ("", 0) == (done.stderr, done.returncode)
    assert ["m0"] == ids(stored(sync_redis))


def test_fork_of_a_spooling_process(run: Run, redis_url: str, tmp_path: Path) -> None:
    """Forks in the midst of commits neither hang a child nor lose, repeat or reorder an event of either side."""
    with Proxy(redis_url, listening=False) as proxy:
        done = run(SPOOLING.format(folder=str(tmp_path / "spool")) + SPOOL_AND_FORK, proxy.url)
        assert {"events of source bot are spooled to"} == {line.partition(" /")[0] for line in done.stderr.splitlines()}
        assert 0 == done.returncode
        with Redis.from_url(redis_url) as redis:
            add_source(redis)
            proxy.listen()
            done = run(SPOOLING.format(folder=str(tmp_path / "spool")) + AWAIT_EMPTY, proxy.url)
            assert ("", 0) == (done.stderr, done.returncode)
            found = ids(stored(redis))
    assert len(set(found)) == len(found)
    for name in [f"t{thread}" for thread in range(3)] + [f"c{child}" for child in range(6)]:
        mine = [int(one.split("-")[1]) for one in found if one.startswith(f"{name}-")]
        assert list(range(300 if name[0] == "t" else 20)) == mine


@unix
def test_fork(run: Run, redis: Redis) -> None:
    """A forked child delivers its own events; the parent's pending ones go out once, from the parent."""
    done = run("""
        import os
        from pombo.producer import Producer
        producer = Producer("bot", linger_s=60.0, budget_s=60.0)
        before = producer.track("u1", "A", message_id="parent")
        child = os.fork()
        if child == 0:
            print(before.outcome.reason)
            producer.track("u2", "A", message_id="child").wait(0)
        else:
            assert os.waitpid(child, 0)[1] == 0
            producer.flush(10)
            print(type(before.outcome).__name__)
    """)
    assert ("", 0) == (done.stderr, done.returncode)
    assert "unconfirmed\nAccepted\n" == done.stdout
    assert ["child", "parent"] == sorted(ids(stored(redis)))


@unix
def test_fork_of_a_busy_process(run: Run, redis: Redis) -> None:
    """Forks in the midst of traffic from many threads neither hang a child nor lose or repeat an event."""
    done = run("""
        import os, threading
        from pombo.producer import Producer
        producer = Producer("bot", budget_s=30.0, buffer_events=100_000)
        def work(thread):
            for number in range(400):
                producer.track(f"u{thread}", "A", message_id=f"{thread}-{number}")
        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        children = []
        for number in range(5):
            child = os.fork()
            if child == 0:
                receipt = producer.track("child", "A", message_id=f"child-{number}")
                producer.flush(20)
                os._exit(0 if type(receipt.outcome).__name__ == "Accepted" else 1)
            children.append(child)
        for child in children:
            assert os.waitpid(child, 0)[1] == 0
        for thread in threads:
            thread.join()
    """)
    assert ("", 0) == (done.stderr, done.returncode)
    expected = [f"{thread}-{number}" for thread in range(4) for number in range(400)]
    assert sorted(expected + [f"child-{number}" for number in range(5)]) == sorted(ids(stored(redis)))


@unix
def test_grandchild(run: Run, redis: Redis) -> None:
    """A child that closed the producer stays closed in its own child; an open one stays open."""
    done = run("""
        import os
        from pombo.producer import Producer
        open_one, closed_one = Producer("bot"), Producer("bot")
        closed_one.close()
        child = os.fork()
        if child == 0:
            print(type(open_one.track("u1", "A").result(10)).__name__)
            print(closed_one.track("u1", "A").outcome.reason)
        else:
            assert os.waitpid(child, 0)[1] == 0
    """)
    assert "Accepted\nclosed\n" == done.stdout
    (line,) = done.stderr.splitlines()
    assert "of source bot rejected: closed: " in line


@pytest.mark.parametrize("method", [pytest.param("fork", marks=unix), "spawn"])
def test_multiprocessing(run: Run, redis: Redis, method: str) -> None:
    """Workers of multiprocessing, which run no exit handlers, deliver what they tracked."""
    done = run(f"""
        import multiprocessing
        from pombo.producer import Producer
        producer = Producer("bot")
        def work(worker):
            for number in range(100):
                producer.track(f"u{{worker}}", "A", message_id=f"{{worker}}-{{number}}")
        if __name__ == "__main__":
            context = multiprocessing.get_context("{method}")
            workers = [context.Process(target=work, args=(number,)) for number in range(2)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
                assert worker.exitcode == 0
    """)
    assert ("", 0) == (done.stderr, done.returncode)
    expected = [f"{worker}-{number}" for worker in range(2) for number in range(100)]
    assert sorted(expected) == sorted(ids(stored(redis)))


def test_signal_handler(run: Run, redis: Redis) -> None:
    """A signal handler may track while its thread is inside the producer."""
    done = run("""
        import signal, os
        from pombo.producer import Producer
        producer = Producer("bot", buffer_events=100_000)
        tracked = []
        signal.signal(signal.SIGALRM, lambda *_: tracked.append(producer.track("u1", "S")))
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        while len(tracked) < 200:
            producer.track("u1", "A")
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert producer.flush(20)
        assert {type(receipt.outcome).__name__ for receipt in tracked} == {"Accepted"}
    """)
    assert ("", 0) == (done.stderr, done.returncode)


def test_async_producer_says_what_it_loses(run: Run, redis: Redis) -> None:
    """An AsyncProducer that is not closed logs at exit how many events its loop left behind."""
    done = run("""
        import asyncio, logging, warnings
        from pombo.producer import AsyncProducer
        logging.basicConfig()
        producer = AsyncProducer("bot", linger_s=60.0, budget_s=60.0)
        loop = asyncio.new_event_loop()
        task = loop.create_task(producer.track("u1", "A"))
        loop.call_later(0.05, loop.stop)
        loop.run_forever()
        warnings.simplefilter("ignore")  # An abandoned loop has complaints of its own.
    """)
    assert 0 == done.returncode
    assert "exit before 1 events" in done.stderr


def test_import_brings_what_connecting_loads(run: Run) -> None:
    """A first look for a host loads a codec; loaded amid a fork, its module would stay locked in the child for good."""
    done = run("""
        import sys
        import pombo.producer
        print("encodings.idna" in sys.modules)
    """)
    assert ("True\n", "") == (done.stdout, done.stderr)


def test_import_is_light(run: Run) -> None:
    """Importing the producer loads nothing beyond its base dependencies and the standard library."""
    done = run("""
        import sys
        import orjson, pydantic, pydantic_settings, redis, zstandard
        before = set(sys.modules)
        import pombo.producer
        loaded = {name.partition(".")[0] for name in set(sys.modules) - before}
        of_base = {"_cffi_backend", "orjson", "pydantic", "redis", "zstandard"}
        print(sorted(loaded - of_base - {"pombo"} - set(sys.stdlib_module_names)))
    """)
    assert "[]\n" == done.stdout
