"""`millrace dead-letters`: what was given up on, and what to do about it. For operators: it sees all workspaces."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal
from uuid import UUID

import typer

from infra.cli.operating import moment, open_database, open_log, operator, source_id
from infra.cli.terminal import AsJson, CommandError, Status, command, err, plain, print_json, shortened
from schemas.dead_letters import Reason

if TYPE_CHECKING:
    from infra.postgres.letters import Count, Letter, LetterState, Wanted

app = typer.Typer(help="Records that a worker gave up on.", no_args_is_help=True)

Topic = Annotated[str | None, typer.Option(help="Only records of this topic.")]
Why = Annotated[Reason | None, typer.Option("--reason", help="Only this reason.")]
Workspace = Annotated[str | None, typer.Option("--workspace", "-w", help="Only of this workspace.")]
Source = Annotated[str | None, typer.Option(help="Only of this source: its id or name.")]
Since = Annotated[str | None, typer.Option(help="Only what died last at or after: a time, or 30m, 2h, 7d for ago.")]
Until = Annotated[str | None, typer.Option(help="Only what died last before.")]
State = Annotated[Literal["open", "redriven", "discarded", "all"], typer.Option(help="Only letters of this state.")]
Ids = Annotated[list[UUID] | None, typer.Argument(help="Ids of letters; without any the filters choose.")]
Everything = Annotated[bool, typer.Option("--all", help="Without a filter: every letter of the state.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
SetHeader = Annotated[
    list[str] | None,
    typer.Option("--set-header", help="NAME=VALUE in place of that header of each record; NAME= removes it."),
]


@app.command("list")
@command
async def show_all(
    *,
    topic: Topic = None,
    reason: Why = None,
    workspace: Workspace = None,
    source: Source = None,
    since: Since = None,
    until: Until = None,
    state: State = "open",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Letters to show; all are counted.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List dead letters, the latest first, with counts of all that the filters choose."""
    from infra.postgres.letters import count_letters, list_letters

    wanted = _wanted(
        None, topic=topic, reason=reason, workspace=workspace, source=source, since=since, until=until, state=state
    )
    async with open_database() as pool:
        wanted = replace(wanted, source=await source_id(pool, workspace, source))
        letters = await list_letters(pool, wanted, limit=limit)
        counts = await count_letters(pool, wanted)
    if as_json:
        total = sum(count.letters for count in counts)
        print_json({"total": total, "counts": list(map(asdict, counts)), "letters": list(map(asdict, letters))})
    else:
        _print_letters(letters, counts)


@app.command("show")
@command
async def show(
    letter_id: Annotated[UUID, typer.Argument(help="Id of the letter.")],
    full: Annotated[bool, typer.Option("--full", help="Show the whole body.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show one letter with the record in it, read back from the log."""
    from infra.kafka.content import shown
    from infra.postgres.letters import find_letter, marks_of

    async with open_database() as pool, open_log() as log:
        letter = await find_letter(pool, letter_id)
        if letter is None:
            raise CommandError(Status.FAILED, f"no dead letter {letter_id}", "see `millrace dead-letters list`")
        marks = await marks_of(pool, letter)
        record = await shown(log.letters, (letter.letter_partition, letter.letter_offset), full=full)
    if as_json:
        print_json({**asdict(letter), "marks": list(map(asdict, marks)), "record": record})
        return
    for name, value in asdict(letter).items():
        plain(f"{name:<18}{value if value is not None else ''}")
    for mark in marks:
        plain(f"{mark.state:<18}{mark.at} by {mark.by}")
    _print_record(record)


@app.command("redrive")
@command
async def redrive(
    ids: Ids = None,
    *,
    topic: Topic = None,
    reason: Why = None,
    workspace: Workspace = None,
    source: Source = None,
    since: Since = None,
    until: Until = None,
    state: State = "open",
    everything: Everything = False,
    set_header: SetHeader = None,
    rate: Annotated[int, typer.Option(min=1, max=100_000, help="Records per second at most.")] = 200,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> Status:
    """Publish the records of letters once more, as the same events. Status 1 if some could not be."""
    wanted = _chosen(
        ids,
        everything,
        _wanted(
            ids, topic=topic, reason=reason, workspace=workspace, source=source, since=since, until=until, state=state
        ),
    )
    headers = _headers(set_header or [])
    return await _settle(wanted, "redriven", headers, rate, dry_run=dry_run, as_json=as_json)


@app.command("discard")
@command
async def discard(
    ids: Ids = None,
    *,
    topic: Topic = None,
    reason: Why = None,
    workspace: Workspace = None,
    source: Source = None,
    since: Since = None,
    until: Until = None,
    state: State = "open",
    everything: Everything = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> Status:
    """Mark letters as settled without their records: nothing is erased, and they can be redriven later."""
    wanted = _chosen(
        ids,
        everything,
        _wanted(
            ids, topic=topic, reason=reason, workspace=workspace, source=source, since=since, until=until, state=state
        ),
    )
    return await _settle(wanted, "discarded", {}, 0, dry_run=dry_run, as_json=as_json)


async def _settle(
    wanted: "Wanted",
    state: Literal["redriven", "discarded"],
    headers: Mapping[str, str],
    rate: int,
    *,
    dry_run: bool,
    as_json: bool,
) -> Status:
    from infra.cli.settling import Settling, progress_of
    from infra.postgres.letters import count_letters

    async with open_database() as pool, open_log() as log:
        wanted = replace(wanted, source=await source_id(pool, wanted.workspace, wanted.source))
        total = sum(count.letters for count in await count_letters(pool, wanted))
        with progress_of(total, state, silent=as_json) as advance:
            run = Settling(log, state=state, by=operator(), headers=headers, rate=rate, dry_run=dry_run)
            await run.over(pool, wanted, advance)
    missing = set(wanted.ids or ()) - run.seen
    run.refused.extend((letter_id, "no such letter, or not in this state") for letter_id in sorted(missing, key=str))
    body = {
        "dry_run": dry_run,
        state: sum(run.done.values()),
        "by_topic": dict(Counter(run.done)),
        "refused": [{"letter_id": letter_id, "cause": cause} for letter_id, cause in run.refused],
    }
    if as_json:
        print_json(body)
    else:
        for topic, letters in sorted(run.done.items()):
            plain(f"{'would be ' if dry_run else ''}{state}: {letters} of {topic}")
        if not run.done:
            plain("no letter is chosen" if not run.refused else f"no letter was {state}")
        for letter_id, cause in run.refused:
            err.print(f"left as it is: {letter_id}: {cause}", markup=False, style="yellow")
    return Status.FAILED if run.refused else Status.OK


def _wanted(
    ids: list[UUID] | None,
    *,
    topic: str | None,
    reason: Reason | None,
    workspace: str | None,
    source: str | None,
    since: str | None,
    until: str | None,
    state: str,
) -> "Wanted":
    from infra.postgres.letters import Wanted

    chosen: dict[str, LetterState | None] = {"open": "open", "redriven": "redriven", "discarded": "discarded"}
    return Wanted(
        workspace=workspace,
        # Whoever names a letter means it, whatever was done about it before.
        state=None if ids else chosen.get(state),
        topic=topic,
        reason=str(reason) if reason else None,
        source=source,
        since=moment(since, "--since"),
        until=moment(until, "--until"),
        ids=ids or None,
    )


def _chosen(ids: list[UUID] | None, everything: bool, wanted: "Wanted") -> "Wanted":
    if everything and ids:
        raise CommandError(Status.USAGE, "--all and ids of letters exclude each other")
    if not everything and not wanted.narrowed:
        raise CommandError(Status.USAGE, "this would mean every letter", "name letters, give a filter, or say --all")
    return wanted


def _headers(given: list[str]) -> dict[str, str]:
    parts = [each.partition("=") for each in given]
    if any(not name or not equals for name, equals, _ in parts):
        raise CommandError(Status.USAGE, "--set-header takes NAME=VALUE")
    return {name: value for name, _, value in parts}


def _print_letters(letters: "list[Letter]", counts: "list[Count]") -> None:
    for each in letters:
        plain(f"{each.letter_id}  {each.state:<10}{each.last_at:%Y-%m-%d %H:%M:%S}", style="bold")
        plain(f"    {each.workspace}  {each.topic}  source {each.source or 'unknown'}")
        tries = f"{each.attempts} {'try' if each.attempts == 1 else 'tries'}"
        plain(f"    {each.worker}, {tries}: {each.reason}")
        if each.detail:
            plain(f"    {shortened(each.detail)}", style="dim")
    if letters:
        plain("")
    for count in counts:
        plain(f"{count.letters:>8}  {count.state:<10}{count.topic:<16}{count.reason}")
    plain(f"{sum(count.letters for count in counts):>8}  together")


def _print_record(record: dict[str, Any]) -> None:
    if "gone" in record:
        plain(f"{'record':<18}{record['gone']}", style="yellow")
        return
    plain(f"{'key':<18}{record['key']}")
    for header in record["headers"]:
        plain(f"{'header':<18}{header['name']}: {header['value']}")
    encoding = "" if record["encoding"] == "text" else f", {record['encoding']}"
    plain(f"{'value':<18}{record['bytes']} bytes{encoding}{', cut short: --full shows all' if record['cut'] else ''}")
    if record["value"] is not None:
        plain(record["value"])
