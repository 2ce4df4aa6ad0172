"""Measures the memory of a worker that finds a backlog, against its own idle figure.

    python -m bench.backlog --events 1000000 --workers ledger,normalizer

Starts Kafka and Postgres in a folder of its own. For each worker, as a real process (`python -m workers.host NAME`):
idle memory with empty topics, and again after some hundreds of events. Then the events are published, and each worker
starts on the backlog: it works at its own speed for a while, then its database is frozen (SIGSTOP) until every
partition that can fill up has done so, then it goes on. Sampled five times a second.

The idle figure is the proportional set size (PSS) of the process and its children. The peak is that figure plus what
the process has grown by: private pages, and shared ones counted whole. PSS alone would tell of other processes too: its
share of the libraries grows whenever a stranger that uses them ends, here by 10 MB and more.

The exit status is the verdict: 0 if no worker's peak is above `--limit` times its idle figure after warming up, and the
backlog was really there all the time; else 1.
"""

import argparse
import asyncio
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx
import orjson
import psutil
from prometheus_client.parser import text_string_to_metric_families

from bench.flood import Source, Template
from infra.kafka.lag import reach
from infra.local import processes
from infra.local.ports import choose
from infra.local.program import LOOPBACK, Program
from infra.local.stack import Stack
from infra.telemetry import logs
from topics.catalogue import RAW_EVENTS

WARM_UP = 600
SAMPLE_EVERY_S = 0.2
READY_WITHIN_S, DRAINED_WITHIN_S = 60, 120
SETTLE_S = 8
"""An idle worker is looked at for so long; the last half counts."""
MB = 1e6


@dataclass(frozen=True, slots=True)
class Sample:
    """Memory of a process and its children at one moment, in bytes."""

    pss: int
    whole: int
    """Resident pages of the process, and private ones of its children: no stranger changes it."""


@dataclass
class Figures:
    """What one worker took. Bytes."""

    worker: str
    bare_idle: int = 0
    warm_idle: int = 0
    warm_whole: int = 0
    peaks: dict[str, int] = field(default_factory=dict)
    """By phase (at work, with its database frozen, afterwards): idle figure and growth."""
    pss_peak: int = 0
    """Highest proportional set size as it was read."""
    held: int = 0
    """Most records in hand at one look."""
    handled: int = 0
    """Records that the group has committed of the backlog."""
    waiting: int = 0
    """Records that were still waiting at the end."""
    paused: int = 0
    """Most partitions paused at one look."""

    @property
    def peak(self) -> int:
        """The highest of all phases."""
        return max(self.peaks.values())

    @property
    def ratio(self) -> float:
        """Peak against the idle figure after warming up."""
        return self.peak / self.warm_idle


@dataclass
class Host:
    """A worker process."""

    child: processes.Child
    port: int
    log: Path

    def memory(self) -> Sample:
        """Return what it takes now. Raises RuntimeError if it has ended."""
        if not self.child.lives():
            raise RuntimeError(f"{self.child.name} ended: {self.log.read_text(errors='replace')[-2_000:]}")
        process = psutil.Process(self.child.pid)
        own = process.memory_full_info()
        pss, whole = own.pss, own.rss
        for child in process.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                found = child.memory_full_info()
                pss, whole = pss + found.pss, whole + found.uss
        return Sample(pss, whole)

    async def metrics(self) -> dict[str, float]:
        """Return the sum of each gauge and counter."""
        async with httpx.AsyncClient(timeout=5) as client:
            text = (await client.get(f"http://{LOOPBACK}:{self.port}/metrics")).text
        families = list(text_string_to_metric_families(text))
        return {family.name: sum(sample.value for sample in family.samples) for family in families}

    async def ready(self) -> None:
        """Wait until it has joined its group. Raises TimeoutError."""
        async with asyncio.timeout(READY_WITHIN_S), httpx.AsyncClient(timeout=5) as client:
            while True:
                with suppress(httpx.TransportError):
                    if (await client.get(f"http://{LOOPBACK}:{self.port}/health/ready")).status_code == httpx.codes.OK:
                        return
                self.memory()
                await asyncio.sleep(SAMPLE_EVERY_S)


@asynccontextmanager
async def hosted(worker: str, environment: Mapping[str, str], folder: Path) -> AsyncIterator[Host]:
    """Run `worker`, ready; stopped in order at the end."""
    port = choose(set())
    told = {"MILLRACE_METRICS_PORT": str(port), "MILLRACE_METRICS_HOST": LOOPBACK, "MILLRACE_LOG_LEVEL": "WARNING"}

    async def unused() -> None:
        """The caller waits."""

    program = Program(worker, (sys.executable, "-m", "workers.host", worker), unused)
    log = folder / f"{worker}-{port}.log"
    host = Host(processes.spawn(program, os.environ | dict(environment) | told, log, tied=True), port, log)
    try:
        await host.ready()
        yield host
    finally:
        await processes.stop(host.child, signal.SIGTERM, 30)


@dataclass
class Bench:
    """The servers, the source, and what is asked for."""

    options: argparse.Namespace
    stack: Stack
    folder: Path
    source: Source

    async def behind(self, worker: str) -> tuple[int, int]:
        """Return how many records `worker` has committed and how many wait for it."""
        bootstrap = [self.stack.environment["KAFKA_BOOTSTRAP_SERVERS"]]
        places = (await reach(bootstrap, f"millrace.{worker}", [RAW_EVENTS]))[RAW_EVENTS.name].values()
        return sum(place.committed for place in places), sum(place.behind for place in places)

    async def bare(self, figures: Figures) -> None:
        """Measure a worker that has never had anything to do."""
        async with hosted(figures.worker, self.stack.environment, self.folder) as host:
            figures.bare_idle = (await _settled(host)).pss

    async def warm(self, figures: Figures) -> None:
        """Measure a worker that has nothing to do after it has handled some hundreds of events."""
        async with hosted(figures.worker, self.stack.environment, self.folder) as host:
            async with asyncio.timeout(DRAINED_WITHIN_S):
                while (await self.behind(figures.worker))[1]:  # noqa: ASYNC110 - the broker tells nobody by itself
                    await asyncio.sleep(SAMPLE_EVERY_S)
            settled = await _settled(host)
            figures.warm_idle, figures.warm_whole = settled.pss, settled.whole
        _say(f"{figures.worker}: idle {figures.bare_idle / MB:.1f} MB, warmed {figures.warm_idle / MB:.1f} MB")

    async def loaded(self, figures: Figures) -> None:
        """Let a worker start on the backlog and measure it at work, without its database, and at work again."""
        options = self.options
        before, _ = await self.behind(figures.worker)
        database = self.stack.record.processes["postgres"].pid
        assert database is not None
        async with hosted(figures.worker, self.stack.environment, self.folder) as host:
            await self._phase("at work", host, figures, options.seconds)
            with frozen(database):
                await self._phase("database frozen", host, figures, options.frozen_seconds)
            await self._phase("at work again", host, figures, options.seconds / 2)
        committed, figures.waiting = await self.behind(figures.worker)
        figures.handled = committed - before

    async def _phase(self, name: str, host: Host, figures: Figures, seconds: float) -> None:
        ends = time.monotonic() + seconds
        samples: list[Sample] = []
        while time.monotonic() < ends:
            samples.append(await asyncio.to_thread(host.memory))
            if len(samples) % 5 == 0:
                told = await host.metrics()
                figures.held = max(figures.held, int(told.get("millrace_in_flight", 0)))
                figures.paused = max(figures.paused, int(told.get("millrace_paused_partitions", 0)))
            await asyncio.sleep(SAMPLE_EVERY_S)
        taken = [figures.warm_idle + sample.whole - figures.warm_whole for sample in samples]
        figures.peaks[name] = max(taken)
        figures.pss_peak = max(figures.pss_peak, *(sample.pss for sample in samples))
        shown = f"peak {max(taken) / MB:.1f} MB, median {statistics.median(taken) / MB:.1f} MB"
        _say(f"{figures.worker}: {name}: {shown}, {figures.held} held, {figures.paused} paused")


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Stop a process and its children with SIGSTOP for as long as the context lasts."""
    parent = psutil.Process(pid)
    parent.suspend()
    stopped = [*parent.children(recursive=True), parent]
    try:
        for process in stopped[:-1]:
            process.suspend()
        yield
    finally:
        for process in stopped:
            with suppress(psutil.NoSuchProcess):
                process.resume()


async def _settled(host: Host) -> Sample:
    """Return the median of a worker's memory in the second half of `SETTLE_S` seconds."""
    samples: list[Sample] = []
    ends = time.monotonic() + SETTLE_S
    while time.monotonic() < ends:
        samples.append(await asyncio.to_thread(host.memory))
        await asyncio.sleep(SAMPLE_EVERY_S)
    last = samples[len(samples) // 2 :]
    return Sample(
        round(statistics.median(sample.pss for sample in last)),
        round(statistics.median(sample.whole for sample in last)),
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def verdict(found: list[Figures], limit: float, events: int) -> list[str]:
    """Return what speaks against the promise, empty if it holds: too much memory, or a backlog that was none."""
    against = [
        f"{each.worker}: {each.ratio:.2f} times its idle memory, {limit:g} allowed"
        for each in found
        if each.ratio > limit
    ]
    for each in found:
        if not each.handled:
            against.append(f"{each.worker}: handled nothing")
        if not each.paused:
            against.append(f"{each.worker}: no partition was ever full")
        if each.handled + each.waiting < events:
            against.append(f"{each.worker}: {each.handled + each.waiting} of {events} events")
    return against


async def run(options: argparse.Namespace) -> int:
    """Measure, print, write the report; return the exit status."""
    found = [Figures(worker) for worker in options.workers.split(",")]
    with tempfile.TemporaryDirectory(prefix="millrace-backlog-") as name:
        folder = Path(name)
        # Open to others than root: Postgres runs as `nobody` there.
        os.chmod(folder, 0o711)  # noqa: PTH101, S103 - before anything runs; entering is not listing
        async with Stack.start(folder / "home", only=set()) as stack:
            for unit in ("topics", "schema"):
                await stack.ensure(unit)
            template = await Template.of(options.bytes)
            source = Source(stack.environment["KAFKA_BOOTSTRAP_SERVERS"], template)
            bench = Bench(options, stack, folder, source)
            for each in found:
                await bench.bare(each)
            await source.publish(WARM_UP)
            for each in found:
                await bench.warm(each)
            began = time.monotonic()
            await source.publish(options.events)
            filled_s = time.monotonic() - began
            _say(f"{options.events} events of {template.size} bytes published in {filled_s:.0f} s")
            for each in found:
                await bench.loaded(each)
    against = verdict(found, options.limit, options.events)
    rows = [asdict(each) | {"peak": each.peak, "ratio": round(each.ratio, 3)} for each in found]
    report = {"passed": not against, "against": against, "events": options.events, "record_bytes": template.size}
    report |= {"limit": options.limit, "seconds": options.seconds, "frozen_seconds": options.frozen_seconds}
    text = orjson.dumps(report | {"workers": rows}, option=orjson.OPT_INDENT_2)
    target = options.report or Path("reports") / f"backlog-{datetime.now(UTC):%Y%m%d-%H%M%S}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(text)
    for each in found:
        print(
            f"{each.worker:14} idle {each.bare_idle / MB:6.1f} MB, warmed {each.warm_idle / MB:6.1f} MB, "
            f"peak {each.peak / MB:6.1f} MB, ratio {each.ratio:.2f} (to bare {each.peak / each.bare_idle:.2f}); "
            f"{each.held:,} held, {each.handled:,} handled, {each.waiting:,} waiting"
        )
    print(f"report: {target}")
    for line in against:
        print(f"FAILED  {line}")
    return 1 if against else 0


def main() -> int:
    """Parse arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--bytes", type=int, default=1_000, help="size of one record, about")
    parser.add_argument("--workers", default="ledger,normalizer", help="those that read raw.events")
    parser.add_argument("--seconds", type=float, default=60, help="at work on the backlog")
    parser.add_argument("--frozen-seconds", type=float, default=45)
    parser.add_argument("--limit", type=float, default=1.3)
    parser.add_argument("--report", type=Path)
    logs.configure("ERROR")
    return asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
