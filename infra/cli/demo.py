"""`millrace demo`: the main job on real input, in a stack of its own that is taken away afterwards.

Everything goes through the same commands and the same HTTP API that a user has: signed webhooks, uploads, questions,
the graph, the ledger.
"""

import asyncio
import hashlib
import hmac
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any
from urllib.parse import quote

import httpx
import orjson
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.rule import Rule

from infra.cli.ask import print_citation
from infra.cli.files import Found, Selection, find
from infra.cli.gateway import Gateway, open_gateway
from infra.cli.sources import print_completeness
from infra.cli.terminal import CommandError, Status, command, err, out, plain
from infra.cli.uploads import Job, Report, Uploads
from schemas.ids import deterministic_id


@dataclass(frozen=True, slots=True)
class Asked:
    """A question of the tour, and whether the sources can answer it."""

    question: str
    answerable: bool


QUESTIONS = (
    Asked("Which package allows unauthorized file access?", answerable=True),
    Asked("How long does it take until the race of the Otterbrook mill is full?", answerable=True),
    Asked("Which wine goes well with grilled sardines?", answerable=False),
)
"""One answered from GitHub, one from the documents, one that neither can answer."""

ENTITY = "repository:github:Codertocat/Hello-World"
SEARCHABLE_WITHIN_S = 120
EVERY_S = 0.3


@command
async def demo(
    payloads: Annotated[Path, typer.Option(help="Folder of GitHub webhook payloads, by event.")] = Path(
        "tests/data/github-webhooks"
    ),
    documents: Annotated[list[Path] | None, typer.Option(help="Folder of documents; repeatable.")] = None,
    home: Annotated[Path, typer.Option(help="State folder of the demo's own stack; replaced.")] = Path(
        ".millrace/demo"
    ),
    keep: Annotated[bool, typer.Option("--keep", help="Leave the stack running.")] = False,
) -> Status:
    """Start everything, ingest real input, ask three questions, show what is known and how complete it is."""
    started = perf_counter()
    folders = documents or [Path("docs/decisions"), Path("tests/data/documents")]
    _need(payloads, *folders)
    with _stack(home, keep=keep):
        ready = perf_counter() - started
        async with open_gateway() as gateway:
            good = await _tour(gateway, payloads, folders)
        memory = _memory()
    plain("")
    plain(f"ready after {ready:.0f} s, all in {perf_counter() - started:.0f} s; {memory}")
    return Status.OK if good else Status.FAILED


async def _tour(gateway: Gateway, payloads: Path, folders: list[Path]) -> bool:
    out.print(Rule("real events in"))
    await _ingest(gateway, payloads, folders)
    out.print(Rule("questions"))
    good = [await _question(gateway, asked) for asked in QUESTIONS]
    out.print(Rule("one fact of the graph"))
    good.append(await _fact(gateway))
    out.print(Rule("per source: what became of every event"))
    sources = (await gateway.get("/v1/sources"))["sources"]
    print_completeness(sources)
    good += [source["completeness"]["complete"] for source in sources]
    return all(good)


def _need(*folders: Path) -> None:
    for folder in folders:
        if not folder.is_dir():
            raise CommandError(Status.USAGE, f"no folder {folder}", "run in a checkout, or name your own folders")


@contextmanager
def _stack(home: Path, *, keep: bool) -> Iterator[None]:
    """A stack in `home` from nothing, taken down and away at the end."""
    os.environ["MILLRACE_HOME"] = str(home.absolute())
    if home.exists():
        _millrace("down", "--wipe")
    _millrace("up")
    try:
        yield
    finally:
        if keep:
            err.print(f"still running: MILLRACE_HOME={home} millrace down")
        else:
            _millrace("down", "--wipe")


def _millrace(*arguments: str) -> None:
    command_line = [sys.executable, "-m", "infra.cli.main", *arguments]
    if subprocess.run(command_line, check=False).returncode:
        raise CommandError(Status.FAILED, f"`millrace {' '.join(arguments)}` failed", "see its message above")


async def _ingest(gateway: Gateway, payloads: Path, folders: list[Path]) -> None:
    hooks = await asyncio.to_thread(lambda: sorted(payloads.rglob("*.json")))
    files = [found for folder in folders for found in find(folder, Selection.of([], [])) if isinstance(found, Found)]
    columns = (TextColumn("{task.description:<22}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err) as progress:
        sent = progress.add_task("GitHub webhooks", total=len(hooks))
        uploaded = progress.add_task("documents uploaded", total=len(files))
        settled = progress.add_task("settled in the ledger", total=len(hooks) + len(files))
        async with asyncio.TaskGroup() as group:
            group.create_task(_webhooks(gateway, hooks, lambda: progress.advance(sent)))
            group.create_task(_documents(gateway, files, lambda: progress.advance(uploaded)))
            group.create_task(
                _watch(gateway, len(hooks) + len(files), lambda count: progress.update(settled, completed=count))
            )


async def _webhooks(gateway: Gateway, payloads: list[Path], done: Any) -> None:
    secret = secrets.token_urlsafe(24)
    body: dict[str, object] = {"name": "github", "connector": "github", "secret": secret}
    source = await gateway.post("/v1/sources", body)
    async with httpx.AsyncClient(base_url=os.environ["MILLRACE_GATEWAY_URL"], timeout=30) as sender:
        for payload in payloads:
            content = await asyncio.to_thread(payload.read_bytes)
            signature = hmac.new(secret.encode(), content, hashlib.sha256).hexdigest()
            headers = {
                "content-type": "application/json",
                "x-github-event": payload.parent.name,
                "x-github-delivery": str(deterministic_id("demo", str(payload))),
                "x-hub-signature-256": f"sha256={signature}",
            }
            answer = await sender.post(source["hook_path"], content=content, headers=headers)
            answer.raise_for_status()
            done()


async def _documents(gateway: Gateway, files: list[Found], done: Any) -> None:
    source = await gateway.post("/v1/sources", {"name": "documents", "connector": "files"})
    report = Report()
    uploads = Uploads(gateway, report, concurrency=4, force=False)
    await uploads.send([Job(source["source_id"], file) for file in files], done)
    if report.failed:
        raise CommandError(Status.FAILED, "; ".join(f"{name}: {reason}" for name, _, reason in report.remarks()))


async def _watch(gateway: Gateway, expected: int, show: Any) -> None:
    """Wait until the ledger has an end for every event that was sent."""
    async with asyncio.timeout(SEARCHABLE_WITHIN_S):
        while True:
            counts = [source["completeness"] for source in (await gateway.get("/v1/sources"))["sources"]]
            settled = sum(count["fetched"] - count["pending"] for count in counts)
            show(settled)
            if settled >= expected:
                return
            await asyncio.sleep(EVERY_S)


async def _question(gateway: Gateway, asked: Asked) -> bool:
    plain("")
    plain(f"? {asked.question}", style="bold")
    answer = await gateway.post("/v1/rag/query", {"query": asked.question})
    plain(answer["answer"])
    literal = [await _literal(gateway, citation) for citation in answer["citations"]]
    return all(literal) and bool(literal) == asked.answerable and answer["abstained"] != asked.answerable


async def _literal(gateway: Gateway, citation: dict[str, Any]) -> bool:
    """Print a citation and check that the document really says this at this place."""
    print_citation(citation)
    document = await gateway.get(f"/v1/documents/{citation['document_id']}")
    there = bool(document["text"][citation["start"] : citation["end"]] == citation["quote"])
    plain("    checked: the document's text holds this quote at these offsets" if there else "    NOT AT THESE OFFSETS")
    return there


async def _fact(gateway: Gateway) -> bool:
    found = await gateway.get(f"/v1/graph/neighbors/{quote(ENTITY, safe='')}", limit=3)
    for neighbour in found["neighbors"]:
        ends = [found["entity"]["name"], neighbour["entity"]["name"]]
        subject, other = ends if neighbour["direction"] == "out" else reversed(ends)
        plain(f"{subject} {neighbour['predicate']} {other}  (stated by {len(neighbour['documents'])} documents)")
    return bool(found["neighbors"])


def _memory() -> str:
    told = subprocess.run(
        [sys.executable, "-m", "infra.cli.main", "status", "--json"], check=False, capture_output=True
    )
    try:
        total = orjson.loads(told.stdout)["pss_bytes"]
    except (orjson.JSONDecodeError, KeyError):
        return "memory unknown"
    return f"all processes together {total / 2**20:,.0f} MB (sum of PSS)"
