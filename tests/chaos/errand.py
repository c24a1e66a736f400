"""One step of a process on its way to the outside, what befalls it there, and what the process hears of it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from redis.exceptions import ConnectionError, TimeoutError

from chaos.weather import Blow, Fate, Step

if TYPE_CHECKING:
    from chaos.world import Process

_OF_NETWORKS: Final = frozenset({Blow.LOST_REPLY, Blow.LATE_REPLY, Blow.LATE})
"""Blows that no disk has in store."""


class UnsentError(ConnectionError):
    """The command certainly did not reach anybody."""


class Effect(NamedTuple):
    """What a step did out there."""

    process: "Process"
    kind: str
    name: str
    command: Sequence[Any]
    reply: Any
    """None also when it failed."""

    @property
    def keys(self) -> Sequence[Any]:
        """The KEYS of a script's call."""
        return self.command[3 : 3 + int(self.command[2])]

    @property
    def arguments(self) -> Sequence[Any]:
        """The ARGV of a script's call."""
        return self.command[3 + int(self.command[2]) :]


class Errand:
    """One step on its way."""

    def __init__(self, process: "Process", kind: str, name: str, effect: Callable[[], Any], patience_s: float) -> None:
        self._process, self._world, self._kind = process, process.world, kind
        self._name, self._effect, self._patience_s = name, effect, patience_s
        self._command: Sequence[Any] = ()
        self._future = process.loop.create_future()

    async def run(self, note: str, command: Sequence[Any]) -> Any:
        process, world = self._process, self._world
        fate = Fate() if process.shielded else self._fate(world.next_step(process, self._kind, self._name))
        self._command, self._line = command, world.note(process.name, f"{self._kind} {self._name}", note)
        self._go(fate)
        return await self._future

    def _fate(self, step: Step) -> Fate:
        world = self._world
        fate = world.weather.fate(step)
        if fate.blow is None and self._kind == "redis" and world.refusing:
            return Fate(blow=Blow.NOT_SENT)
        return replace(fate, blow=None) if self._kind == "disk" and fate.blow in _OF_NETWORKS else fate

    def _go(self, fate: Fate) -> None:
        process, world = self._process, self._world
        there = fate.there_s
        world.later(self._patience_s, self._give_up)
        match fate.blow:
            case Blow.NOT_SENT:
                self._told("not sent")
                world.later(there, lambda: self._fail(UnsentError("connection refused")))
                return
            case Blow.DIED_BEFORE:
                process.kill()
                return
            case Blow.FROZEN:
                process.freeze(fate.frozen_s)
                there += fate.frozen_s
            case Blow.OVERTAKEN:
                process.freeze(fate.frozen_s)
                self._told(fate.blow.value)
                world.overtaken[process.name] = lambda: self._thaw(fate)
                world.later(fate.frozen_s, lambda: world.thaw(process.name))
                return
            case Blow.LATE:
                there += self._patience_s * 1.5
        if fate.blow is not None:
            self._told(fate.blow.value)
        world.later(there, lambda: self._arrive(fate))

    def _thaw(self, fate: Fate) -> None:
        self._process.frozen_until = self._world.now
        self._arrive(fate)

    def _arrive(self, fate: Fate) -> None:
        world = self._world
        if not self._process.lives and (self._kind == "disk" or fate.blow in {Blow.FROZEN, Blow.OVERTAKEN}):
            return  # It died before it could go on; what is in a network goes on without it.
        if world.stalls(self._process, self._kind):
            world.later(0.2, lambda: self._arrive(fate))
            return
        try:
            result, error = self._effect(), None
        except Exception as raised:
            result, error = None, raised
        world.happened(Effect(self._process, self._kind, self._name, self._command, result))
        self._told(f"-> {_brief(result if error is None else error)}")
        match fate.blow:
            case Blow.DIED_AFTER:
                self._process.kill()
            case Blow.LOST_REPLY:
                world.later(fate.back_s, lambda: self._fail(ConnectionError("connection lost")))
            case Blow.LATE_REPLY:
                pass
            case Blow.FROZEN_AFTER:
                self._process.freeze(fate.frozen_s)
                world.later(fate.back_s, lambda: self._answer(result, error))
            case _:
                world.later(fate.back_s, lambda: self._answer(result, error))

    def _answer(self, result: Any, error: Exception | None) -> None:
        if error is not None:
            self._fail(error)
        else:
            self._finish(lambda: self._future.set_result(result))

    def _fail(self, error: Exception) -> None:
        self._finish(lambda: self._future.set_exception(error))

    def _give_up(self) -> None:
        if not self._future.done():
            self._fail(TimeoutError("no answer in time"))

    def _finish(self, settle: Callable[[], None]) -> None:
        """What the process hears, it hears when it runs."""
        if not self._process.lives:
            return

        def hear() -> None:
            if not self._future.done():
                settle()

        self._process.loop.call_soon(hear)

    def _told(self, what: str) -> None:
        self._line.append(what)


def _brief(value: Any) -> str:
    text = f"{type(value).__name__}: {value}" if isinstance(value, Exception) else repr(value)
    return text if len(text) <= 100 else f"{text[:97]}…"
