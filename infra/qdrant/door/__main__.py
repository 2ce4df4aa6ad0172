"""`python -m infra.qdrant.door`: run the vector door until SIGTERM."""

import sys

import uvicorn

from infra.qdrant.door.app import build
from infra.qdrant.door.catalogue import Occupied, Unreadable
from infra.qdrant.door.faults import Fault
from infra.qdrant.door.routes import ROUTES
from infra.qdrant.door.settings import DoorSettings
from infra.qdrant.door.store import Store
from infra.settings import ProcessSettings, SettingsError, load
from infra.telemetry import logs

KEEP_ALIVE_S = 75
"""Longer than any client keeps an idle connection (httpx: 5 s): the side that sends must be the one to hang up."""


def run() -> int:
    """Serve; return the exit code: 0 stopped, 1 the folder cannot be opened, 2 bad settings."""
    try:
        logs.configure(load(ProcessSettings).log_level)
        settings = load(DoorSettings)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    try:
        store = Store.open(settings.root)
    except (Occupied, Unreadable, Fault, OSError) as error:
        sys.stderr.write(f"cannot open {settings.root}: {error}\n")
        return 1
    uvicorn.run(
        build(settings, store, ROUTES),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        ws="none",
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=5,
    )
    return 0


if __name__ == "__main__":
    sys.exit(run())
