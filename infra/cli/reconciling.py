"""The run of `millrace ledger reconcile`: what it opens, and how it tells what it found."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rich.progress import Progress, TextColumn, TimeElapsedColumn

from infra.cli.operating import Log, open_database, open_log, source_id
from infra.cli.terminal import CommandError, Status, err, plain, print_json
from infra.kafka.lag import reach
from infra.neo4j.client import open_driver
from infra.postgres.indexes import live
from infra.postgres.ledger import ledger_sources, list_workspaces
from infra.qdrant.client import open_client
from infra.reconcile.graph import GraphHeld
from infra.reconcile.log import DocumentLog
from infra.reconcile.repair import Damaged, Outcome, Repair
from infra.reconcile.run import Comparison
from infra.reconcile.states import Sink
from infra.reconcile.vectors import VectorsHeld
from infra.settings import Neo4jSettings, QdrantSettings, load
from topics.catalogue import DOCUMENTS

if TYPE_CHECKING:
    import asyncpg

SHOWN = 50


@dataclass
class Opened:
    """Everything that a run reads and writes."""

    pool: "asyncpg.Pool[asyncpg.Record]"
    log: Log
    groups: dict[Sink, str]
    comparison: Comparison


async def run(workspace: str | None, source: str | None, *, delete_extra: bool, dry_run: bool, as_json: bool) -> Status:
    """Compare, repair and tell; return the status of the command."""
    body = await report_of(workspace, source, delete_extra=delete_extra, dry_run=dry_run, silent=as_json)
    if as_json:
        print_json(body)
    else:
        _print(body)
    actions = body["actions"]
    unmended = dry_run and any(action != "waiting" for action in actions)
    return Status.FAILED if actions.get("left") or unmended or body["more"] else Status.OK


async def report_of(
    workspace: str | None, source: str | None, *, delete_extra: bool = False, dry_run: bool = False, silent: bool = True
) -> dict[str, Any]:
    """Compare and, unless `dry_run`, repair; return what was found and done. Raises CommandError, Transient,
    SettingsError.
    """
    async with _open() as opened:
        known = await list_workspaces(opened.pool)
        if workspace and workspace not in known:
            raise CommandError(
                Status.FAILED, f"no workspace {workspace!r} has a key or an event", "see `millrace ledger`"
            )
        source = await source_id(opened.pool, workspace, source)
        if source and not await ledger_sources(opened.pool, workspace, source):
            raise CommandError(Status.FAILED, f"no source {source!r}", "see `millrace ledger`")
        workspaces = [workspace] if workspace else known
        await _compare(opened.comparison, workspaces, source, silent=silent)
        outcomes = await _repair(opened, delete_extra=delete_extra, dry_run=dry_run)
    return _body(opened.comparison, outcomes, dry_run=dry_run)


@asynccontextmanager
async def _open() -> AsyncIterator[Opened]:
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(open_database())
        log = await stack.enter_async_context(open_log())
        index = await live(pool)
        client = await stack.enter_async_context(open_client(load(QdrantSettings)))
        graph = await stack.enter_async_context(open_driver(load(Neo4jSettings)))
        groups = {
            Sink.VECTORS: f"millrace.embedder.{index.index_id}",
            Sink.GRAPH: "millrace.graph_builder",
            Sink.TABLE: "millrace.ledger",
        }
        yield Opened(pool, log, groups, Comparison(pool, VectorsHeld(client, index.collection), GraphHeld(graph)))


async def _compare(comparison: Comparison, workspaces: list[str], source: str | None, *, silent: bool) -> None:
    columns = (TextColumn("{task.description}"), TextColumn("{task.completed} documents"), TimeElapsedColumn())
    with Progress(*columns, console=err, disable=silent, transient=True) as progress:
        task = progress.add_task("comparing", total=None)
        for each in workspaces:
            progress.update(task, description=f"comparing {each}")
            async for documents in comparison.over(each, source):
                progress.advance(task, documents)


async def _repair(opened: Opened, *, delete_extra: bool, dry_run: bool) -> list[tuple[Damaged, Outcome]]:
    damaged = list(opened.comparison.damaged.values())
    if not damaged:
        return []
    log = opened.log
    reached = {
        sink: {
            partition: place.committed
            for partition, place in (await reach(log.settings.bootstrap, group, [DOCUMENTS]))[DOCUMENTS.name].items()
        }
        for sink, group in opened.groups.items()
    }
    repair = Repair(
        opened.pool,
        log.publisher,
        log.records,
        log.objects,
        DocumentLog(log.settings.bootstrap, log.objects),
        vectors=opened.comparison.vectors,
        dry_run=dry_run,
        delete_extra=delete_extra,
    )
    return [each async for each in repair.repair(damaged, reached)]


def _body(comparison: Comparison, outcomes: list[tuple[Damaged, Outcome]], *, dry_run: bool) -> dict[str, Any]:
    findings = [
        {**asdict(finding), "action": outcome.action, "cause": outcome.cause}
        for damaged, outcome in outcomes
        for finding in damaged.findings
        if outcome.action != "waiting"
    ]
    counts = Counter((finding["sink"], finding["problem"]) for finding in findings)
    return {
        "dry_run": dry_run,
        "compared": comparison.compared,
        "more": comparison.full,
        "documents": sum(outcome.action != "waiting" for _, outcome in outcomes),
        "waiting": sum(outcome.action == "waiting" for _, outcome in outcomes),
        "counts": [{"sink": sink, "problem": problem, "documents": n} for (sink, problem), n in sorted(counts.items())],
        "actions": dict(Counter(outcome.action for _, outcome in outcomes)),
        "findings": findings,
    }


def _print(body: dict[str, Any]) -> None:
    plain(f"{body['compared']} documents compared, {body['documents']} differ, {body['waiting']} are on their way")
    for count in body["counts"]:
        plain(f"  {count['documents']:>8}  {count['sink']:<8} {count['problem']}")
    would = "would be " if body["dry_run"] else ""
    for finding in body["findings"][:SHOWN]:
        place = f"{finding['workspace']}/{finding['document_id']}"
        action = "left" if finding["action"] == "left" else f"{would}{finding['action']}"
        cause = f": {finding['cause']}" if finding["cause"] else ""
        plain(f"{place}  {finding['sink']} {finding['problem']} ({finding['detail']})  {action}{cause}")
    if len(body["findings"]) > SHOWN:
        plain(f"and {len(body['findings']) - SHOWN} more: --json shows all")
    if body["more"]:
        err.print("there is more: run it again when these have arrived", style="yellow")
