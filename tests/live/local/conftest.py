"""A stack of a test's own, by the command line that users have."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from infra.local.control import Usage, usage
from infra.local.processes import adopt
from infra.local.record import StackRecord
from infra.local.state import ADDRESSES, Home, environment

OUR_OWN = {name for names in ADDRESSES.values() for name in names} | {"MILLRACE_SECRET_KEY", "MILLRACE_GATEWAY_URL"}


@dataclass
class Local:
    """One state folder and the commands on it. `said` holds everything that they printed."""

    home: Home
    more: dict[str, str] = field(default_factory=dict)
    said: str = ""

    def __call__(self, *arguments: str, expected: int = 0) -> str:
        """Run `millrace …` and return what it printed; its exit status must be `expected`."""
        clean = {name: value for name, value in os.environ.items() if name not in OUR_OWN}
        done = subprocess.run(
            [sys.executable, "-m", "infra.cli.main", *arguments],
            env=clean | {"MILLRACE_HOME": str(self.home.root)} | self.more,
            capture_output=True,
            text=True,
            check=False,
            timeout=150,
        )
        self.said += done.stdout + done.stderr
        assert done.returncode == expected, done.stdout + done.stderr
        return done.stdout

    def status(self) -> dict[str, Usage]:
        """Return the lines of `millrace status` by name."""
        return {line.name: line for line in usage(recorded(self))}

    @property
    def environment(self) -> dict[str, str]:
        return environment(self.home)

    def pids(self) -> dict[str, int]:
        """Return the pids of what runs, by name."""
        return {name: line.pid for name, line in self.status().items() if line.pid}

    def kill(self, name: str) -> None:
        """Kill one process the hard way and wait until it is gone."""
        process = psutil.Process(self.pids()[name])
        process.kill()
        psutil.wait_procs([process], timeout=10)

    def left(self) -> list[str]:
        """Return the command lines of all processes that know this state folder."""
        needle = os.fsencode(self.home.root)
        found = []
        for process in psutil.process_iter():
            try:
                held = Path(f"/proc/{process.pid}/environ").read_bytes() + " ".join(process.cmdline()).encode()
                if needle in held and process.pid != os.getpid():
                    found.append(" ".join(process.cmdline())[:200])
            except (psutil.NoSuchProcess, OSError):
                continue
        return found


@pytest.fixture
def make() -> Iterator[Callable[..., Local]]:
    """Makes stacks in folders of their own, and ends them with the test."""
    made: list[tuple[Local, Path]] = []

    def one(mode: int = 0o711, **more: str) -> Local:
        folder = Path(tempfile.mkdtemp(prefix="millrace-local-"))
        folder.chmod(mode)
        local = Local(Home(folder / "home"), more)
        made.append((local, folder))
        return local

    yield one
    for local, folder in made:
        if local.home.root.exists():
            local("down", "--wipe")
        shutil.rmtree(folder)


@pytest.fixture
def local(make: Callable[..., Local]) -> Local:
    """One stack, not started."""
    return make()


def recorded(local: Local) -> StackRecord:
    """Return the record of a stack that has been started."""
    record = StackRecord.read(local.home.record)
    assert record is not None
    return record


def runs(local: Local) -> set[str]:
    """Return the names of the processes that really run."""
    return {one.name for one in recorded(local).processes.values() if adopt(one)}
