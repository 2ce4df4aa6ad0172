"""For all tests: where the real sample data is, and real servers, each started when the first test asks for it.

All servers stop at the end. One that cannot be started fails the tests that need it: nothing is skipped. With
MILLRACE_TEST_STACK naming the state folder of a stack that runs already (`millrace up`), that one is used and nothing
is started.
"""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings

from infra.local.stack import Stack
from infra.local.state import ADDRESSES, Home, environment
from infra.local.table import OWN, SERVERS
from tests.live.telemetry.otlp_receiver import Receiver, receiving
from tests.openai_schema.checking import checking

REPOSITORY = Path(__file__).parents[1]
# As it comes it draws every traceback with all its variables, which takes seconds.
structlog.configure(
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]
)
# An example beside a load takes as long as the load wills: that one is slow is no fault of what is tested.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
pytest_plugins = ["tests.faults.table", "tests.sharing"]
Environment = dict[str, str]


class Servers:
    """The servers under test, by name; `stack` is None where a running one is used."""

    def __init__(self, home: Home, stack: Stack | None) -> None:
        self.home = home
        self.stack = stack

    async def __call__(self, *names: str) -> Environment:
        """Return the variables of `names`, each ready. Raises StartError, or AssertionError if one is not there."""
        for name in names:
            if self.stack is not None:
                await self.stack.ensure(name)
        found = environment(self.home)
        missing = [name for name in names if name in SERVERS and ADDRESSES[name][0] not in found]
        assert not missing, f"{self.home.root} runs no {', '.join(missing)}: `millrace up --no-workers` there"
        return found


@pytest.fixture(scope="session")
def _openai_faults() -> Iterator[list[str]]:
    with checking() as found:
        yield found


@pytest.fixture(autouse=True)
def openai_schema(_openai_faults: list[str]) -> Iterator[None]:
    """Every answer in OpenAI's shape keeps to OpenAI's published schema, whatever else a test is about."""
    yield
    found, _openai_faults[:] = list(_openai_faults), []
    assert not found, "\n".join(found[:20])


@pytest.fixture(scope="session")
def sample_data() -> Path:
    """The folder of real data: `MILLRACE_TEST_DATA`, else `shared/data` beside the clone, else the committed sample."""
    given = os.environ.get("MILLRACE_TEST_DATA")
    beside = REPOSITORY.parent / "shared" / "data"
    return Path(given) if given else beside if beside.is_dir() else REPOSITORY / "tests" / "data"


@asynccontextmanager
async def serving() -> AsyncIterator[Servers]:
    """Servers of a stack that ends with the context, or of the running one that the environment names."""
    if reused := os.environ.get("MILLRACE_TEST_STACK"):
        yield Servers(Home.find(Path(reused)), None)
        return
    # Not pytest's own folder: that is closed to the user as whom Postgres runs under root.
    folder = Path(tempfile.mkdtemp(prefix="millrace-test-"))
    folder.chmod(0o711)
    try:
        async with Stack.start(folder / "home", only=set()) as stack:
            yield Servers(stack.home, stack)
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
async def servers() -> AsyncIterator[Servers]:
    """Starts servers by name: `await servers("kafka", "topics")`."""
    async with serving() as found:
        yield found


@pytest.fixture(scope="session")
async def kafka(servers: Servers) -> Environment:
    """A broker with the catalogue's topics."""
    return await servers("kafka", "topics")


@pytest.fixture(scope="session")
async def postgres(servers: Servers) -> Environment:
    """A database with the current schema and workspace `default`."""
    return await servers("postgres", "schema")


@pytest.fixture(scope="session")
async def neo4j(servers: Servers) -> Environment:
    """A graph server."""
    return await servers("neo4j")


@pytest.fixture(scope="session")
async def valkey(servers: Servers) -> Environment:
    """A Redis-speaking server."""
    return await servers("valkey")


@pytest.fixture(scope="session")
async def door(servers: Servers) -> Environment:
    """The local vector door."""
    return await servers("door")


@pytest.fixture(scope="session")
async def stack_environment(
    kafka: Environment, postgres: Environment, neo4j: Environment, valkey: Environment, door: Environment
) -> Environment:
    """Every server, with topics and schema."""
    return kafka | postgres | neo4j | valkey | door


@pytest.fixture(scope="session")
def receiver() -> Iterator[Receiver]:
    """An OTLP receiver, to which every process of the platform exports its spans."""
    with receiving() as found:
        yield found


@pytest.fixture(scope="session")
async def platform(receiver: Receiver) -> AsyncIterator[Servers]:
    """Everything: servers, workers, gateway. Servers of its own: its workers would answer what other tests ask."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint)
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
        async with serving() as found:
            await found(*SERVERS, "model", *OWN)
            yield found
