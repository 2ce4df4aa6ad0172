"""`millrace work` and `millrace gateway`: become a process of the platform, with the local stack's addresses."""

import os
import sys
from typing import Annotated, NoReturn

import typer

from infra.cli.surroundings import adopt_local_stack


def work(
    names: Annotated[list[str], typer.Argument(help="Workers to host, for example: normalizer embedder.")],
) -> None:
    """Run workers in this process, each in its own consumer group. Logs are JSON lines on stderr."""
    _become("workers.host", *names)


def gateway() -> None:
    """Run the HTTP gateway in this process. Logs are JSON lines on stderr."""
    _become("gateway")


def _become(module: str, *arguments: str) -> NoReturn:
    """Replace this process: a supervisor's signals then reach the workers and not a parent that waits for them."""
    adopt_local_stack()
    os.execve(sys.executable, [sys.executable, "-m", module, *arguments], dict(os.environ))  # noqa: S606 - no shell
