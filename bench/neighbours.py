"""What one workspace's flood costs another: webhooks until they are found, deletions until they are in force.

    python -m bench.neighbours [--uploads 5000] [--rows 100000] [--probes 100] [--encoder hash|minilm] [--json]

On a stack of its own. Measured in one run, in this order:

1. `idle`: in workspace `calm` a webhook is sent and searched for until it is found, then an older document is deleted
   and searched for until it is not; `--probes` times each, with nothing else to do;
2. `alone`: workspace `alone` sends `--uploads` documents as fast as they are taken, and a CSV of `--rows` rows in the
   midst of them; the time until the index has all of it;
3. `beside`: workspace `flood` sends the same, and meanwhile `calm` does what it did when idle.

Times of the probes are from the first byte sent, the gateway's part included, and as fine as a search takes. What
counts as beside the flood is what began before the flood was indexed; `--least` of each kind are wanted. The exit
status is the verdict: 0 if both 95th percentiles beside the flood are at most `--within` seconds, and the flood took at
most `--longer` times as long as alone; else 1. On a machine that is busy with other things read the ratios.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import numpy as np

from bench.kill.grounds import Grounds, fresh_stack, gateway_of
from bench.kill.tables import Pool
from bench.neighbouring.tenant import Tenant, table, text, word
from infra.postgres.keys import create_key
from infra.postgres.pool import open_pool
from infra.settings import PostgresSettings
from infra.telemetry import logs

SENDERS = 24
PROBERS = 2
"""Webhooks and deletions that are waited for at once."""
HOPS = """
select extract(epoch from e.normalised_at - e.accepted_at)::float8 as read,
       extract(epoch from r.at - e.normalised_at)::float8 as indexed
from events e join receipts r on r.event_id = e.event_id and r.sink = 'embedder/main'
where e.workspace = $1 and r.operation = $2 and e.accepted_at > $3 and e.normalised_at is not null
"""
"""Seconds from acceptance to the document, and from there to the index, of what was accepted since."""
INDEXED = "select count(distinct event_id) from receipts where workspace = $1 and sink = 'embedder/main'"


@dataclass
class Probes:
    """Seconds that probes took, and how many had begun before `over` was called."""

    webhooks: list[float] = field(default_factory=list)
    deletions: list[float] = field(default_factory=list)

    def figures(self) -> dict[str, dict[str, float]]:
        """Return count, p50, p95 and max of each kind."""
        return {"webhook searchable": _spread(self.webhooks), "deletion in force": _spread(self.deletions)}


def _spread(seconds: Sequence[float]) -> dict[str, float]:
    if not seconds:
        return {"count": 0, "p50_s": 0.0, "p95_s": 0.0, "max_s": 0.0}
    p50, p95 = np.percentile(seconds, [50, 95])
    return {
        "count": len(seconds),
        "p50_s": round(float(p50), 3),
        "p95_s": round(float(p95), 3),
        "max_s": round(max(seconds), 3),
    }


@dataclass
class Bench:
    """The stack and what is asked for."""

    options: argparse.Namespace
    grounds: Grounds
    pool: Pool

    @asynccontextmanager
    async def tenant(self, workspace: str) -> AsyncIterator[Tenant]:
        """Open a workspace with its sources."""
        key = (await create_key(self.pool, workspace, "neighbours")).key
        limits = httpx.Limits(max_connections=SENDERS)
        headers = {"authorization": f"Bearer {key}"}
        url = gateway_of(self.grounds.environment)
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=120, limits=limits) as client:
            made = {}
            for kind in ("files", "generic"):
                answer = await client.post("/v1/sources", json={"name": kind, "connector": kind})
                made[kind] = answer.raise_for_status().json()
            hook = made["generic"]
            yield Tenant(workspace, client, made["files"]["source_id"], hook["hook_path"], hook["secret"])

    async def flood(self, tenant: Tenant) -> float:
        """Send everything; return the seconds until the index has it."""
        began = time.monotonic()
        left: Iterator[int] = iter(range(self.options.uploads))
        content = table(self.options.rows) if self.options.rows else b""

        async def sender() -> None:
            for number in left:
                await tenant.upload(number, text(number))
                if content and number == self.options.uploads // 10:
                    await tenant.upload_table(content)

        await asyncio.gather(*(sender() for _ in range(SENDERS)))
        _say(f"{tenant.workspace}: all of the flood is accepted after {time.monotonic() - began:.1f} s")
        wanted = self.options.uploads + bool(content)
        while (await self.pool.fetchval(INDEXED, tenant.workspace)) < wanted:  # noqa: ASYNC110 - the ledger tells nobody
            await asyncio.sleep(0.5)
        took = time.monotonic() - began
        _say(f"{tenant.workspace}: indexed after {took:.1f} s")
        return took

    async def probe(self, calm: Tenant, name: str, flood: "asyncio.Task[float] | None" = None) -> Probes:
        """Send and delete, `--probes` times each, while `flood` lasts; what is to be deleted is there before it."""
        found = Probes()
        left: Iterator[int] = iter(range(self.options.probes))
        pause_s = self.options.pause if flood is not None else 0.0

        async def prober() -> None:
            for number in left:
                if flood is not None and flood.done():
                    return
                fresh = word(f"{name} new", number)
                began = time.monotonic()
                await calm.webhook(f"{name}-{number}", f"The word of the day is {fresh}, says the miller.")
                await calm.until(fresh, found=True)
                found.webhooks.append(time.monotonic() - began)
                began = time.monotonic()
                (await calm.client.delete(f"/v1/documents/{self.old[name, number]}")).raise_for_status()
                await calm.until(word(f"{name} old", number), found=False)
                found.deletions.append(time.monotonic() - began)
                await asyncio.sleep(pause_s)

        await asyncio.gather(*(prober() for _ in range(PROBERS)))
        return found

    async def prepare(self, calm: Tenant, names: Sequence[str]) -> None:
        """Upload what will be deleted, and wait until it is there."""
        self.old: dict[tuple[str, int], UUID] = {}
        for name in names:
            for number in range(self.options.probes):
                content = f"The word of old is {word(f'{name} old', number)}, as the miller knew."
                self.old[name, number] = await calm.upload(len(self.old), content)
        while (await self.pool.fetchval(INDEXED, calm.workspace)) < len(self.old):  # noqa: ASYNC110
            await asyncio.sleep(0.2)

    async def hops(self, calm: Tenant, operation: str, since: datetime) -> dict[str, dict[str, float]]:
        """Return where the time of the probes beside the flood went: to the document, from there to the index."""
        rows = await self.pool.fetch(HOPS, calm.workspace, operation, since)
        return {hop: _spread([row[hop] for row in rows]) for hop in ("read", "indexed")}

    async def run(self) -> dict[str, Any]:
        """Measure everything."""
        async with self.tenant("calm") as calm, self.tenant("alone") as alone, self.tenant("flood") as flooding:
            await self.prepare(calm, ("idle", "beside"))
            idle = await self.probe(calm, "idle")
            _say(f"idle: {idle.figures()}")
            alone_s = await self.flood(alone) if self.options.longer else 0.0
            since = datetime.now(UTC)
            flood = asyncio.create_task(self.flood(flooding))
            # The first probes are not ahead of the flood.
            await asyncio.sleep(self.options.after)
            beside = await self.probe(calm, "beside", flood)
            return {
                "encoder": self.options.encoder,
                "uploads": self.options.uploads,
                "rows": self.options.rows,
                "idle": idle.figures(),
                "hops": {operation: await self.hops(calm, operation, since) for operation in ("upsert", "delete")},
                "beside": beside.figures(),
                "flood_alone_s": round(alone_s, 1),
                "flood_beside_s": round(await flood, 1),
            }


def verdict(figures: dict[str, Any], within_s: float, longer: float, least: int) -> list[str]:
    """Return what speaks against the promise, empty if it holds."""
    against = []
    for kind, found in figures["beside"].items():
        if found["count"] < least:
            against.append(f"{kind}: {found['count']} probes beside the flood, {least} wanted: it was too short")
        if found["p95_s"] > within_s:
            against.append(f"{kind}: p95 {found['p95_s']:.2f} s, {within_s:g} s allowed")
    if longer and figures["flood_beside_s"] > longer * figures["flood_alone_s"]:
        ratio = figures["flood_beside_s"] / figures["flood_alone_s"]
        against.append(f"the flood took {ratio:.2f} times as long as alone, {longer:g} allowed")
    return against


def show(figures: dict[str, Any]) -> None:
    """Print the figures, each beside its reference of the same run."""
    print(f"{figures['uploads']:,} uploads and a CSV of {figures['rows']:,} rows, encoder {figures['encoder']}")
    for kind, beside in figures["beside"].items():
        idle = figures["idle"][kind]
        parts = (
            f"{name[:-2]} {beside[name]:.2f} s (idle {idle[name]:.2f}, x {beside[name] / max(idle[name], 1e-3):.1f})"
            for name in ("p50_s", "p95_s", "max_s")
        )
        print(f"{kind:19} {beside['count']} beside the flood: " + ", ".join(parts))
    for operation, hops in figures["hops"].items():
        told = (f"{hop} p50 {took['p50_s']:.2f} s, p95 {took['p95_s']:.2f} s" for hop, took in hops.items())
        print(f"{operation} beside the flood: " + "; ".join(told))
    alone, beside_s = figures["flood_alone_s"], figures["flood_beside_s"]
    print(f"flood: {beside_s:.1f} s beside probes, {alone:.1f} s alone, ratio {beside_s / max(alone, 1e-3):.2f}")


def _say(told: str) -> None:
    print(told, file=sys.stderr, flush=True)


async def measure(options: argparse.Namespace) -> int:
    """Start a stack, measure, print; return the exit status."""
    async with fresh_stack(options.encoder, options.logs) as grounds:
        postgres = PostgresSettings.model_validate({"POSTGRES_DSN": grounds.environment["POSTGRES_DSN"]})
        async with open_pool(postgres) as pool:
            figures = await Bench(options, grounds, pool).run()
    against = verdict(figures, options.within, options.longer, options.least)
    if options.json:
        print(json.dumps(figures | {"against": against}, indent=1))
    else:
        show(figures)
        for line in against:
            print(f"FAILED  {line}")
    return 1 if against else 0


def main() -> int:
    """Parse arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--uploads", type=int, default=5_000)
    parser.add_argument("--rows", type=int, default=100_000, help="of the CSV; 0 sends none")
    parser.add_argument("--probes", type=int, default=100, help="webhooks, and as many deletions")
    parser.add_argument("--pause", type=float, default=0.5, help="seconds between the probes beside the flood")
    parser.add_argument("--after", type=float, default=1.0, help="seconds of flood before the first probe")
    parser.add_argument("--encoder", default="hash", help="as MILLRACE_ENCODER names it")
    parser.add_argument("--within", type=float, default=2.0, help="seconds allowed for the 95th percentiles")
    parser.add_argument("--longer", type=float, default=1.1, help="times allowed for the flood; 0: not measured alone")
    parser.add_argument("--least", type=int, default=100, help="probes of each kind that must fall beside the flood")
    parser.add_argument("--logs", type=Path, help="folder to copy the stack's logs to")
    parser.add_argument("--json", action="store_true")
    logs.configure("ERROR")
    return asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
