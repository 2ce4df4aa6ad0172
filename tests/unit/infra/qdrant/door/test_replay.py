"""A process that dies while it flushes a conditional write: the log replays the write and not its condition."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from infra.qdrant.door.collection import Collection
from infra.qdrant.door.schema import read_schema

DEFINITION = {"vectors": {"dense": {"size": 4, "distance": "Cosine"}}}
POINTS = 60
DELAYS_S = [0.0002 * 1.35**step for step in range(15)]
"""0.2 to 13 ms: a flush takes about 12."""
PROGRAM = """
import asyncio, os, signal, sys
from pathlib import Path
from qdrant_edge import UpdateOperation
from infra.qdrant.door.changes import read_delete, read_upsert
from infra.qdrant.door.collection import Collection
from infra.qdrant.door.indexes import read_index
from infra.qdrant.door.schema import read_schema

def upsert(schema, version, condition=None):
    vector, payload = {"dense": [1.0, 2.0, 3.0, 4.0]}, {"version": version, "text": "x" * 999}
    points = [{"id": n, "vector": vector, "payload": payload} for n in range(%(points)d)]
    return read_upsert(schema, {"points": points, "update_filter": condition})

async def main():
    schema = read_schema(%(definition)r)
    collection = Collection.create(Path(sys.argv[1]), schema)
    collection.update(UpdateOperation.create_field_index("version", read_index("integer")))
    collection.apply([upsert(schema, 9)])
    collection.flush()
    older = {"must": [{"key": "version", "range": {"lt": 10}}]}
    change = upsert(schema, 10, older) if sys.argv[2] == "upsert" else read_delete(schema, {"filter": older})
    collection.apply([change])
    # Its default action ends the process wherever it is, also inside the engine: nothing of it runs afterwards.
    signal.setitimer(signal.ITIMER_REAL, float(sys.argv[3]))
    collection.flush()
    os.kill(os.getpid(), signal.SIGALRM)

asyncio.run(main())
"""


@pytest.mark.parametrize("change", ["upsert", "delete"])
def test_a_conditional_write_survives_a_kill_within_its_flush(tmp_path: Path, change: str) -> None:
    program = PROGRAM % {"points": POINTS, "definition": DEFINITION}
    for delay in DELAYS_S:
        folder = tmp_path / f"shard-{delay}"
        command = [sys.executable, "-c", program, str(folder), change, str(delay)]
        ended = subprocess.run(command, capture_output=True, check=False)
        assert ended.returncode == -signal.SIGALRM, ended.stderr.decode()
        collection = Collection.load(folder, read_schema(DEFINITION))
        found = [record.payload["version"] for record in collection.shard.retrieve(list(range(POINTS)), True, False)]
        collection.shard.close()
        assert found == ([10] * POINTS if change == "upsert" else []), f"killed {delay} s into the flush"
