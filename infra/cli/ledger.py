"""`millrace ledger`: is everything that came in where it belongs? For operators: it sees all workspaces."""

import asyncio
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer
from typer.core import TyperGroup

from infra.cli.operating import moment, open_database, open_log
from infra.cli.sources import HEADINGS
from infra.cli.terminal import (
    AsJson,
    CommandError,
    Status,
    command,
    err,
    number,
    plain,
    print_json,
    print_table,
    whole,
)
from infra.errors import Permanent, Transient
from infra.settings import SettingsError

if TYPE_CHECKING:
    import asyncpg

    from infra.postgres.ledger import LedgerSource

SHOW = "show"
LEDGER_GROUP = "millrace.ledger"
WINDOW = timedelta(days=1)
PATIENCE_S = 2.0
"""`millrace status` is asked most when something is away."""


class Showing(TyperGroup):
    """Shows, unless the first word is another command: `millrace ledger SOURCE`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `show` in front of what names no command."""
        if not args or (args[0] not in self.commands and args[0] != "--help"):
            args = [SHOW, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(help="What became of everything that came in.", cls=Showing)

Workspace = Annotated[str | None, typer.Option("--workspace", "-w", help="Only this workspace.")]
Source = Annotated[str | None, typer.Option(help="Only this source: its id or name.")]


@app.command(SHOW)
@command
async def show(
    source: Annotated[str | None, typer.Argument(help="A source's id or name; all by default.")] = None,
    *,
    workspace: Workspace = None,
    document: Annotated[UUID | None, typer.Option(help="Show what each sink did with this document.")] = None,
    window: Annotated[str, typer.Option(help="How far back lag is measured: 30m, 2h, 7d.")] = "1d",
    as_json: AsJson = False,
) -> Status:
    """Account for every event of each source, and say how long it took until it could be found."""
    async with open_database() as pool:
        if document is not None:
            return await _show_document(pool, document, as_json=as_json)
        since = moment(window, "--window") or datetime.now(UTC) - WINDOW
        accounts = await _accounts(pool, workspace, source)
        if source and not accounts:
            raise CommandError(Status.FAILED, f"no source {source!r}", "see `millrace ledger`")
        body: dict[str, Any] = {
            "sources": accounts,
            "lag": await _lags(pool, since, workspace, accounts if source else None),
        }
    body["behind"] = await _behind()
    if as_json:
        print_json(body)
    else:
        _print(body, window)
    return Status.OK


@app.command("reconcile")
@command
async def reconcile(
    *,
    workspace: Workspace = None,
    source: Source = None,
    delete_extra: Annotated[
        bool, typer.Option("--delete-extra", help="Delete what a sink holds and neither ledger nor log knows.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Report, and change nothing.")] = False,
    as_json: AsJson = False,
) -> Status:
    """Compare the ledger with what each sink really holds, and publish again what is missing there.

    Status 1 if something is left as it is.
    """
    from infra.cli.reconciling import run

    return await run(workspace, source, delete_extra=delete_extra, dry_run=dry_run, as_json=as_json)


async def recent_lag() -> list[dict[str, Any]]:
    """Return the last hour's lag per connector, none where the database does not answer at once."""
    from infra.postgres.lags import lags

    try:
        async with asyncio.timeout(PATIENCE_S), open_database() as pool:
            return [asdict(lag) for lag in await lags(pool, datetime.now(UTC) - timedelta(hours=1))]
    except (Transient, Permanent, SettingsError, CommandError, TimeoutError):
        return []  # what is away shows in the table of processes


async def _accounts(
    pool: "asyncpg.Pool[asyncpg.Record]", workspace: str | None, source: str | None
) -> list[dict[str, Any]]:
    from infra.postgres.ledger import ledger_sources

    return [await _account(pool, each) for each in await ledger_sources(pool, workspace, source)]


async def _account(pool: "asyncpg.Pool[asyncpg.Record]", source: "LedgerSource") -> dict[str, Any]:
    """Return the numbers of one source: `fetched` is the sum of `done` and the four that follow it."""
    from infra.postgres.progress import Completeness, completeness, letter_reasons

    found = (await completeness(pool, source.workspace, source.source)).get(source.source, Completeness())
    done = found.fetched - found.not_a_document - found.dead_lettered - found.pending
    reasons = await letter_reasons(pool, source.workspace, source.source) if found.dead_lettered else []
    return {
        **asdict(source),
        "fetched": found.fetched,
        "done": done,
        "not_a_document": found.not_a_document,
        "dead_lettered": found.dead_lettered,
        "pending": found.pending,
        "normalised": found.normalised,
        "embedded": found.embedded,
        "graphed": found.graphed,
        "complete": found.complete,
        "reasons": [{"reason": reason, "state": state, "events": events} for reason, state, events in reasons],
    }


async def _lags(
    pool: "asyncpg.Pool[asyncpg.Record]",
    since: datetime,
    workspace: str | None,
    accounts: list[dict[str, Any]] | None,
) -> list[dict[str, Any]]:
    from infra.postgres.lags import lags

    if accounts is None:
        return [asdict(lag) for lag in await lags(pool, since, workspace)]
    return [
        {"source": account["source"], **asdict(lag)}
        for account in accounts
        for lag in await lags(pool, since, account["workspace"], account["source"])
    ]


async def _behind() -> int:
    """Return how many records the ledger itself has not read yet: for them the numbers are too small."""
    from infra.kafka.lag import reach
    from topics.catalogue import CATALOGUE

    async with open_log() as log:
        read = [topic for topic in CATALOGUE if "ledger" in topic.consumers]
        found = await reach(log.settings.bootstrap, LEDGER_GROUP, read)
    return sum(place.behind for places in found.values() for place in places.values())


def _print(body: dict[str, Any], window: str) -> None:
    columns = ("fetched", "done", "not_a_document", "dead_lettered", "pending")
    rows = []
    for account in body["sources"]:
        # The name beside the id: other commands are given the id, and a name may stand in two workspaces.
        label = f"{account['name']} ({account['connector']})".strip() + f"\n{account['source']}"
        numbers = [str(account[column]) for column in columns]
        rows.append((account["workspace"], label, *numbers, "yes" if account["complete"] else "no"))
    counted = (number(HEADINGS[column]) for column in columns)
    print_table((whole("workspace"), whole("source"), *counted, HEADINGS["complete"]), rows)
    plain("fetched = done (every document in the live index and the graph) + not a document (read, nothing to keep)")
    plain("          + dead lettered (given up, open or discarded) + pending (on its way, redriven ones too)")
    for account in body["sources"]:
        for reason in account["reasons"]:
            told = f"{reason['events']} dead lettered, {reason['reason']}, {reason['state']}"
            plain(f"  {account['name'] or account['source']}: {told}")
    if body["lag"]:
        quantiles = ("p50", "p95", "p99")
        lag = [
            (each["connector"], str(each["documents"]), *(f"{each[name]:.2f} s" for name in quantiles))
            for each in body["lag"]
        ]
        headings = (whole("from acceptance to searchable"), number("documents"), *map(number, quantiles))
        print_table(headings, lag, title=f"in the last {window}")
    if body["behind"]:
        err.print(f"the ledger has {body['behind']} records still to read: the numbers are those up to there")


async def _show_document(pool: "asyncpg.Pool[asyncpg.Record]", document: UUID, *, as_json: bool) -> Status:
    from infra.postgres.ledger import workspaces_of
    from infra.postgres.receipts import document_receipts

    known = await workspaces_of(pool, document)
    found = await document_receipts(pool, known[0], document) if known else None
    if found is None:
        raise CommandError(Status.FAILED, f"the ledger knows no document {document}")
    complete = found.deletion.complete if found.deletion else None
    if as_json:
        print_json({"document_id": document, "workspace": known[0], **asdict(found), "deletion_complete": complete})
        return Status.OK
    state = "deleted" if found.deleted else "present" if found.version else "not in the table"
    plain(f"{document}  workspace {known[0]}, version {found.version}, {state}", style="bold")
    for each in found.receipts:
        plain(f"{each.sink:<24}version {each.version}  {each.operation} {each.outcome}, {each.parts} parts")
        plain(f"    {each.at:%Y-%m-%d %H:%M:%S.%f}  event {each.event_id}")
    if found.deletion:
        plain(f"deletion, version {found.deletion.version}: {'complete' if complete else 'not complete'}")
        for sink, at in found.deletion.confirmed.items():
            plain(f"  {sink:<24}{at or 'not yet'}")
    return Status.OK
