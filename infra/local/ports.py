"""Ports of a stack: chosen free on loopback, and kept from start to start."""

import random
import secrets
import socket

LOWEST, HIGHEST = 20_000, 32_000
"""Below the range from which Linux takes ports for outgoing connections: a port kept here stays free meanwhile."""
ATTEMPTS = 200


class NoFreePortError(Exception):
    """No port could be bound; the message says what to look at."""


def is_free(port: int) -> bool:
    """Tell whether a server could listen on 127.0.0.1:`port` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a port whose last connections are still being forgotten is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def choose(taken: set[int], preferred: int | None = None) -> int:
    """Return a free port that is not in `taken`: `preferred` if it can be had, else a random one.

    Random, so that two stacks that start at the same moment do not choose alike. Raises NoFreePortError.
    """
    dice = random.Random(secrets.randbits(64))  # noqa: S311 - seeded apart from tests that fix the global seed
    candidates = [preferred] if preferred else []
    candidates += [dice.randrange(LOWEST, HIGHEST) for _ in range(ATTEMPTS)]
    for port in candidates:
        if port not in taken and is_free(port):
            return port
    raise NoFreePortError(f"no free port between {LOWEST} and {HIGHEST} on 127.0.0.1; `ss -ltn` shows who listens")
