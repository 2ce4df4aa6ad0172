"""The local vector door: Qdrant's own engine behind the part of its REST API that `qdrant-client` speaks."""

import sys

from infra.local.http import answers
from infra.local.program import LOOPBACK, Program, Site, Tell


class Door:
    """The vectors."""

    name = "door"
    artifacts: tuple[str, ...] = ()

    def __init__(self, site: Site) -> None:
        self._site = site

    async def prepare(self, tell: Tell) -> None:  # noqa: ARG002 - every server is prepared alike
        """Make its folder."""
        self._site.home.data(self.name).mkdir(mode=0o700, parents=True, exist_ok=True)

    def program(self) -> Program:
        """Return the server. Its key goes by the environment, not by the command line."""
        port, key = self._site.port(self.name), self._site.secrets.door
        return Program(
            name=self.name,
            command=(sys.executable, "-m", "infra.qdrant.door"),
            environment={
                "MILLRACE_DOOR_HOST": LOOPBACK,
                "MILLRACE_DOOR_PORT": str(port),
                "MILLRACE_DOOR_ROOT": str(self._site.home.data(self.name)),
                "QDRANT_API_KEY": key,
            },
            port=port,
            # Behind the key, unlike /readyz: so it also proves that the key is the right one.
            ready=lambda: answers(LOOPBACK, port, "/collections", {"api-key": key}),
        )
