"""What a command knows of its surroundings: the environment, completed by the state folder of the local stack."""

import os
from pathlib import Path

from infra.settings import ProcessSettings, load

KEY_FILE = "api_key"
"""Holds the key of workspace `default` that the first start made, mode 0600."""


def adopt_local_stack() -> Path:
    """Add the addresses of the stack in MILLRACE_HOME to this process's environment; what is set already wins.

    Returns the state folder, which need not exist: then only the real environment counts.
    """
    from infra.local import state

    home = load(ProcessSettings).home
    if home.exists():
        for name, value in state.environment(home).items():
            os.environ.setdefault(name, value)
    return home


def local_api_key(home: Path) -> str:
    """Return the local stack's own API key, empty if there is none that this user may read."""
    try:
        return (home / KEY_FILE).read_text().strip()
    except (FileNotFoundError, PermissionError):
        return ""
