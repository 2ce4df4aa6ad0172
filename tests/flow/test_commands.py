"""The commands as a user runs them, each a process of its own, against the whole platform."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from infra.kafka.failpoints import Point
from infra.local.state import GATEWAY
from tests.conftest import Environment, Servers
from tests.flow.tenant import Tenant
from topics.catalogue import CATALOGUE


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    output: str
    errors: str

    @property
    def json(self) -> Any:
        """Its result."""
        assert self.status == 0, self.errors
        return json.loads(self.output)


Millrace = Callable[..., Awaitable[Ended]]


async def run(environment: dict[str, str], *arguments: str) -> Ended:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "infra.cli.main", *arguments),
        env=dict(os.environ) | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    return Ended(process.returncode or 0, output.decode(), errors.decode())


@pytest.fixture
def millrace(tenant: Tenant, addresses: Environment, tmp_path: Path) -> Millrace:
    """`millrace …` in the tenant's workspace, as on a machine without a stack of its own."""
    key = tenant.client.headers["authorization"].removeprefix("Bearer ")
    environment = {"MILLRACE_HOME": str(tmp_path / "none"), "MILLRACE_API_KEY": key, GATEWAY: addresses[GATEWAY]}

    async def call(*arguments: str) -> Ended:
        return await run(environment, *arguments)

    return call


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    (folder / "deep").mkdir(parents=True)
    (folder / "bridge.md").write_text("# Bridge\n\nThe bridge of Ashford was built in 1604 by Tomas Reed.\n")
    (folder / "deep" / "mill.txt").write_text("The mill of Ashford grinds barley on Mondays.\n")
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7\nthis is no PDF at all\0")
    (folder / "photo.png").write_bytes(b"\x89PNG\0\0")
    return folder


async def test_a_folder_is_ingested_asked_and_ingested_again(millrace: Millrace, notes: Path) -> None:
    first = await millrace("ingest", str(notes), "--json")
    assert first.status == 1, "the broken file has failed"
    files = {file["name"]: file for file in json.loads(first.output)["files"]}
    assert {name: file["outcome"] for name, file in files.items()} == {
        "bridge.md": "searchable",
        "deep/mill.txt": "searchable",
        "broken.pdf": "failed",
        "photo.png": "skipped",
    }
    assert "unreadable_document" in files["broken.pdf"]["reason"]

    answer = (await millrace("ask", "When was the bridge of Ashford built?", "--json")).json
    assert "1604" in answer["answer"]
    assert answer["citations"][0]["document_id"] == files["bridge.md"]["document_id"]
    shown = await millrace("ask", "When was the bridge of Ashford built?")
    assert "[1] Bridge" in shown.output
    assert "1604" in shown.output

    passages = (await millrace("search", "grinding barley", "-k", "1", "--json")).json["passages"]
    assert passages[0]["document_id"] == files["deep/mill.txt"]["document_id"]

    (notes / "bridge.md").write_text("# Bridge\n\nThe bridge of Ashford was built in 1611 by Tomas Reed.\n")
    (notes / "broken.pdf").unlink()
    second = (await millrace("ingest", str(notes), "--json")).json
    assert second["counts"] == {"searchable": 1, "unchanged": 1, "skipped": 1}
    assert "1611" in (await millrace("ask", "When was the bridge of Ashford built?", "--json")).json["answer"]

    (source,) = (await millrace("sources", "list", "--json")).json
    assert source["name"] == "notes"
    counts = source["completeness"]
    assert (counts["fetched"], counts["dead_lettered"], counts["pending"]) == (4, 1, 0)

    event = await millrace("events", files["broken.pdf"]["event_id"], "--follow", "--json")
    assert event.status == 1
    assert json.loads(event.output)["state"] == "dead_lettered"


async def test_the_graph_is_shown(millrace: Millrace, tenant: Tenant) -> None:
    document = await tenant.upload_and_settle("A page of [[links]].", "page.md", title="Page")
    found = (await millrace("graph", f"document:{document}", "--json")).json
    assert found["entity"]["key"] == f"document:{document}"


async def test_keys_are_made_used_and_revoked(
    millrace: Millrace, platform: Servers, addresses: Environment, tmp_path: Path
) -> None:
    operator = {"MILLRACE_HOME": str(tmp_path), "POSTGRES_DSN": addresses["POSTGRES_DSN"]}
    made = (await run(operator, "keys", "create", "--workspace", "w-keys", "--name", "test", "--json")).json
    user = {"MILLRACE_HOME": str(tmp_path), "MILLRACE_API_KEY": made["key"], GATEWAY: addresses[GATEWAY]}
    assert (await run(user, "sources", "list", "--json")).json == []

    listed = await run(operator, "keys", "list", "--workspace", "w-keys", "--json")
    assert [row["key_id"] for row in listed.json] == [made["key_id"]]
    secret = made["key"].rpartition("_")[2]
    assert secret not in listed.output
    assert made["key_id"] in (await run(operator, "keys", "list")).output

    plain = await run(operator, "keys", "create", "--workspace", "w-keys")
    assert plain.output.startswith("mr_")
    assert "shown only now" in plain.errors

    revoked = await run(operator, "keys", "revoke", made["key"])
    assert (revoked.status, revoked.output) == (0, f"revoked {made['key_id']}\n")
    again = await run(operator, "keys", "revoke", made["key_id"], "--json")
    assert again.status == 1
    assert (await run(operator, "keys", "create", "--workspace", "No Name")).status == 4


async def test_topics_are_compared_described_and_applied(addresses: Environment, platform: Servers) -> None:
    operator = {"KAFKA_BOOTSTRAP_SERVERS": (await platform("kafka"))["KAFKA_BOOTSTRAP_SERVERS"]}
    planned = (await run(operator, "topics", "plan", "--json")).json
    assert (planned["changes"], planned["refusals"]) == ([], [])
    assert "nothing to change" in (await run(operator, "topics", "apply")).output
    described = (await run(operator, "topics", "describe", "--json")).json
    assert all(topic["broker"]["partitions"] == topic["declared_partitions"] for topic in described)
    assert "raw.events" in (await run(operator, "topics", "describe")).output


async def test_the_flow_is_drawn_without_a_broker(tmp_path: Path) -> None:
    nowhere = {"MILLRACE_HOME": str(tmp_path / "none")}
    assert (await run(nowhere, "topics", "diagram")).output.startswith("flowchart LR")
    readme = tmp_path / "README.md"
    readme.write_text("no markers")
    refused = await run(nowhere, "topics", "diagram", "--write", str(readme))
    assert refused.status == 2
    assert readme.read_text() == "no markers"


async def on_terminal(environment: dict[str, str], columns: int, *arguments: str) -> str:
    """Run a command on a terminal of that width and return all that it wrote there."""
    ours, theirs = os.openpty()
    width = {"COLUMNS": str(columns), "TERM": "xterm-256color", "NO_COLOR": "1"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "infra.cli.main", *arguments),
        env=dict(os.environ) | environment | width,
        stdout=theirs,
        stderr=asyncio.subprocess.DEVNULL,
    )
    os.close(theirs)
    written = await asyncio.to_thread(_all_of, ours)
    await process.wait()
    return written


def _all_of(descriptor: int) -> str:
    chunks = []
    # The other end of a terminal that was closed reads as an error, not as an end.
    with os.fdopen(descriptor, "rb", buffering=0) as terminal, contextlib.suppress(OSError):
        while chunk := terminal.read(65_536):
            chunks.append(chunk)
    return b"".join(chunks).decode()


@pytest.mark.parametrize("columns", [40, 80])
async def test_what_a_command_shows_can_be_given_to_the_next(
    tenant: Tenant, platform: Servers, addresses: Environment, columns: int
) -> None:
    sender = await tenant.source("generic")
    good = await sender.accepted({"id": "n1", "text": "A note on sluices."})
    bad = (await sender.generic(b"{no json")).json()["event_id"]
    for event in (good, bad):
        await tenant.settled(event)
    document = (await tenant.event(good))["documents"][0]["document_id"]
    (letter,) = (await tenant.get("/v1/dead-letters"))["dead_letters"]
    (source,) = (await tenant.get("/v1/sources"))["sources"]
    key = tenant.client.headers["authorization"].removeprefix("Bearer ")
    operator = dict(await platform("postgres", "kafka", "neo4j", "door", "gateway"))
    operator |= {"MILLRACE_API_KEY": key, GATEWAY: addresses[GATEWAY]}
    names = [source["name"], source["source_id"]]
    expected = {
        ("dead-letters", "list", "-w", tenant.workspace): [letter["letter_id"], sender.source_id, tenant.workspace],
        ("events", bad): [bad, letter["letter_id"]],
        ("events", good): [good, document],
        ("keys", "list", "-w", tenant.workspace): [key.rpartition("_")[0], tenant.workspace],
        ("sources", "list"): names,
        ("sources", "show", source["name"]): [*names, sender.path],
        ("ledger", "-w", tenant.workspace): [*names, tenant.workspace],
        ("ledger", "--document", document): [document, good, "embedder/", "graph_builder"],
        ("topics", "describe"): [topic.name for topic in CATALOGUE],
        ("failpoints",): [point.value for point in Point],
        ("search", "sluices"): [document],
    }
    for arguments, words in expected.items():
        shown = await on_terminal(operator, columns, *arguments)
        missing = [word for word in words if word not in shown]
        assert not missing, (arguments, missing, shown)
    assert (await run(operator, "dead-letters", "redrive", letter["letter_id"], "--dry-run")).status == 0
    by_name = await run(operator, "dead-letters", "list", "--source", source["name"], "-w", tenant.workspace)
    assert letter["letter_id"] in by_name.output


async def test_a_comparison_of_nothing_says_so(platform: Servers, tenant: Tenant) -> None:
    operator = dict(await platform("postgres", "kafka", "neo4j", "door", "gateway"))
    for wrong in (("-w", "nobody-here"), ("--source", "nothing-here")):
        ended = await run(operator, "ledger", "reconcile", "--dry-run", *wrong)
        assert (ended.status, ended.output) == (1, "")
        assert wrong[1] in ended.errors


async def test_a_worker_that_does_not_exist_is_a_usage_error(tmp_path: Path) -> None:
    ended = await run({"MILLRACE_HOME": str(tmp_path / "none")}, "work", "nobody")
    assert ended.status == 2
    assert "nobody" in ended.errors
