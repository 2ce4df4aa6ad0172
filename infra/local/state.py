"""The state folder of a stack: where it is, its secrets, and the addresses that processes and commands use.

`MILLRACE_HOME` (by default `.millrace/` in the current folder) holds `stack.json` (addresses, ports, pids),
`secrets.json`, `api_key`, `logs/`, `data/<server>/`, `objects/` and `run/` (generated configuration). What is secret
has mode 0600 from the moment it exists, and folders with content have 0700.
"""

import base64
import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from infra.llama.weights import called
from infra.local.record import StackRecord

GATEWAY = "MILLRACE_GATEWAY_URL"
ADDRESSES = {
    "kafka": ("KAFKA_BOOTSTRAP_SERVERS",),
    "postgres": ("POSTGRES_DSN",),
    "neo4j": ("NEO4J_URI", "NEO4J_USER", "NEO4J_PASSWORD"),
    "valkey": ("REDIS_URL",),
    "door": ("QDRANT_URL", "QDRANT_API_KEY"),
    "objects": ("OBJECT_STORE_URL",),
    "llm": ("INFERENCE_URL", "INFERENCE_API_KEY", "INFERENCE_MODEL"),
}
"""Variables by server. The first one, given in the environment, replaces the server by an outside one."""


def write_private(path: Path, content: str) -> None:
    """Write a file that only its owner may read; it appears whole or not at all."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.unlink(missing_ok=True)
    with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


@dataclass(frozen=True, slots=True)
class Home:
    """Paths of one state folder."""

    root: Path

    @classmethod
    def find(cls, given: Path | None = None) -> "Home":
        """Return the folder named by `given`, else by `MILLRACE_HOME`, else `.millrace` in the current folder."""
        return cls((given or Path(os.environ.get("MILLRACE_HOME") or ".millrace")).expanduser().absolute())

    @property
    def record(self) -> Path:
        """Addresses, ports and pids."""
        return self.root / "stack.json"

    @property
    def secrets(self) -> Path:
        """Passwords and keys."""
        return self.root / "secrets.json"

    @property
    def api_key(self) -> Path:
        """Key of workspace `default`."""
        return self.root / "api_key"

    @property
    def lock(self) -> Path:
        """Held by the one supervisor of this folder while it lives."""
        return self.root / "lock"

    @property
    def objects(self) -> Path:
        """The object store."""
        return self.root / "objects"

    @property
    def run(self) -> Path:
        """Configuration written at each start."""
        return self.root / "run"

    def data(self, server: str) -> Path:
        """Where `server` keeps its data."""
        return self.root / "data" / server

    def log(self, name: str) -> Path:
        """Log file of process `name`."""
        return self.root / "logs" / f"{name}.log"

    @property
    def tag(self) -> str:
        """A short name of this folder that is unlike that of any other folder."""
        return hashlib.sha256(os.fsencode(self.root)).hexdigest()[:12]

    def create(self) -> None:
        """Make the folders that are missing.

        `data` itself may be traversed by all: as root, Postgres runs as `nobody` and must reach its own folder in it.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        (self.root / "data").mkdir(exist_ok=True)
        for folder in (self.objects, self.run, self.root / "logs"):
            folder.mkdir(mode=0o700, exist_ok=True)
            folder.chmod(0o700)


@dataclass(frozen=True, slots=True)
class Secrets:
    """What only this stack knows. `stack` tells this stack from an earlier one in the same folder."""

    stack: str
    postgres: str
    neo4j: str
    valkey: str
    door: str
    secret_key: str
    llm: str = ""
    """Empty in a folder that was made before there was one."""

    def __repr__(self) -> str:
        return "Secrets(…)"

    @classmethod
    def read(cls, home: Home) -> "Secrets | None":
        """Return the secrets of `home`, None before its first start."""
        try:
            return cls(**json.loads(home.secrets.read_text()))
        except FileNotFoundError:
            return None

    @classmethod
    def ensure(cls, home: Home) -> "Secrets":
        """Return the secrets of `home`, generated on first use."""
        if (known := cls.read(home)) is not None:
            return known if known.llm else known._with_llm(home)
        made = cls(
            stack=secrets.token_hex(4),
            postgres=secrets.token_urlsafe(24),
            neo4j=secrets.token_urlsafe(24),
            valkey=secrets.token_urlsafe(24),
            door=secrets.token_urlsafe(24),
            secret_key=base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        )
        return made._with_llm(home)

    def _with_llm(self, home: Home) -> "Secrets":
        """Return these with a key for the model server, and keep them."""
        whole = replace(self, llm=secrets.token_urlsafe(24))
        write_private(home.secrets, json.dumps(asdict(whole), indent=1))
        return whole


def outside(given: Mapping[str, str]) -> dict[str, str]:
    """Return those variables of `given` that replace a server by an outside one, with what belongs to them."""
    found: dict[str, str] = {}
    for address, *others in ADDRESSES.values():
        if given.get(address):
            found |= {name: given[name] for name in (address, *others) if given.get(name)}
    return found


def addresses(home: Home, secrets: Secrets, ports: Mapping[str, int], llm: str = "") -> dict[str, str]:
    """Return the variables of the servers that this stack runs itself, as far as their ports are known.

    `llm` is the language model that it runs, empty for none.
    """
    at = "127.0.0.1"
    made = {"OBJECT_STORE_URL": home.objects.as_uri(), "MILLRACE_SECRET_KEY": secrets.secret_key}
    if port := ports.get("kafka"):
        made["KAFKA_BOOTSTRAP_SERVERS"] = f"{at}:{port}"
    if port := ports.get("postgres"):
        made["POSTGRES_DSN"] = f"postgresql://millrace:{secrets.postgres}@{at}:{port}/millrace"
    if port := ports.get("neo4j"):
        made |= {"NEO4J_URI": f"bolt://{at}:{port}", "NEO4J_USER": "neo4j", "NEO4J_PASSWORD": secrets.neo4j}
    if port := ports.get("valkey"):
        made["REDIS_URL"] = f"redis://:{secrets.valkey}@{at}:{port}/0"
    if port := ports.get("door"):
        made |= {"QDRANT_URL": f"http://{at}:{port}", "QDRANT_API_KEY": secrets.door}
    if llm and (port := ports.get("llm")):
        made |= {"INFERENCE_URL": f"http://{at}:{port}/v1", "INFERENCE_API_KEY": secrets.llm}
        made["INFERENCE_MODEL"] = called(llm)
    if port := ports.get("gateway"):
        made[GATEWAY] = f"http://{at}:{port}"
    return made


def replaced(made: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """Return `made` with what `given` replaces: an outside server's address takes all of its variables with it."""
    left = dict(made)
    for address, *others in ADDRESSES.values():
        if given.get(address):
            for name in (address, *others):
                left.pop(name, None)
    for name in (*left, *(name for names in ADDRESSES.values() for name in names)):
        if given.get(name):
            left[name] = given[name]
    return left


def environment(home: Path | Home | None = None) -> dict[str, str]:
    """Return the variables by which processes and commands reach the stack in `home`; the real environment wins.

    Before the first `up` only what stands in the environment is there.
    """
    found = home if isinstance(home, Home) else Home.find(home)
    made: dict[str, str] = {}
    record, known = StackRecord.read(found.record), Secrets.read(found)
    if record is not None and known is not None:
        made = replaced(addresses(found, known, record.ports, record.llm), record.outside)
    made["MILLRACE_HOME"] = str(found.root)
    return replaced(made, os.environ)
