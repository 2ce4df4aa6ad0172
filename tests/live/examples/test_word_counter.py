"""The worker of the guide, on the real broker and database."""

import asyncio
import importlib.util
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from uuid import uuid4

import asyncpg
import pytest
from aiokafka.partitioner import DefaultPartitioner

from infra.kafka.codec import new_envelope
from infra.kafka.producer import Publisher
from infra.kafka.runtime import Runtime
from infra.objects.store import ObjectStore
from schemas.documents import DocumentVersion
from tests.conftest import Environment
from tests.events import document
from tests.eventually import eventually
from topics.catalogue import DOCUMENTS

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "word_counter.py"


@pytest.fixture
def example(postgres: Environment, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setenv("POSTGRES_DSN", postgres["POSTGRES_DSN"])
    spec = importlib.util.spec_from_file_location("word_counter", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    # a group of this run's own: on a broker that other tests use, the example would go on from its last commit
    module.worker.group = f"millrace.word_counter.{uuid4().hex}"
    return module


@pytest.fixture
async def publisher(kafka: Environment, tmp_path: Path) -> AsyncIterator[Publisher]:
    objects = ObjectStore.open((tmp_path / "objects").as_uri())
    opened = await Publisher.open([kafka["KAFKA_BOOTSTRAP_SERVERS"]], objects)
    yield opened
    await opened.close()


@pytest.fixture
async def running(example: ModuleType, kafka: Environment, publisher: Publisher, tmp_path: Path) -> AsyncIterator[None]:
    objects = ObjectStore.open((tmp_path / "objects").as_uri())
    runtime = Runtime(example.worker, [kafka["KAFKA_BOOTSTRAP_SERVERS"]], publisher, objects)
    task = asyncio.create_task(runtime.run())
    yield
    runtime.stop()
    await task


async def publish(publisher: Publisher, version: DocumentVersion) -> None:
    await publisher.publish(DOCUMENTS, version, new_envelope(version, id=version.event_id, source="/test"))


def neighbour(version: DocumentVersion) -> str:
    """Return the external id of a document in the same partition: once it is counted, what stood before it was read."""
    partitions = list(range(DOCUMENTS.partitions))

    def partition(external_id: str) -> int:
        key = DOCUMENTS.key(document(workspace=version.workspace, external_id=external_id)).encode()
        return int(DefaultPartitioner()(key, partitions, partitions))

    wanted = partition(version.external_id)
    return next(name for name in map(str, range(1_000)) if partition(name) == wanted)


async def test_the_guides_worker_counts_words_and_keeps_the_newest(
    running: None, publisher: Publisher, postgres: Environment
) -> None:
    workspace = f"w-{uuid4().hex[:12]}"
    connection = await asyncpg.connect(postgres["POSTGRES_DSN"])

    async def counts() -> list[tuple[int, int]]:
        try:
            rows = await connection.fetch(
                "select version, words from word_counts where workspace = $1 order by words", workspace
            )
        except asyncpg.UndefinedTableError:
            return []
        return [(row["version"], row["words"]) for row in rows]

    async def arrived(expected: list[tuple[int, int]]) -> None:
        async def same() -> bool:
            return await counts() == expected

        await eventually(same, within=30)

    try:
        await publish(publisher, document("three short words", version=2, workspace=workspace, external_id="a"))
        await arrived([(2, 3)])
        await publish(publisher, document("", version=3, workspace=workspace, external_id="a"))
        await arrived([(3, 0)])
        await publish(publisher, document("late and older", version=1, workspace=workspace, external_id="a"))
        behind = neighbour(document(workspace=workspace, external_id="a"))
        await publish(publisher, document("a b c d e", version=1, workspace=workspace, external_id=behind))
        await arrived([(3, 0), (1, 5)])
    finally:
        await connection.close()
