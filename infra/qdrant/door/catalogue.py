"""Which collections exist, where their shards lie, and what the aliases point at: one file, replaced atomically.

A collection exists from the moment the file names it and is gone from the moment it does not. Shards are made before
and removed after, so a crash in between leaves at most a folder that no entry names (removed at the next start).
"""

import fcntl
import os
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

FORMAT = 1
_FILE, _LOCK = "catalogue.json", "lock"
_LOOKS = 10


class Occupied(Exception):  # noqa: N818 - reads as the outcome that it is
    """Another process owns the root folder."""


class Unreadable(Exception):  # noqa: N818 - reads as the outcome that it is
    """The catalogue is of another format; nothing is touched."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One collection."""

    folder: str
    definition: dict[str, Any]
    """Body of the request that made it, with later changes merged in."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """A state of the catalogue. Changing it means writing a new one."""

    collections: dict[str, Entry]
    aliases: dict[str, str]
    """Alias -> collection name."""

    def with_collection(self, name: str, entry: Entry) -> "Catalogue":
        """Return a catalogue with one collection added or replaced."""
        return replace(self, collections={**self.collections, name: entry})

    def without_collection(self, name: str) -> "Catalogue":
        """Return a catalogue without a collection and its aliases."""
        return Catalogue(
            {other: entry for other, entry in self.collections.items() if other != name},
            {alias: target for alias, target in self.aliases.items() if target != name},
        )

    def with_aliases(self, aliases: dict[str, str]) -> "Catalogue":
        """Return a catalogue with all its aliases replaced."""
        return replace(self, aliases=aliases)


def read(root: Path) -> Catalogue:
    """Read the catalogue of a root folder; an empty one if there is none. Raises Unreadable, OSError."""
    path = root / _FILE
    if not path.exists():
        return Catalogue({}, {})
    stored = orjson.loads(path.read_bytes())
    if stored.get("format") != FORMAT:
        raise Unreadable(f"{path} has format {stored.get('format')}, this version reads {FORMAT}")
    entries = {name: Entry(**entry) for name, entry in stored["collections"].items()}
    return Catalogue(entries, stored["aliases"])


def write(root: Path, catalogue: Catalogue) -> None:
    """Replace the catalogue; on return it survives a power cut. Raises OSError."""
    stored = {
        "format": FORMAT,
        "collections": {
            name: {"folder": entry.folder, "definition": entry.definition}
            for name, entry in catalogue.collections.items()
        },
        "aliases": catalogue.aliases,
    }
    fresh = root / f"{_FILE}.new"
    with fresh.open("wb") as file:
        file.write(orjson.dumps(stored))
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(root / _FILE)
    sync_folder(root)


def sync_folder(folder: Path) -> None:
    """Make a folder's entries survive a power cut: a rename or a new file is durable only after this."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(folder: Path) -> None:
    """Make all files and folders below `folder` survive a power cut.

    Raises FileNotFoundError if something vanishes at every one of some looks.
    """
    for _ in range(_LOOKS - 1):
        # Threads of the engine rename files of their own: what has another name by now is found by looking again.
        with suppress(FileNotFoundError):
            return _sync_tree(folder)
    return _sync_tree(folder)


def _sync_tree(folder: Path) -> None:
    for path, _, files in os.walk(folder):
        for name in files:
            handle = os.open(Path(path) / name, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        sync_folder(Path(path))


def lock(root: Path) -> int:
    """Take the root folder for this process; return the handle that holds it. Raises Occupied.

    The kernel lets go of the lock when the process dies, however it dies.
    """
    handle = os.open(root / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise Occupied(f"{root} belongs to another vector door that is running") from error
    return handle
