"""Neo4j community on loopback, Bolt only. Small heap and page cache; see `infra.local.probe` for its warm-up."""

import asyncio
import hashlib
import secrets

from infra.local.probe import passes
from infra.local.program import LOOPBACK, Program, Site, Tell
from infra.local.servers import java
from infra.local.state import write_private

HEAP_MB = (64, 300)
OPENED = tuple(f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in ("java.nio", "java.io", "sun.nio.ch"))
MEMORY_ACCESS = "--sun-misc-unsafe-memory-access=allow"
"""Neo4j 5 uses what Java 24 and newer warn of; the option is unknown to Java 22 and older."""
ITERATIONS = 1024

# No folder is named: the defaults lie below --home-dir, and a path beyond ASCII is not read back as written.
SETTINGS = """\
server.bolt.enabled=true
server.bolt.listen_address={host}:{port}
server.bolt.advertised_address={host}:{port}
server.bolt.thread_pool_min_size=2
server.bolt.thread_pool_max_size=64
server.http.enabled=false
server.https.enabled=false
server.default_listen_address={host}
server.default_advertised_address={host}
server.memory.pagecache.size=64m
internal.server.bolt.thread_pool_shutdown_wait_time=200ms
db.tx_log.preallocate=false
db.tx_log.rotation.size=16m
db.tx_log.rotation.retention_policy=keep_none
dbms.usage_report.enabled=false
server.jvm.additional=
"""


def credentials(password: str, salt: bytes) -> str:
    """Return the line of `auth.ini` that gives user `neo4j` this password at the first start.

    The format is that of Neo4j's own `dbms set-initial-password` (SHA-256 over salt and password, then over its own
    digest, 1,024 rounds in all). Written here, since the tool takes the password on its command line, and 2 s of Java.
    """
    digest = hashlib.sha256(salt + password.encode()).digest()
    for _ in range(ITERATIONS - 1):
        digest = hashlib.sha256(digest).digest()
    return f"neo4j:SHA-256,{digest.hex()},{salt.hex()},{ITERATIONS}:\n"


class Neo4j:
    """The graph."""

    name = "neo4j"
    artifacts: tuple[str, ...] = ("neo4j",)

    def __init__(self, site: Site) -> None:
        self._site = site
        self._root = site.home.data(self.name)
        self._environment: dict[str, str] = {}

    async def prepare(self, tell: Tell) -> None:
        """Write its configuration, check the jars, and set the password before the first start."""
        folder = self._site.home.run / "neo4j"
        for made in (self._root, folder):
            made.mkdir(mode=0o700, parents=True, exist_ok=True)
        settings = SETTINGS.format(host=LOOPBACK, port=self._site.port(self.name))
        write_private(folder / "neo4j.conf", settings)
        # Read at the very first start only, when the system database is made.
        if not (self._root / "data" / "databases").exists():
            tell("setting its password")
            auth = self._root / "data" / "dbms" / "auth.ini"
            auth.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private(auth, credentials(self._site.secrets.neo4j, secrets.token_bytes(32)))
        self._environment = await asyncio.to_thread(java.environment, "neo4j", self._site.cache)

    def program(self) -> Program:
        """Return the server."""
        folder = self._site.home.run / "neo4j"
        flags = (*OPENED, MEMORY_ACCESS) if java.major() >= 23 else OPENED  # noqa: PLR2004 - JEP 471
        return Program(
            name=self.name,
            command=(
                *java.command(HEAP_MB, "org.neo4j.server.CommunityEntryPoint", flags),
                f"--home-dir={self._root}",
                f"--config-dir={folder}",
            ),
            environment=self._environment,
            port=self._site.port(self.name),
            ready=lambda: passes("neo4j", self._site.environment()),
            start_within_s=180,
            stop_within_s=30,
        )
