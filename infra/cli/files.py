"""Which files of a folder are documents, found without reading more than their first bytes."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

PASSED_OVER = frozenset({"node_modules", "__pycache__", "venv", "CVS"})
"""Folders that hold other people's files or derived ones; hidden folders (.git, .hg, .venv, …) are passed over too."""

CONTAINERS = frozenset({".pdf", ".docx"})
"""Binary formats that become text; any other file with a NUL byte in front is taken for binary, as git does."""

SNIFFED_BYTES = 8_000
"""How far git looks for a NUL byte (buffer_is_binary in xdiff-interface.c)."""

_WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff")
"""Byte order marks of UTF-16 and UTF-32: text full of NUL bytes."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file to be ingested. `external_id`: its path relative to the ingested folder, with `/`: the same next time."""

    path: Path
    external_id: str
    size: int


@dataclass(frozen=True, slots=True)
class Left:
    """A file that is left out, and why. `failed` if the user named it or it could not be read."""

    name: str
    reason: str
    failed: bool


@dataclass(frozen=True, slots=True)
class Selection:
    """What the user wants of a folder. Empty `suffixes` takes every text file, PDF and DOCX."""

    suffixes: frozenset[str] = frozenset()
    excluded: tuple[str, ...] = ()
    """Shell patterns, matched against the relative path and the file's name."""

    @classmethod
    def of(cls, suffixes: Iterable[str], excluded: Sequence[str]) -> "Selection":
        """Return a selection; suffixes may be given as `md` or `.md`, in any case."""
        return cls(frozenset(f".{suffix.lower().lstrip('.')}" for suffix in suffixes), tuple(excluded))

    def takes(self, external_id: str) -> bool:
        """Say whether the file at `external_id` is wanted."""
        name = external_id.rpartition("/")[2]
        if self.suffixes and Path(name).suffix.lower() not in self.suffixes:
            return False
        return not any(fnmatch(external_id, pattern) or fnmatch(name, pattern) for pattern in self.excluded)


def find(path: Path, selection: Selection) -> Iterator[Found | Left]:
    """Yield what is at `path`: a file as it is, a folder with all its files but hidden ones, sorted by path."""
    if path.is_dir():
        yield from _folder(path, selection)
    elif path.exists():
        yield _look(path, path.name, named=True)
    else:
        yield Left(str(path), "does not exist", failed=True)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, hexadecimal. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _folder(root: Path, selection: Selection) -> Iterator[Found | Left]:
    unreadable: list[Left] = []

    def refused(error: OSError) -> None:
        unreadable.append(Left(str(error.filename), error.strerror or str(error), failed=True))

    for folder, folders, names in os.walk(root, onerror=refused):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in PASSED_OVER)
        for name in sorted(names):
            path = Path(folder) / name
            external_id = path.relative_to(root).as_posix()
            if not name.startswith(".") and selection.takes(external_id):
                yield _leaves(root, path, external_id) or _look(path, external_id, named=False)
    yield from unreadable


def _leaves(root: Path, path: Path, external_id: str) -> Left | None:
    """A link out of the folder would ingest what nobody asked for."""
    if path.is_symlink() and not path.resolve().is_relative_to(root.resolve()):
        return Left(external_id, "a link that leaves the folder", failed=False)
    return None


def _look(path: Path, external_id: str, *, named: bool) -> Found | Left:
    try:
        if not path.is_file():
            return Left(external_id, "not a regular file", failed=named)
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(SNIFFED_BYTES)
    except OSError as error:
        return Left(external_id, error.strerror or str(error), failed=True)
    if not size:
        return Left(external_id, "empty", failed=named)
    binary = b"\0" in start and not start.startswith(_WIDE_MARKS)
    if binary and path.suffix.lower() not in CONTAINERS:
        return Left(external_id, f"unsupported: binary {path.suffix or 'file'}", failed=named)
    return Found(path, external_id, size)
