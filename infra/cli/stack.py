"""`millrace up`, `down`, `status`, `logs`, `doctor`: the local stack."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from infra.cli.ledger import recent_lag
from infra.cli.progress import Progress
from infra.cli.terminal import AsJson, CommandError, Status, command, err, out, plain, print_json, print_table, whole
from infra.llama.weights import PINNED, WeightsError, checked
from infra.local import control
from infra.local.doctor import Verdict, examine
from infra.local.record import StackRecord, State
from infra.local.servers.llm import INSTALL
from infra.local.state import GATEWAY, Home, environment
from infra.local.supervisor import OccupiedError
from infra.local.table import LLM, NAMES, chosen

SHOWN = {
    "gateway": GATEWAY,
    "kafka": "KAFKA_BOOTSTRAP_SERVERS",
    "neo4j": "NEO4J_URI",
    "door": "QDRANT_URL",
    "llm": "INFERENCE_URL",
}
"""Addresses without a secret in them."""
MB = 1_000_000
COLOURS = {Verdict.OK: "green", Verdict.WARNING: "yellow", Verdict.FAILED: "red"}


NO_LLM = "none"
LLM_HELP = "Run a language model here: smollm2, or the path of a GGUF file; none goes back to quoting. Remembered."


def _llm(home: Home, given: str | None) -> str:
    """Return the language model to run, empty for none: the remembered one unless another, or none, is `given`."""
    if given is None:
        remembered = control.remembered_llm(home)
        if remembered and not os.environ.get("INFERENCE_URL"):
            _need_llama()
        return remembered
    if given == NO_LLM:
        return ""
    if os.environ.get("INFERENCE_URL"):
        message = "INFERENCE_URL names a model server already"
        raise CommandError(Status.USAGE, message, "unset it, or leave --llm out")
    _need_llama()
    try:
        return given if given in PINNED else str(checked(given))
    except WeightsError as fault:
        raise CommandError(Status.USAGE, f"--llm: {fault}") from fault


def _need_llama() -> None:
    """Raise CommandError unless llama.cpp is installed: known before anything is started, or stopped again."""
    if find_spec("xllamacpp") is None:
        raise CommandError(Status.FAILED, "no llama.cpp: the extra `llama` is not installed", f"`{INSTALL}`")


def _names(only: str | None, *, workers: bool) -> tuple[str, ...]:
    try:
        return chosen({name.strip() for name in only.split(",") if name.strip()} if only else None, workers=workers)
    except ValueError as fault:
        raise CommandError(Status.USAGE, str(fault)) from fault


@command
async def up(  # noqa: PLR0917 - options
    only: Annotated[str | None, typer.Option(help=f"Start only these, with commas: {', '.join(NAMES)}.")] = None,
    workers: Annotated[bool, typer.Option("--workers/--no-workers", help="Start workers and gateway too.")] = True,
    foreground: Annotated[bool, typer.Option("--foreground", help="Stay, and stop everything at Ctrl-C.")] = False,
    timeout_s: Annotated[float, typer.Option("--timeout", help="Seconds to wait until all is ready.")] = 300,
    llm: Annotated[str | None, typer.Option(help=LLM_HELP, metavar="MODEL")] = None,
    as_json: AsJson = False,
) -> None:
    """Start the local stack, or take over what runs of it, and return when it is ready."""
    home = Home.find()
    names = _names(only, workers=workers)
    began = time.monotonic()
    try:
        model = _llm(home, llm)
        # A part of the stack is just that part, unless the model was asked for with it.
        names += (LLM,) if model and (llm or only is None) else ()
        started = control.start(home, names, model)
        with Progress(shown=not as_json) as progress:
            record = await control.wait_ready(home, started, timeout_s, progress.show)
    except asyncio.CancelledError:
        await control.down(home)
        raise
    except (control.UpError, ValueError) as fault:
        next_step = "see `millrace doctor` and `millrace logs NAME`"
        raise CommandError(Status.FAILED, str(fault), next_step) from fault
    _show_addresses(home, record, time.monotonic() - began, as_json=as_json)
    if started is not None:
        # It goes on without us: the interpreter would warn of a child that nobody waited for.
        started.returncode = started.returncode or 0
    if foreground:
        await _stay(home)


async def _stay(home: Home) -> None:
    leave = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, leave.set)
    err.print("Ctrl-C stops everything")
    while not leave.is_set():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await leave.wait()
        record = StackRecord.read(home.record)
        if record is None or record.supervisor_pid is None:
            raise CommandError(Status.FAILED, "the supervisor has ended", "see `millrace logs supervisor`")
    await control.down(home)


def _show_addresses(home: Home, record: StackRecord, seconds: float, *, as_json: bool) -> None:
    known = environment(home)
    up_now = {one.name for one in record.processes.values() if one.state in {State.READY, State.OUTSIDE}}
    shown = {name: known[variable] for name, variable in SHOWN.items() if name in up_now and variable in known}
    if as_json:
        body = {"state": record.state, "home": str(home.root), "seconds": round(seconds, 2), "addresses": shown}
        print_json(body | {"places": record.places})
        return
    plain(f"ready after {seconds:.1f} s; state in {home.root}")
    for name, place in record.places.items():
        plain(f"  {name} keeps its data in {place}, since its user cannot enter the state folder")
    for name, address in shown.items():
        plain(f"  {name:9} {address}")


@command
async def down(
    wipe: Annotated[bool, typer.Option("--wipe", help="Delete all data, secrets and logs too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Stop the local stack in order; nothing is left running."""
    home = Home.find()
    began = time.monotonic()
    try:
        with Progress(shown=not as_json) as progress:
            ran = await control.down(home, progress.show)
        if wipe:
            await asyncio.to_thread(control.wipe, home)
    except (OccupiedError, ValueError) as fault:
        raise CommandError(Status.FAILED, str(fault)) from fault
    seconds = time.monotonic() - began
    if as_json:
        print_json({"stopped": ran, "seconds": round(seconds, 2), "wiped": wipe})
    else:
        plain(f"stopped after {seconds:.1f} s" if ran else "nothing was running")


@command
async def status(as_json: AsJson = False) -> Status:
    """Show every process: state, pid, port, uptime, restarts, memory, and how long the last hour's documents took until
    they could be found. Status 3 if the stack does not run.
    """
    home = Home.find()
    record = _record(home)
    if record is None:
        raise CommandError(Status.UNREACHABLE, f"no stack in {home.root}", "`millrace up` starts one")
    lines = control.usage(record)
    alive = any(line.pid for line in lines)
    total = sum(line.pss_bytes or 0 for line in lines)
    running = lines[0].pid is not None and record.state is State.READY
    lag = await recent_lag() if running else []
    if as_json:
        body = {
            "lag": lag,
            "state": record.state,
            "detail": record.detail,
            "home": str(home.root),
            "places": record.places,
        }
        print_json(body | {"pss_bytes": total, "processes": [asdict(line) for line in lines]})
    elif not alive:
        plain(f"{record.state} {record.detail}".rstrip())
    else:
        _show_usage(lines, total)
        for name, place in record.places.items():
            plain(f"{name} keeps its data in {place}")
        for each in lag:
            seconds = ", ".join(f"{name} {each[name]:.2f} s" for name in ("p50", "p95", "p99"))
            plain(f"{each['connector']}: {each['documents']} documents searchable after {seconds} in the last hour")
    return Status.OK if running else Status.UNREACHABLE


def _record(home: Home) -> StackRecord | None:
    try:
        return StackRecord.read(home.record)
    except ValueError as fault:
        raise CommandError(Status.FAILED, str(fault)) from fault


def _show_usage(lines: list[control.Usage], total: int) -> None:
    rows = [
        (
            line.name,
            line.state,
            str(line.pid or ""),
            str(line.port or ""),
            "" if line.uptime_s is None else f"{line.uptime_s:.0f} s",
            str(line.restarts or ""),
            "" if line.pss_bytes is None else f"{line.pss_bytes / MB:.0f} MB",
        )
        for line in lines
    ]
    columns = (whole("name"), "state", whole("pid"), whole("port"), "up", "restarts", "memory")
    print_table(columns, rows, total=("together", "", "", "", "", "", f"{total / MB:.0f} MB"))
    for line in lines:
        if line.detail:
            plain(f"{line.name}: {line.detail}")


@command
async def logs(
    name: Annotated[
        str | None, typer.Argument(help="A process, as `millrace status` names it; all by default.")
    ] = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Show new lines as they come, until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("-n", "--lines", min=0, help="Last lines of each log to begin with.")] = 20,
) -> None:
    """Show what the processes wrote."""
    home = Home.find()
    found = sorted(path.stem for path in (home.root / "logs").glob("*.log"))
    if name is not None and name not in found:
        there = f"there are {', '.join(found)}" if found else "there are none yet"
        raise CommandError(Status.USAGE, f"no log of {name!r}", there)
    wanted = [name] if name else found
    for one in wanted:
        for line in control.tail(home, one, lines).splitlines():
            _show_line(one, line, named=name is None)
    if follow:
        await _follow(home, wanted, named=name is None)


def _show_line(name: str, line: str, *, named: bool) -> None:
    sys.stdout.write(f"{name:10} {line}\n" if named else f"{line}\n")


async def _follow(home: Home, names: list[str], *, named: bool) -> None:
    places = {name: home.log(name).stat().st_size for name in names}
    while True:
        for name in names:
            places[name] = _show_new(home.log(name), name, places[name], named=named)
        sys.stdout.flush()
        await asyncio.sleep(0.2)


def _show_new(path: Path, name: str, place: int, *, named: bool) -> int:
    """Show the whole lines past `place`; return where they end. A log that was cut short is read from its beginning."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(place if size >= place else 0)
        text = file.read()
        end = file.tell()
    whole, _, rest = text.rpartition(b"\n")
    for line in whole.decode(errors="replace").splitlines():
        _show_line(name, line, named=named)
    return end - len(rest)


@command
async def doctor(as_json: AsJson = False) -> Status:
    """Check each thing that the local stack needs, and say what to do about what is missing."""
    findings = await examine(Home.find(), os.environ)
    failed = any(finding.verdict is Verdict.FAILED for finding in findings)
    if as_json:
        print_json({"ok": not failed, "findings": [asdict(finding) for finding in findings]})
        return Status.FAILED if failed else Status.OK
    for finding in findings:
        out.print(f"[{COLOURS[finding.verdict]}]{finding.verdict:8}[/]", end=" ")
        plain(f"{finding.need:16} {finding.detail}")
        if finding.remedy:
            plain(f"{'':9}{'':16} {finding.remedy}", style="bold")
    return Status.FAILED if failed else Status.OK


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    for call in (up, down, status, logs, doctor):
        app.command(call.__name__)(call)
