"""Kills every part of Millrace while senders go on, and compares all sinks with a serial run of the same stream.

    python -m bench.kill_test --events 2000 --kills 20 --seed 1

On a fresh local stack by default, whose keepers bring back what dies. `--kill-command` uses the installation that the
environment names instead. The exit status is the verdict: 0 if nothing was lost, duplicated, stale or crossed and no
dead letter was unexpected, else 1. What is compared with what: docs/delivery.md.
"""

import argparse
import asyncio
import contextlib
import shlex
import ssl
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from bench.kill.findings import Fault, Findings
from bench.kill.graph import compare_graph
from bench.kill.grounds import Grounds, fresh_stack, gateway_of, open_accounts, own_cluster
from bench.kill.killer import WEIGHTS, Killed, Killer, schedule
from bench.kill.kinds.flood import Waits
from bench.kill.kinds.mix import KINDS, Mix, needed, traits_of
from bench.kill.log import arrivals, compare_log
from bench.kill.memory import Memory
from bench.kill.model import World
from bench.kill.quiet import Watch, wait_for_quiet
from bench.kill.report import Report
from bench.kill.search import Searching
from bench.kill.senders import ANSWER_WITHIN_S, Account, Senders
from bench.kill.stream import Step
from bench.kill.tables import Pool, compare_tables
from bench.kill.vectors import compare_vectors
from infra.neo4j.client import open_driver
from infra.objects.store import ObjectStore
from infra.postgres.indexes import live
from infra.postgres.pool import open_pool
from infra.qdrant.client import open_client
from infra.settings import Neo4jSettings, PostgresSettings, QdrantSettings
from infra.telemetry import logs

HOOKS = ("feed-a", "feed-b")
REPORTS = Path("reports")
console = Console(stderr=True, soft_wrap=True, highlight=False)


@dataclass
class Run:
    """One run: what was asked for, and what is known so far."""

    options: argparse.Namespace
    grounds: Grounds
    pool: Pool
    client: httpx.AsyncClient
    clients: list[httpx.AsyncClient]
    """Of the senders."""
    flooders: list[httpx.AsyncClient]
    accounts: dict[str, Account] = field(default_factory=dict)
    findings: Findings = field(default_factory=Findings)

    async def prepare(self) -> tuple[list[Step], World]:
        """Make workspaces and sources, and write the stream."""
        workspaces = tuple(f"{self.options.workspaces_prefix}{number + 1}" for number in range(self.options.workspaces))
        self.accounts, sources = await open_accounts(self.pool, self.client, workspaces, HOOKS)
        steps = Mix(self.options.seed, workspaces, HOOKS, self.options.kinds).steps(self.options.events)
        return steps, World.of(steps, sources)

    async def work(self) -> Report:
        """Send, kill, wait for quiet, compare."""
        options = self.options
        steps, world = await self.prepare()
        senders = Senders(self.clients, self.accounts, world, self.flooders)
        watch = Watch(self.pool, list(self.accounts), len(world.events))

        def done() -> float:
            return (senders.sent.accepted / len(steps) + min(1.0, watch.settled / len(world.events))) / 2

        killer = Killer(schedule(options.seed, options.kills, options.weights), self.grounds.victims, done)
        setting = {name: getattr(options, name) for name in ("events", "kills", "seed", "encoder", "workspaces")}
        setting |= {"sources": len(HOOKS) + 1, "concurrency": options.concurrency, "weights": options.weights}
        setting |= {"kinds": options.kinds, "flooders": options.flooders}
        report = Report(
            setting, self.findings, senders.sent, killer.killed, len(steps), len(world.events), len(world.documents)
        )
        report.kinds = traits_of(steps)
        report.lacking = sorted(trait for trait in needed(options.kinds) if not report.kinds[trait])
        memory = Memory(self.grounds.record) if self.grounds.record else None
        shown = _shown(options.events, done, killer.killed)
        async with background(watch.run(), shown, *([memory.run()] if memory else [])):
            began = time.monotonic()
            killing = asyncio.create_task(killer.run())
            try:
                await senders.run(steps)
                report.sending_s = time.monotonic() - began
                await self._settle(watch, killing)
            finally:
                killing.cancel()
            report.settling_s = time.monotonic() - began - report.sending_s
        if memory:
            report.peak_pss_bytes, report.peak_by_process = memory.peak_bytes, memory.by_process
        began = time.monotonic()
        report.waits = await Waits.read(self.pool, world)
        await self._compare(steps, world, senders.sent.refused)
        report.comparing_s = time.monotonic() - began
        return report

    async def _settle(self, watch: Watch, killing: "asyncio.Task[None]") -> None:
        """Wait for the last kill, then for quiet; what does not come to rest is a finding."""
        try:
            async with asyncio.timeout(self.options.quiet_within):
                await killing
        except TimeoutError:
            self.findings.add(Fault.UNSETTLED, "schedule", "the work stopped before the last kill was due")
        # What was killed last may still be away; a comparison needs every server.
        for target in self.options.weights:
            await self.grounds.victims.back(target)
        bootstrap = self.grounds.environment["KAFKA_BOOTSTRAP_SERVERS"]
        for left in await wait_for_quiet(watch, bootstrap, self.options.quiet_within):
            self.findings.add(Fault.UNSETTLED, "ledger and log", left)

    async def _compare(self, steps: list[Step], sent: World, refused: list[str]) -> None:
        for told in refused:
            self.findings.add(Fault.REFUSED, "gateway", told)
        given = self.grounds.environment
        # Where numbers leave it open, the order in which the log took the events decides; only now it is known.
        world = World.of(steps, sent.sources, await arrivals(given["KAFKA_BOOTSTRAP_SERVERS"]))
        world.began = sent.began
        self.findings.checked.update(world.effects)
        heads = await compare_tables(self.pool, world, self.findings)
        objects = ObjectStore.open(given["OBJECT_STORE_URL"])
        await compare_log(given["KAFKA_BOOTSTRAP_SERVERS"], objects, world, heads, self.findings)
        index = await live(self.pool)
        async with open_client(QdrantSettings.model_validate(given)) as qdrant:
            await compare_vectors(qdrant, index.collection, world, heads, self.findings)
        async with open_driver(Neo4jSettings.model_validate(given)) as graph:
            await compare_graph(graph, world, heads, self.findings)
        searching = Searching(self.client, self.accounts, world, self.findings)
        await searching.compare(self.options.seed, self.options.searches)


@asynccontextmanager
async def background(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run `work` beside the block; cancelled at its end."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _shown(events: int, done: Callable[[], float], killed: Killed) -> None:
    if not console.is_terminal:
        while True:
            console.print(f"{done():4.0%}  {killed.total} kills")
            await asyncio.sleep(10)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn("left"))
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        task = progress.add_task("", total=events)
        while True:
            share = done()
            progress.update(task, completed=share * events, description=f"{share:4.0%}  {killed.total} kills")
            await asyncio.sleep(0.5)


async def run(options: argparse.Namespace) -> Report:
    """Do one run on the grounds that `options` name."""
    grounds = own_cluster(options.kill_command) if options.kill_command else fresh_stack(options.encoder, options.logs)
    async with AsyncExitStack() as held:
        console.print("starting a stack" if not options.kill_command else "using the environment's installation")
        ground = await held.enter_async_context(grounds)
        postgres = PostgresSettings.model_validate(ground.environment)
        pool = await held.enter_async_context(open_pool(postgres))
        trust = ssl.create_default_context()

        async def client() -> httpx.AsyncClient:
            gateway = gateway_of(ground.environment)
            made = httpx.AsyncClient(base_url=gateway, timeout=ANSWER_WITHIN_S, verify=trust)
            return await held.enter_async_context(made)

        clients = [await client() for _ in range(options.concurrency)]
        flooders = [await client() for _ in range(options.flooders)]
        return await Run(options, ground, pool, await client(), clients, flooders).work()


def weights(text: str) -> dict[str, int]:
    """Read `target=weight,…`; what is not named is never killed. Raises ValueError."""
    given = {name: int(number) for name, _, number in (part.partition("=") for part in text.split(","))}
    if unknown := given.keys() - WEIGHTS.keys():
        raise ValueError(f"unknown targets {', '.join(sorted(unknown))}; there are {', '.join(WEIGHTS)}")
    return given


def kinds(text: str) -> tuple[str, ...]:
    """Read `kind,…`. Raises ValueError."""
    given = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if unknown := set(given) - set(KINDS):
        raise ValueError(f"unknown kinds {', '.join(sorted(unknown))}; there are {', '.join(KINDS)}")
    return given


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="bench.kill_test", description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--events", type=int, default=2_000, help="deliveries, repetitions among them")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--encoder", default="hash", help="MILLRACE_ENCODER of the stack; `minilm` is the real one")
    parser.add_argument("--workspaces", type=int, default=3)
    parser.add_argument("--workspaces-prefix", default="mill-")
    parser.add_argument("--concurrency", type=int, default=24, help="deliveries under way at once")
    parser.add_argument("--flooders", type=int, default=24, help="deliveries of the flood under way at once")
    parser.add_argument(
        "--kinds", type=kinds, default=KINDS, help=f"kind,… of {', '.join(KINDS)} beside the plain stream; '' for none"
    )
    parser.add_argument("--weights", type=weights, default=WEIGHTS, help="target=weight,… of what is killed")
    parser.add_argument("--searches", type=int, default=20, help="marks searched for in each workspace")
    parser.add_argument("--quiet-within", type=float, default=600, help="seconds")
    parser.add_argument("--kill-command", default="", help=f"kills {{target}}, one of {', '.join(WEIGHTS)}")
    parser.add_argument("--logs", type=Path, help="folder to keep the stack's logs in")
    parser.add_argument("--reports", type=Path, default=REPORTS, help="folder of the JSON report")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Run; return 0 if nothing differs, 1 if anything does, 130 if interrupted."""
    options = parse(arguments)
    logs.configure("ERROR")
    with contextlib.suppress(KeyboardInterrupt):
        report = asyncio.run(run(options))
        report.show(console)
        console.print(f"report: {report.write(options.reports)}")
        console.print("PASSED" if report.passed else "FAILED", style="bold green" if report.passed else "bold red")
        console.print(f"again: python -m bench.kill_test {shlex.join(arguments)}")
        return 0 if report.passed else 1
    return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
