"""`stack.json`: what the supervisor knows, for `up`, `status`, `down` and the next supervisor to read.

It is replaced whole (written aside, renamed), so a reader never sees half of it and a `kill -9` loses nothing.
"""

import json
import os
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

VERSION = 1


class State(StrEnum):
    """Where a process or a step of the start stands."""

    WAITING = "waiting"
    PREPARING = "preparing"
    STARTING = "starting"
    READY = "ready"
    DONE = "done"
    RESTARTING = "restarting"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"
    OUTSIDE = "outside"


@dataclass(slots=True)
class ProcessRecord:
    """One process (or one step, which has no pid) of the stack."""

    name: str
    state: State = State.WAITING
    detail: str = ""
    since: float = 0
    """Unix time at which it entered this state."""
    pid: int | None = None
    started: float = 0
    """Start time of the process as the system tells it: with the pid it names one process and no other."""
    program: str = ""
    """File name of its executable."""
    fingerprint: str = ""
    """Hash of its command and environment: a running process with another one is replaced, not adopted."""
    port: int | None = None
    restarts: int = 0
    adopted: bool = False


@dataclass(slots=True)
class StackRecord:
    """The whole stack."""

    version: int = VERSION
    state: State = State.STOPPED
    detail: str = ""
    began: float = 0
    ready_after_s: float | None = None
    supervisor_pid: int | None = None
    supervisor_started: float = 0
    wanted: list[str] = field(default_factory=list)
    ports: dict[str, int] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    """Folders outside of the state folder, by what they hold."""
    outside: dict[str, str] = field(default_factory=dict)
    """Variables of outside servers, as `up` found them in its environment. May hold secrets: never shown."""
    llm: str = ""
    """The language model that runs here: the name of a pinned one or the path of a file; empty for none."""
    processes: dict[str, ProcessRecord] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Return what `path` holds, None if there is none. Raises ValueError if another version wrote it."""
        try:
            found: dict[str, Any] = json.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        if found.get("version") != VERSION:
            raise ValueError(f"{path} was written by another version of Millrace; stop that stack with it first")
        known = {item.name for item in fields(ProcessRecord)}
        found["processes"] = {
            name: ProcessRecord(
                **{key: value for key, value in one.items() if key in known} | {"state": State(one["state"])}
            )
            for name, one in found["processes"].items()
        }
        found["state"] = State(found["state"])
        own = {item.name for item in fields(cls)}
        return cls(**{key: value for key, value in found.items() if key in own})

    def write(self, path: Path) -> None:
        """Replace `path`. Not flushed to disk: after a power cut no process of it is left anyway."""
        aside = path.with_name(f".{path.name}.{os.getpid()}")
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(asdict(self), file, indent=1)
        aside.replace(path)
