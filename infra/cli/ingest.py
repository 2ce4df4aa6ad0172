"""`millrace ingest`: files and folders into the workspace, watched until the ledger says that they can be found."""

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from infra.cli.files import Found, Left, Selection, find
from infra.cli.gateway import Gateway, open_gateway
from infra.cli.terminal import AsJson, CommandError, Status, command, err, plain, print_json
from infra.cli.uploads import Job, Report, Uploads

UPLOADS = "uploads"
"""Name of the source of files given one by one."""

Excluded = Annotated[list[str] | None, typer.Option("--exclude", help="Leave out paths of this pattern; repeatable.")]
Suffixes = Annotated[list[str] | None, typer.Option("--suffix", help="Only files of this suffix; repeatable.")]


@command
async def ingest(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files and folders.")],
    *,
    source: Annotated[str | None, typer.Option(help="Name of the source; by default the folder's name.")] = None,
    suffix: Suffixes = None,
    exclude: Excluded = None,
    wait: Annotated[bool, typer.Option(help="Wait until everything is searchable.")] = True,
    force: Annotated[bool, typer.Option("--force", help="Send unchanged files too.")] = False,
    within: Annotated[float, typer.Option("--timeout", min=1, help="Seconds to wait at most.")] = 600,
    concurrency: Annotated[int, typer.Option(min=1, max=64, help="Uploads at once.")] = 8,
    as_json: AsJson = False,
) -> Status:
    """Ingest files and folders. Unchanged files are passed over; what fails is reported at the end (status 1)."""
    selection = Selection.of(suffix or [], exclude or [])
    async with open_gateway() as gateway:
        jobs, left = await _jobs(gateway, paths, source, selection)
        report = Report(left=left)
        uploads = Uploads(gateway, report, concurrency=concurrency, force=force)
        with _progress(silent=as_json) as progress:
            accepted = progress.add_task("accepted", total=len(jobs))
            await uploads.send(jobs, lambda: progress.advance(accepted))
            if wait:
                total = report.count("unchanged") + len(report.pending)
                searchable = progress.add_task("searchable", total=total, completed=report.count("unchanged"))
                await uploads.watch(within, lambda: progress.advance(searchable))
    _print(report, as_json=as_json)
    return Status.FAILED if report.failed else Status.OK


async def _jobs(
    gateway: Gateway, paths: list[Path], source: str | None, selection: Selection
) -> tuple[list[Job], list[Left]]:
    jobs: list[Job] = []
    left: list[Left] = []
    for path in paths:
        found = list(find(path, selection))
        left += [each for each in found if isinstance(each, Left)]
        files = [each for each in found if isinstance(each, Found)]
        if files:
            name = source or (path.resolve().name if path.is_dir() else UPLOADS)
            source_id = await _source(gateway, name)
            jobs += [Job(source_id, file) for file in files]
    return jobs, left


async def _source(gateway: Gateway, name: str) -> str:
    answer = await gateway.post("/v1/sources", {"name": name, "connector": "files"})
    if answer.get("connector", "files") != "files":
        raise CommandError(Status.REFUSED, f"source {name!r} is no file source", "name another with --source")
    return str(answer["source_id"])


def _progress(*, silent: bool) -> Progress:
    columns = (TextColumn("{task.description:<10}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=err, disable=silent)


def _print(report: Report, *, as_json: bool) -> None:
    if as_json:
        print_json(report.as_json())
        return
    counts = ", ".join(f"{count} {outcome}" for outcome, count in report.counts().items())
    plain(counts or "nothing to ingest")
    for name, outcome, reason in report.remarks():
        err.print(f"{outcome}: {name}: {reason}", markup=False, style="red" if outcome == "failed" else "yellow")
