"""Runs programs of other languages and environments."""

import asyncio
import os
import sys
from pathlib import Path

from tests.authorities import TRUSTING

PROGRAMS = Path(sys.executable).parent


async def ran(folder: Path, *command: str | Path, **told: str) -> tuple[int | None, str]:
    """Run a program in `folder`; return its exit status and what it printed.

    Programs that came as wheels find each other, and trust the machine's authorities.
    """
    path = os.pathsep.join((str(PROGRAMS), os.environ.get("PATH", "")))
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env=os.environ | {"PATH": path} | TRUSTING | told,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()
