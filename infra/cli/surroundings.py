"""What a command knows of its surroundings: the environment, completed by the state folder of the local stack."""

import os

from infra.cli.terminal import CommandError, Status
from infra.local.state import Home, environment


def adopt_local_stack() -> Home:
    """Add the addresses of the stack in MILLRACE_HOME to this process's environment; what is set already wins.

    Returns the state folder, which need not exist: then only the real environment counts. Raises CommandError if it
    cannot be read.
    """
    home = Home.find()
    try:
        found = environment(home)
    except PermissionError as error:
        message = f"{error.filename} belongs to another user"
        raise CommandError(Status.REFUSED, message, "run as the user who started the stack") from error
    except ValueError as error:
        raise CommandError(Status.FAILED, str(error)) from error
    for name, value in found.items():
        os.environ.setdefault(name, value)
    return home


def local_api_key(home: Home) -> str:
    """Return the local stack's own API key, empty if there is none that this user may read."""
    try:
        return home.api_key.read_text().strip()
    except (FileNotFoundError, PermissionError):
        return ""
