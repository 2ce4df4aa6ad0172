"""What a stack settles before it starts anything."""

from pathlib import Path

import pytest

from infra.local.stack import Stack
from infra.local.state import ADDRESSES, Home
from infra.local.table import chosen


async def test_every_server_has_an_address_before_the_first_process_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway that started while Neo4j was still being fetched had no NEO4J_URI, and ended three times."""
    told: list[dict[str, str]] = []

    async def ensure(stack: Stack, name: str) -> None:
        told.append(stack.site.environment())

    monkeypatch.setattr(Stack, "ensure", ensure)
    stack = Stack(Home.find(tmp_path), tied=True, given={})
    await stack.bring_up(chosen(None, workers=True))
    assert {variable for variable, *_ in ADDRESSES.values()} <= told[0].keys()
    assert told[0] == told[-1]


async def test_a_server_outside_gets_no_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"POSTGRES_DSN": "postgresql://somebody@db.example/millrace"}

    async def ensure(stack: Stack, name: str) -> None:
        pass

    monkeypatch.setattr(Stack, "ensure", ensure)
    stack = Stack(Home.find(tmp_path), tied=True, given=given)
    await stack.bring_up(chosen(None, workers=True))
    assert "postgres" not in stack.record.ports
    assert stack.site.environment()["POSTGRES_DSN"] == given["POSTGRES_DSN"]
