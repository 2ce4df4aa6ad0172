"""What a chat over the log costs, against asking the backend directly and against a LiteLLM proxy, in one run.

    python -m bench.chat [--requests 300] [--rounds 3] [--litellm PATH/bin/litellm] [--only latency] [--json]

Starts a stack of its own (broker, Postgres, Valkey, vector door, the workers on a question's way, gateway), an instant
OpenAI-compatible backend, and, where `--litellm` names the program, that proxy in front of the same backend. LiteLLM
belongs into a virtual environment of its own; without it the comparison is left out. Measured are

- `latency`: the time of a question at 1, 20 and 100 at once, whole and streamed (to the first word), its p50, p95 and
  p99, and what is added to asking the backend directly; questions per second; CPU time per question of all of ours
  (gateway, workers, broker, Postgres, Valkey, vector door; not the client, not the backend), and so per core;
- `hops`: where the time of a question goes, one at a time, with `retrieve` off and on (an empty index);
- `streams`: the gateway's memory with 1,000 streams open;
- `fair`: what a single question is delayed by 1,000 of another workspace, where the model is the bottleneck, and where
  searching is;
- `overload`: who is answered, refused, and left waiting, where more is asked than can be searched for in time.

Every answer repeats its question, and an answer to another question ends the run. Ways alternate within a round, their
order changes from round to round, and ratios are taken within their round; figures are medians over the rounds with
their range. On a machine that is busy with other things read the ratios only.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bench.chatting.ground import Ground, ground
from bench.chatting.hops import traced
from bench.chatting.measure import Way, along, fair_share, open_streams, questions, warm, ways
from bench.chatting.overload import overloaded
from infra.telemetry import logs

AT_ONCE = (1, 20, 100)
PARTS = ("latency", "hops", "streams", "fair", "overload")
FAIR_ANSWER_S = 0.2
OVERLOAD = 2_500
OVERLOAD_PER_S = 400.0
OVERLOAD_DEADLINE_S = "5"
SLOTS = 32
"""Answers at once, of latency and streams: an instant backend needs no more. Fair shares are measured with 4."""


def spread(values: Sequence[float], digits: int = 2) -> dict[str, float]:
    """Return median and range."""
    shown = (statistics.median(values), min(values), max(values))
    return dict(zip(("median", "least", "most"), (round(value, digits) for value in shown), strict=True))


async def latency(found: Ground, rounds: int, number: int) -> dict[str, Any]:
    """Return the figures per number at once, streamed or not."""
    # So many that the broker has compiled what it does for each of them.
    await warm(found, number)
    figures: dict[str, Any] = {}
    for at_once in AT_ONCE:
        for stream in (False, True):
            taken: dict[str, list[Way]] = {name: [] for name in ways(found)}
            for turn in range(rounds):
                each = list(ways(found).items())
                first = turn % len(each)
                for name, (target, cpu) in each[first:] + each[:first]:
                    taken[name].append(await along(target, at_once, number, stream=stream, cpu=cpu))
                print(f"{at_once} at once, stream {stream}: round {turn + 1} of {rounds}", file=sys.stderr)
            figures[title := f"{at_once}{' streamed' if stream else ''}"] = compared(taken)
            # What was measured is told at once: a later part may fail.
            print(title, json.dumps(figures[title]), file=sys.stderr)
    return figures


async def hops(found: Ground, number: int) -> dict[str, Any]:
    """Return what each step of a question takes, without and with retrieval."""
    figures = {}
    for retrieve in (False, True):
        target = replace(found.gateway, fields=found.gateway.fields | {"millrace": {"retrieve": retrieve}})
        await traced(target, questions(50), found.environment)
        figures["with retrieval" if retrieve else "without"] = await traced(
            target, questions(number), found.environment
        )
    return figures


def compared(taken: dict[str, list[Way]]) -> dict[str, Any]:
    """Return each way's figures, with what it adds to the backend's and, ours, its ratio to the proxy's."""
    shown = {}
    for name, rounds in taken.items():
        shown[name] = {
            **{f"p{at}_ms": spread([getattr(way.whole, f"p{at}") for way in rounds]) for at in (50, 95, 99)},
            **{f"first_p{at}_ms": spread([getattr(way.first, f"p{at}") for way in rounds]) for at in (50, 95, 99)},
            "per_s": spread([way.per_s for way in rounds], 1),
        }
        if name == "backend":
            continue
        pairs = list(zip(taken["backend"], rounds, strict=True))
        for at in (50, 95, 99):
            added = [own.whole.less(direct.whole) for direct, own in pairs]
            first = [own.first.less(direct.first) for direct, own in pairs]
            shown[name][f"added_p{at}_ms"] = spread([getattr(each, f"p{at}") for each in added])
            shown[name][f"added_first_p{at}_ms"] = spread([getattr(each, f"p{at}") for each in first])
        shown[name]["cpu_ms"] = {
            process: round(statistics.median(way.cpu_ms[process] for way in rounds), 2) for process in rounds[0].cpu_ms
        }
        shown[name]["cpu_ms_all"] = spread([way.cpu_s * 1_000 for way in rounds])
        shown[name]["per_core_s"] = spread([way.per_core_s for way in rounds], 1)
    if "litellm" in taken:
        both = list(zip(taken["millrace"], taken["litellm"], strict=True))
        shown["ratio"] = {
            "per_core": spread([own.per_core_s / other.per_core_s for own, other in both]),
            "per_s": spread([own.per_s / other.per_s for own, other in both]),
        }
    return shown


async def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return all figures."""
    parts = arguments.only or PARTS
    figures: dict[str, Any] = {"cores": os.cpu_count(), "load_before": os.getloadavg(), "nice": os.nice(0)}
    told = {"MILLRACE_ANSWER_TIMEOUT_S": "300", "MILLRACE_STALLED_AFTER_S": "400"}
    if {"latency", "hops", "streams"} & set(parts):
        slots = {"INFERENCE_CONCURRENCY": str(SLOTS), "INFERENCE_FIRST_TIMEOUT_S": "200"}
        async with ground(arguments.litellm, told | slots, apart=arguments.apart) as found:
            if "latency" in parts:
                figures["latency"] = await latency(found, arguments.rounds, arguments.requests)
            if "hops" in parts:
                figures["hops"] = await hops(found, arguments.requests)
            if "streams" in parts:
                figures["streams"] = await open_streams(found, arguments.streams)
    if "fair" in parts:
        slots = {"INFERENCE_CONCURRENCY": "4"}
        async with ground(None, told | slots, apart=arguments.apart) as found:
            await warm(found, 10)
            figures["fair"] = await fair_share(found, arguments.queued, FAIR_ANSWER_S, 5)
        async with ground(None, told, apart=arguments.apart) as found:
            await warm(found, arguments.requests)
            figures["fair, searched"] = await fair_share(found, arguments.queued, 0.0, 5, retrieve=True)
    if "overload" in parts:
        told["MILLRACE_ANSWER_TIMEOUT_S"] = OVERLOAD_DEADLINE_S
        async with ground(None, told, apart=arguments.apart) as found:
            figures["overload"] = await overloaded(found, OVERLOAD, OVERLOAD_PER_S)
    return figures | {"load_after": os.getloadavg()}


def _ms(figures: dict[str, Any], name: str) -> str:
    found = figures[name]
    return f"{found['median']:.1f} [{found['least']:.1f} to {found['most']:.1f}]"


def show(figures: dict[str, Any]) -> None:
    """Print the figures."""
    print(f"{figures['cores']} cores, load {figures['load_before'][0]:.1f}, nice {figures['nice']}")
    for title, compared_ways in figures.get("latency", {}).items():
        print(f"{title} at once")
        for name, found in compared_ways.items():
            if name == "ratio":
                print(f"  millrace to litellm: per core {_ms(found, 'per_core')}, per second {_ms(found, 'per_s')}")
                continue
            line = f"  {name:9} p50 {_ms(found, 'p50_ms')}  p99 {_ms(found, 'p99_ms')} ms  {_ms(found, 'per_s')} /s"
            if "added_p50_ms" in found:
                line += f"\n            added p50 {_ms(found, 'added_p50_ms')}, p95 {_ms(found, 'added_p95_ms')}, "
                line += f"p99 {_ms(found, 'added_p99_ms')} ms; first word p50 {_ms(found, 'added_first_p50_ms')} ms"
                line += (
                    f"\n            CPU {_ms(found, 'cpu_ms_all')} ms each, {_ms(found, 'per_core_s')} /s and core: "
                )
                line += ", ".join(f"{process} {spent}" for process, spent in found["cpu_ms"].items())
            print(line)
    if "latency" in figures and "litellm" not in figures["latency"]["1"]:
        print("no --litellm: not compared with a LiteLLM proxy")
    for title, steps in figures.get("hops", {}).items():
        print(f"one at a time, {title}")
        for name, found in steps.items():
            print(f"  {found['p50_ms']:6.2f} ms p50 {found['p99_ms']:7.2f} ms p99  {name}")
    for part in ("streams", "fair", "fair, searched", "overload"):
        if part in figures:
            print(f"{part}: " + ", ".join(f"{name} {value}" for name, value in figures[part].items()))


def main() -> None:
    """Parse arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=500, help="questions per round and way")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--streams", type=int, default=1_000)
    parser.add_argument("--queued", type=int, default=1_000)
    parser.add_argument("--litellm", type=Path, help="the proxy's program, in a virtual environment of its own")
    parser.add_argument("--apart", action="store_true", help="retriever and inference worker in a process each")
    parser.add_argument("--only", choices=PARTS, action="append")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    arguments = parser.parse_args()
    logs.configure("ERROR")
    # Not uvloop: it cannot start Postgres as another user.
    figures = asyncio.run(measure(arguments))
    if arguments.json:
        print(json.dumps(figures, indent=1, default=asdict))
    else:
        show(figures)


if __name__ == "__main__":
    main()
