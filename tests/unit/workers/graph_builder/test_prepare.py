import asyncio
from typing import Any, cast

import pytest

from infra.errors import Transient
from workers.graph_builder import worker
from workers.graph_builder.worker import Tools


async def test_partitions_that_start_together_prepare_the_graph_once(monkeypatch: pytest.MonkeyPatch) -> None:
    running = most = calls = 0

    async def ensure(graph: Any) -> None:
        nonlocal running, most, calls
        running, calls = running + 1, calls + 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        if calls == 1:
            raise Transient("neo4j", "not yet")

    monkeypatch.setattr(worker, "ensure", ensure)
    tools = Tools(cast(Any, None), cast(Any, None))
    outcomes = await asyncio.gather(*(tools.prepare() for _ in range(6)), return_exceptions=True)
    assert (most, calls) == (1, 2)
    assert [type(outcome) for outcome in outcomes].count(Transient) == 1
