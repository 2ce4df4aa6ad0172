"""Runs programs of other languages and environments."""

import asyncio
import os
import sys
from pathlib import Path

PROGRAMS = Path(sys.executable).parent


async def ran(folder: Path, *command: str | Path, **told: str) -> tuple[int | None, str]:
    """Run a program in `folder`; return its exit status and what it printed.

    Programs that came as wheels find each other. They trust the machine's authorities: a company's proxy signs with one
    of those.
    """
    path = os.pathsep.join((str(PROGRAMS), os.environ.get("PATH", "")))
    trusting = {"NODE_OPTIONS": "--use-system-ca", "UV_SYSTEM_CERTS": "true", "UV_NATIVE_TLS": "true"}
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env=os.environ | {"PATH": path} | trusting | told,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()
