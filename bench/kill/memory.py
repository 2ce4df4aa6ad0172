"""Samples the memory of a stack's processes while it works."""

import asyncio

from infra.local.control import memory
from infra.local.record import StackRecord

EVERY_S = 5.0


class Memory:
    """Peaks of the proportional set size: of all processes together at one moment, and of each."""

    def __init__(self, record: StackRecord) -> None:
        self._record = record
        self.peak_bytes = 0
        self.by_process: dict[str, int] = {}

    async def run(self) -> None:
        """Sample until cancelled."""
        while True:
            sample = await asyncio.to_thread(self._sample)
            self.peak_bytes = max(self.peak_bytes, sum(sample.values()))
            for name, size in sample.items():
                self.by_process[name] = max(size, self.by_process.get(name, 0))
            await asyncio.sleep(EVERY_S)

    def _sample(self) -> dict[str, int]:
        pids = {name: one.pid for name, one in list(self._record.processes.items()) if one.pid}
        return {name: size for name, pid in pids.items() if (size := memory(pid))}
