"""What the stack runs, declared: a program with its readiness, a server that knows how to be one."""

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from infra.local.ports import choose, is_free
from infra.local.record import StackRecord
from infra.local.state import Home, Secrets, addresses, replaced

LOOPBACK = "127.0.0.1"

Tell = Callable[[str], None]
"""Says what is being done or waited for now, for `up` to show."""


class NotReady(Exception):  # noqa: N818 - an observation, not a fault
    """A server has not answered a real request yet; the message says what it did."""


class StartError(Exception):
    """A server cannot be made to run on this machine; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Account:
    """User and group under which a process runs, where that is not the supervisor's own."""

    user: int
    group: int


@dataclass(frozen=True, slots=True)
class Program:
    """A child process: what to run and how to tell that it works."""

    name: str
    command: tuple[str, ...]
    ready: Callable[[], Awaitable[None]]
    """Makes one real request. Raises NotReady (or OSError) until it is answered."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to the supervisor's own."""
    port: int | None = None
    account: Account | None = None
    folder: Path | None = None
    stop_signal: int = 15
    start_within_s: float = 90
    stop_within_s: float = 15
    ask_every_s: float | None = None
    """How often it is asked again once it was ready; None for never. One that ends is noticed in any case."""
    silent_s: float = 30
    """Seconds without an answer after which one that is asked is ended and started again."""

    @property
    def fingerprint(self) -> str:
        """Hash of what makes this process what it is."""
        parts = [*self.command, *(f"{key}={value}" for key, value in sorted(self.environment.items()))]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


class Server(Protocol):
    """One kind of server of the local stack."""

    @property
    def artifacts(self) -> tuple[str, ...]:
        """What it needs from the lock file."""

    async def prepare(self, tell: Tell) -> None:
        """Make its data folder and configuration; called before each start. Raises StartError."""

    def program(self) -> Program:
        """Return what to run, once prepared."""


@dataclass(slots=True)
class Site:
    """Where a stack stands: folder, secrets, and the record with its ports."""

    home: Home
    secrets: Secrets
    record: StackRecord
    cache: Path

    def port(self, name: str, preferred: int | None = None) -> int:
        """Return the port remembered for `name`; choose one at first."""
        if name not in self.record.ports:
            self.record.ports[name] = choose(set(self.record.ports.values()), preferred)
        return self.record.ports[name]

    def forget_taken_ports(self, names: tuple[str, ...]) -> None:
        """Forget the remembered ports of `names` on which somebody else listens by now."""
        for name in names:
            if name in self.record.ports and not is_free(self.record.ports[name]):
                del self.record.ports[name]

    def environment(self) -> dict[str, str]:
        """Return the variables by which the processes of this stack reach each other."""
        made = addresses(self.home, self.secrets, self.record.ports, self.record.llm)
        return replaced(made | {"MILLRACE_HOME": str(self.home.root)}, self.record.outside)
