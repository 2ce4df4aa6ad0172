"""What one worker stage costs, against a bare aiokafka loop doing the same bytes in the same run.

    KAFKA_BOOTSTRAP_SERVERS=host:port python -m bench.stage [--events 20000] [--rounds 5] [--json]

A stage consumes, validates, decides, publishes one event per event, and commits. The bare loop does the same with
nothing but aiokafka and no validation: getmany(500), send, gather, commit. There are two of it, one with the batch size
that aiokafka comes with (16 KiB) and one with that of our publisher. All run under uvloop and with the same settings of
the garbage collector, those of `workers.host`.
Printed are

- events per second, and CPU time of this process per event (client side only, both from the first records on);
- the time from the acknowledgement of a record to the appearance of its follow-up, one event at a time;
- what the checks of one event cost.

Machines are noisy: ways alternate within a round, their order changes from round to round, and each ratio is taken
within its round. Figures are medians with their range; read the ratios.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from timeit import repeat
from typing import Any

import uvloop

from bench.stages import DEFAULT_BATCH_BYTES, Bench, Sample, event, topic
from infra.allocation import look_for_cycles_seldom
from infra.kafka import connection
from infra.kafka.codec import new_envelope
from infra.kafka.producer import BATCH_BYTES
from infra.objects.store import ObjectStore
from infra.telemetry import logs
from schemas.envelope import Envelope
from schemas.ids import derived_event_id
from schemas.raw import RawEvent

PLAIN = "bare aiokafka, as it comes"
BARE = "bare aiokafka, our batch size"
WAYS = (BARE, PLAIN, "stage, micro-batches of 500", "stage, single, 16 at once")
HOPS = (BARE, "stage, micro-batches of 500", "stage, single, 16 at once")


@dataclass(frozen=True, slots=True)
class Spread:
    """Median and range."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Summarise `values`."""
        return cls(statistics.median(values), min(values), max(values))

    def shown(self, digits: int) -> str:
        """Return it as text."""
        return f"{self.median:,.{digits}f} [{self.least:,.{digits}f} to {self.most:,.{digits}f}]"


def ways(bench: Bench) -> dict[str, Callable[[], Awaitable[Sample]]]:
    """Return what is compared, by name."""
    runs = (
        lambda: bench.bare(BATCH_BYTES),
        lambda: bench.bare(DEFAULT_BATCH_BYTES),
        lambda: bench.staged(micro=True),
        lambda: bench.staged(micro=False),
    )
    return dict(zip(WAYS, runs, strict=True))


async def throughput(bench: Bench, rounds: int) -> dict[str, Any]:
    """Return per way: events per second, CPU microseconds per event, and the ratios of both to the bare loops'."""
    runs = list(ways(bench).items())
    samples: dict[str, list[Sample]] = {name: [] for name, _ in runs}
    for number in range(rounds):
        first = number % len(runs)
        for name, run in runs[first:] + runs[:first]:
            samples[name].append(await run())
            print(f"round {number + 1} of {rounds}: {name}", file=sys.stderr)
    return {
        name: {
            "events_per_s": Spread.of([bench.events / sample.seconds for sample in taken]),
            "rate_to_plain": _ratios(samples[PLAIN], taken, lambda bare, own: bare.seconds / own.seconds),
            "rate_to_bare": _ratios(samples[BARE], taken, lambda bare, own: bare.seconds / own.seconds),
            "cpu_us_per_event": Spread.of([sample.cpu_seconds / bench.events * 1e6 for sample in taken]),
            "cpu_to_plain": _ratios(samples[PLAIN], taken, lambda bare, own: own.cpu_seconds / bare.cpu_seconds),
            "cpu_to_bare": _ratios(samples[BARE], taken, lambda bare, own: own.cpu_seconds / bare.cpu_seconds),
        }
        for name, taken in samples.items()
    }


def _ratios(reference: Sequence[Sample], taken: Sequence[Sample], of: Callable[[Sample, Sample], float]) -> Spread:
    return Spread.of([of(bare, own) for bare, own in zip(reference, taken, strict=True)])


async def latency(bench: Bench, rounds: int, probes: int) -> dict[str, Any]:
    """Return per way: milliseconds from acknowledgement to follow-up, median and p99 of each round."""
    hops: dict[str, Callable[[], Awaitable[list[float]]]] = dict(
        zip(
            HOPS,
            (
                lambda: bench.bare_hops(probes),
                lambda: bench.staged_hops(probes, micro=True),
                lambda: bench.staged_hops(probes, micro=False),
            ),
            strict=True,
        )
    )
    taken: dict[str, list[list[float]]] = {name: [] for name in hops}
    for number in range(rounds):
        for name, run in hops.items():
            taken[name].append([seconds * 1_000 for seconds in await run()])
            print(f"hops, round {number + 1} of {rounds}: {name}", file=sys.stderr)
    p50 = {name: [statistics.median(times) for times in each] for name, each in taken.items()}
    p99 = {name: [statistics.quantiles(times, n=100)[98] for times in each] for name, each in taken.items()}
    return {
        name: {
            "p50_ms": Spread.of(p50[name]),
            "p99_ms": Spread.of(p99[name]),
            "added_p50_ms": Spread.of([own - bare for own, bare in zip(p50[name], p50[BARE], strict=True)]),
            "added_p99_ms": Spread.of([own - bare for own, bare in zip(p99[name], p99[BARE], strict=True)]),
        }
        for name in hops
    }


def checks() -> dict[str, Spread]:
    """Return the microseconds that the steps of one event take, each alone."""
    body = event(0)
    text = body.model_dump_json().encode()
    own = topic("checks")
    envelope = new_envelope(body, id=body.event_id, source="src", subject="0", cause=body.event_id)
    headers = envelope.headers()
    steps: dict[str, Callable[[], object]] = {
        "body validated against its schema": lambda: RawEvent.model_validate_json(text),
        "headers validated": lambda: Envelope.from_headers(headers),
        "body written": body.model_dump_json,
        "headers written": envelope.headers,
        "deterministic id": lambda: derived_event_id(body.event_id, "bench", own.name, ""),
    }
    return {
        name: Spread.of([seconds / 2_000 * 1e6 for seconds in repeat(step, number=2_000, repeat=9)])
        for name, step in steps.items()
    }


async def measure(bench: Bench, rounds: int, probes: int) -> dict[str, Any]:
    """Return all figures."""
    size = await bench.fill()
    return {
        "events": bench.events,
        "body_bytes": size,
        "partitions": bench.source.partitions,
        "rounds": rounds,
        "loop": type(asyncio.get_running_loop()).__module__,
        "ways": await throughput(bench, rounds),
        "hops": await latency(bench, rounds, probes),
        "steps_us": checks(),
    }


def show(figures: dict[str, Any]) -> None:
    """Print the figures as tables."""
    print(
        f"{figures['events']} events of {figures['body_bytes']} bytes, {figures['partitions']} partitions, "
        f"{figures['rounds']} rounds, {figures['loop']}"
    )
    for name, found in figures["ways"].items():
        print(
            f"{name:29} {found['events_per_s'].shown(0):>28} /s   {found['cpu_us_per_event'].shown(1):>22} us CPU each"
            f"   rate to {PLAIN}: {found['rate_to_plain'].shown(2)}, to {BARE}: {found['rate_to_bare'].shown(2)}"
        )
    for name, found in figures["hops"].items():
        print(
            f"{name:32} hop p50 {found['p50_ms'].shown(2)} ms   p99 {found['p99_ms'].shown(2)} ms"
            f"   added p50 {found['added_p50_ms'].shown(2)} ms"
        )
    for name, found in figures["steps_us"].items():
        print(f"{name:36} {found.shown(2)} us")


def main() -> None:
    """Parse arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=60_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--probes", type=int, default=200, help="events sent one at a time per round and way")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    arguments = parser.parse_args()
    logs.configure("ERROR")
    connection.survive_resets()
    look_for_cycles_seldom()
    with tempfile.TemporaryDirectory() as folder:
        objects = ObjectStore.open(Path(folder).as_uri())
        bench = Bench(os.environ["KAFKA_BOOTSTRAP_SERVERS"], objects, arguments.events)
        figures = uvloop.run(measure(bench, arguments.rounds, arguments.probes))
    if arguments.json:
        print(json.dumps(figures, indent=1, default=asdict))
    else:
        show(figures)


if __name__ == "__main__":
    main()
