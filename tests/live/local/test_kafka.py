"""The broker's first start."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from infra.local.servers import kafka
from infra.local.stack import Stack


@pytest.fixture
def home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="millrace-kafka-") as folder:
        yield Path(folder) / "home"


async def test_a_cluster_id_that_begins_with_a_dash_is_no_option(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka.uuid, "uuid4", lambda: UUID(bytes=b"\xf8" * 16))
    async with Stack.start(home, only={"kafka"}) as stack:
        assert stack.environment["KAFKA_BOOTSTRAP_SERVERS"]
    assert "cluster.id=-" in (home / "data" / "kafka" / "meta.properties").read_text()
