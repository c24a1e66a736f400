import asyncio
import errno
import secrets
import signal
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pombo.ops.simulator import rows
from pombo.ops.simulator.clock import WitnessClock
from pombo.ops.simulator.edge import Edge
from pombo.ops.simulator.errors import SimulatorError
from pombo.ops.simulator.plan import load_plan, parse_plan
from pombo.ops.simulator.protocol import READ_BYTES, Connection
from pombo.ops.simulator.rows import EventRow, Payloads, RequestRow
from pombo.ops.simulator.steering import summary
from pombo.ops.simulator.switches import Switches
from pombo.shared.clock import Clock

LOCALHOST = "127.0.0.1"
DEFAULT_PORT = 8082


class Simulator:
    """Be Segment on a port of this machine, for as long as the context lasts.

    ```python
    async with Simulator(plan=[{"answer": {"status": 503}, "times": 2}]) as sim:
        ...  # POST to f"{sim.url}/v1/batch"
        assert [row["fate"] for row in sim.events()] == ["kept"]
    ```

    Port 0 takes a free one. `plan` is a list of rules as `plan.py` describes them. `seed` sets the dice of
    `share` and of the messageIds that Segment assigns; without one it is drawn, and is in `sim.seed` and
    the summary.

    Raises:
        PlanError: the plan cannot be obeyed.
        SimulatorError: on entering the context, when the address cannot be listened on.
    """

    def __init__(
        self,
        host: str = LOCALHOST,
        port: int = 0,
        *,
        plan: Iterable[Any] | None = None,
        switches: Switches | None = None,
        clock: Clock | None = None,
        seed: int | None = None,
    ) -> None:
        self.host = host
        self._wanted_port = port
        self.seed = secrets.randbelow(2**32) if seed is None else seed
        self._edge = Edge(switches or Switches(), clock or WitnessClock(), self.seed, _rules(plan))
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        try:
            self._server = await asyncio.start_server(self._connected, self.host, self._wanted_port, limit=READ_BYTES)
        except (OSError, OverflowError) as error:
            raise SimulatorError(_listening_problem(self.host, self._wanted_port, error)) from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is None:
            return
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None

    @property
    def port(self) -> int:
        """The port that it listens on."""
        if self._server is None:
            raise SimulatorError("the simulator is not running; enter it with `async with` first")
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """The host root, without a trailing slash; Segment's routes are below its `/v1`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    @property
    def switches(self) -> Switches:
        """The switches in force."""
        return self._edge.switches

    def events(
        self, *, key: str | None = None, user: str | None = None, since: int = 0, payload: bool = False
    ) -> list[EventRow]:
        """Return what arrived, in order; `since` asks for numbers above it."""
        show = Payloads(self._edge.switches).row if payload else rows.event_row
        return [show(arrival) for arrival in rows.select(self._edge.journal.arrivals, key=key, user=user, since=since)]

    def requests(self, *, ids: bool = False) -> list[RequestRow]:
        """Return every request in order; `ids` adds the messageIds that it brought."""
        return [rows.request_row(exchange, ids=ids) for exchange in self._edge.journal.exchanges]

    def summary(self) -> dict[str, Any]:
        """Count events by fate and requests by status."""
        return summary(self._edge)

    def set_plan(self, plan: Iterable[Any]) -> None:
        """Put a plan in the place of the one before; requests go on being counted.

        Raises:
            PlanError: it cannot be obeyed; the plan before stays.
        """
        self._edge.set_plan(_rules(plan))

    def set_switches(self, switches: Switches) -> None:
        """Put switches in the place of those before."""
        self._edge.set_switches(switches)

    def reset(self) -> None:
        """Forget requests, events, remembered ids and the plan; the switches stay."""
        self._edge.reset()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(Connection(reader, writer, self._edge).serve())
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)


async def serve(
    host: str = LOCALHOST,
    port: int = DEFAULT_PORT,
    plan_path: Path | None = None,
    *,
    switches: Switches | None = None,
    clock: Clock | None = None,
    seed: int | None = None,
    ready: Callable[[Simulator], None] = lambda _: None,
) -> None:
    """Run a simulator until cancelled; `ready` is called once it listens.

    Raises:
        PlanError: the plan's file cannot be read or obeyed.
        SimulatorError: the address cannot be listened on.
    """
    plan = load_plan(plan_path) if plan_path else ()
    async with Simulator(host, port, plan=plan, switches=switches, clock=clock, seed=seed) as simulator:
        ready(simulator)
        await asyncio.Event().wait()


def run(
    port: int = DEFAULT_PORT,
    plan_path: Path | None = None,
    host: str = LOCALHOST,
    *,
    switches: Switches | None = None,
    seed: int | None = None,
) -> None:
    """Run a simulator until SIGTERM or SIGINT: the body of `pombo simulator`.

    Prints one line with the URL to stdout once it listens, and the seed to stderr.

    Raises:
        PlanError: the plan's file cannot be read or obeyed.
        SimulatorError: the address cannot be listened on.
    """
    with suppress(KeyboardInterrupt):
        asyncio.run(_until_signal(host, port, plan_path, switches, seed))


async def _until_signal(
    host: str, port: int, plan_path: Path | None, switches: Switches | None, seed: int | None
) -> None:
    loop = asyncio.get_running_loop()
    serving = asyncio.ensure_future(serve(host, port, plan_path, switches=switches, seed=seed, ready=_announce))
    for number in (signal.SIGTERM, signal.SIGINT):
        with suppress(NotImplementedError):  # Windows: Ctrl-C arrives as KeyboardInterrupt.
            loop.add_signal_handler(number, serving.cancel)
    with suppress(asyncio.CancelledError):
        await serving


def _announce(simulator: Simulator) -> None:
    sys.stderr.write(f"simulator draws with seed {simulator.seed}\n")
    sys.stdout.write(f"simulator listens on {simulator.url}\n")
    sys.stdout.flush()


def _rules(plan: Iterable[Any] | None) -> tuple[Any, ...]:
    return parse_plan(plan) if isinstance(plan, str | dict) else parse_plan(list(plan or ()))


def _listening_problem(host: str, port: int, error: OSError | OverflowError) -> str:
    code = getattr(error, "errno", None)
    if code == errno.EADDRINUSE:
        return f"port {port} on {host} is in use; stop what holds it, or choose another (0 takes a free one)"
    if code == errno.EACCES:
        return f"port {port} on {host} may not be opened by this user; choose one above 1023"
    return f"cannot listen on {host}, port {port}: {error}; choose another host or port"
