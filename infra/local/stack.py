"""A stack at work in this process: starts units as they are asked for, keeps them running, stops them in order.

    async with Stack.start(home, only={"kafka", "postgres"}) as stack:
        stack.environment["KAFKA_BOOTSTRAP_SERVERS"]

Used so, the servers end with this process. The detached supervisor (`infra.local.supervisor`) runs the same class and
leaves the servers running if it is killed.
"""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from infra.local import processes
from infra.local.artifacts import cache_folder
from infra.local.keeper import Keeper
from infra.local.program import Site
from infra.local.record import ProcessRecord, StackRecord, State
from infra.local.state import ADDRESSES, Home, Secrets, environment, outside
from infra.local.table import LLM, Unit, chosen, units
from infra.local.together import together

ROTATE_EVERY_S = 10
RETIRED_WITHIN_S = 5


class Stack:
    """The servers and processes of one state folder."""

    def __init__(
        self, home: Home, *, tied: bool, given: Mapping[str, str] | None = None, llm: str | None = None
    ) -> None:
        """Read what `home` holds. `tied` processes end with this one. Raises ValueError for an unreadable record.

        `llm` is the language model to run, empty for none; None keeps the one that `home` remembers.
        """
        home.create()
        secrets = Secrets.ensure(home)
        self.home = home
        self.record = StackRecord.read(home.record) or StackRecord()
        self.record.outside = outside(os.environ if given is None else given)
        self.record.llm = self.record.llm if llm is None else llm
        self.site = Site(home, secrets, self.record, cache_folder())
        self._tied = tied
        self._units = units(self.site)
        self._keepers: dict[str, Keeper] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    @classmethod
    @asynccontextmanager
    async def start(
        cls, home: Path | Home, only: set[str] | None = None, *, workers: bool = False, llm: str | None = None
    ) -> AsyncIterator["Stack"]:
        """Bring up what is asked for, as children of this process, and stop it at the end.

        `only` names units (see `infra.local.table`); an empty set starts nothing until `ensure` asks for it.
        Raises StartError, ArtifactError.
        """
        stack = cls(home if isinstance(home, Home) else Home.find(home), tied=True, llm=llm)
        try:
            await stack.bring_up(chosen(only, workers=workers))
            yield stack
        finally:
            await stack.shut_down()

    @property
    def environment(self) -> dict[str, str]:
        """Variables by which a client reaches what runs; the real environment wins."""
        return environment(self.home)

    def save(self) -> None:
        """Write the record."""
        self.record.write(self.home.record)

    async def bring_up(self, names: tuple[str, ...]) -> None:
        """Start `names` beside each other and return when each is ready. Raises the first StartError."""
        await self._retire_llm()
        self._settle_ports(names)
        await together(*(self.ensure(name) for name in names))

    async def _retire_llm(self) -> None:
        """End a language model that an earlier start ran and this one does not want, or has outside."""
        if self.record.llm and not self._is_outside(LLM):
            return
        self.record.ports.pop(LLM, None)
        if (record := self.record.processes.pop(LLM, None)) and (left := processes.adopt(record)):
            await processes.stop(left, signal.SIGTERM, RETIRED_WITHIN_S)

    def _settle_ports(self, names: tuple[str, ...]) -> None:
        """Forget remembered ports that a stranger has taken meanwhile, and choose those of all servers.

        Those of running processes stand. Chosen before anything starts: the gateway is told every server's address, and
        does not wait until each of them has been fetched.
        """
        for name in names:
            known = self.record.processes.get(name)
            if name not in self._keepers and (known is None or processes.adopt(known) is None):
                self.site.forget_taken_ports(self._units[name].ports)
            if name in ADDRESSES and not self._is_outside(name):
                for port in self._units[name].ports:
                    self.site.port(port)

    async def ensure(self, name: str) -> None:
        """Start `name`, and first what it needs, unless that has happened; return when it is ready.

        Raises StartError, KeyError for an unknown name.
        """
        if self._is_outside(name):
            self.record.processes[name] = ProcessRecord(name, State.OUTSIDE, since=time.time())
            self.save()
            return
        if name not in self._keepers:
            self._keep(self._units[name])
        await asyncio.shield(self._keepers[name].ready)

    def _is_outside(self, name: str) -> bool:
        return name in ADDRESSES and ADDRESSES[name][0] in self.record.outside

    def _keep(self, unit: Unit) -> None:
        record = self.record.processes.setdefault(unit.name, ProcessRecord(unit.name))
        record.state, record.detail, record.since, record.restarts = State.WAITING, "", time.time(), 0
        keeper = Keeper(unit, record, self.home.log(unit.name), self.save, tied=self._tied)
        self._keepers[unit.name] = keeper
        self._tasks[unit.name] = asyncio.create_task(self._run(keeper), name=unit.name)

    async def _run(self, keeper: Keeper) -> None:
        try:
            await together(*(self.ensure(need) for need in keeper.unit.needs))
        except Exception as fault:  # noqa: BLE001 - handed to whoever waits for this unit
            keeper.record.state, keeper.record.detail = State.FAILED, f"what it needs failed: {fault}"
            keeper.ready.set_exception(fault)
            return
        await keeper.run()

    async def rotate_logs(self) -> None:
        """Keep log files short, until cancelled."""
        while True:
            for name in list(self._keepers):
                await asyncio.to_thread(processes.rotate, self.home.log(name))
            await asyncio.sleep(ROTATE_EVERY_S)

    async def release(self) -> None:
        """Stop watching and leave everything running, for another supervisor to adopt."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()

    async def shut_down(self) -> None:
        """Stop everything in order: those with the lowest `stops` first, those with the same one together."""
        await self.release()
        keepers = list(self._keepers.values())
        for number in sorted({keeper.unit.stops for keeper in keepers}):
            now = [keeper for keeper in keepers if keeper.unit.stops == number]
            await asyncio.gather(*(keeper.stop() for keeper in now))
        self._keepers.clear()
        self.record.state = State.STOPPED
        self.save()
