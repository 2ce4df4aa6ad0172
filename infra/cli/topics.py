"""`millrace topics`: compare the catalogue with the broker, change the broker, draw the flow."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from infra.cli.surroundings import adopt_local_stack
from infra.cli.terminal import AsJson, CommandError, Status, command, plain, print_json, print_table, whole
from infra.settings import KafkaSettings, load
from topics.catalogue import CATALOGUE
from topics.diagram import MarkersMissingError, mermaid, replace_section
from topics.plan import Plan, TopicState

app = typer.Typer(help="The topics of the log.", no_args_is_help=True)


@app.command("plan")
@command
async def show_plan(as_json: AsJson = False) -> Status:
    """Show what `apply` would change on the broker. Changes nothing."""
    from infra.kafka import admin

    return _show(await admin.compare(_kafka()), "would", as_json=as_json)


@app.command("apply")
@command
async def apply(as_json: AsJson = False) -> Status:
    """Create and configure topics as declared. What could lose or reorder records is refused (status 4)."""
    from infra.kafka import admin

    try:
        carried_out = await admin.apply(_kafka())
    except admin.AdminError as error:
        raise CommandError(Status.REFUSED, str(error)) from error
    return _show(carried_out, "did", as_json=as_json)


@app.command("describe")
@command
async def describe(as_json: AsJson = False) -> None:
    """Show each declared topic, with what the broker has."""
    from infra.kafka import admin

    states = await admin.describe(_kafka())
    if as_json:
        print_json([_described(topic, states.get(topic.name)) for topic in CATALOGUE])
        return
    rows = [_row(topic, states.get(topic.name)) for topic in CATALOGUE]
    print_table((whole("topic"), "partitions", "kept", "from", "to"), rows)


@app.command("diagram")
@command
def diagram(
    write: Annotated[
        Path | None, typer.Option(help="Redraw the marked section of this file, for example README.md.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Draw the flow as Mermaid, from the catalogue. Needs no broker."""
    if write is not None:
        try:
            write.write_text(replace_section(write.read_text(encoding="utf-8")), encoding="utf-8")
        except (OSError, MarkersMissingError) as error:
            raise CommandError(Status.USAGE, f"{write}: {error}") from error
    if as_json:
        print_json({"mermaid": mermaid(), "written": str(write) if write else None})
    elif write is None:
        plain(mermaid())


def _kafka() -> KafkaSettings:
    adopt_local_stack()
    return load(KafkaSettings)


def _show(plan: Plan, word: str, *, as_json: bool) -> Status:
    if as_json:
        print_json(
            {
                "changes": [{"kind": type(change).__name__, **asdict(change)} for change in plan.changes],
                "refusals": [asdict(refusal) for refusal in plan.refusals],
                "undeclared": plan.undeclared,
            }
        )
    else:
        for change in plan.changes:
            plain(f"{word} {change}")
        for refusal in plan.refusals:
            plain(str(refusal), style="yellow")
        if plan.undeclared:
            plain(f"not in the catalogue, left alone: {', '.join(plan.undeclared)}")
        if not plan.changes and not plan.refusals:
            plain("the broker holds the catalogue: nothing to change")
    return Status.REFUSED if plan.refusals else Status.OK


def _row(topic: Any, state: TopicState | None) -> tuple[str, ...]:
    kept = "for ever" if topic.retention is None else f"{topic.retention.days} d"
    return (
        topic.name,
        (str(state.partitions) if state else "missing") + (" (fixed)" if topic.fixed_partitions else ""),
        f"{kept}, compacted" if topic.compacted else kept,
        ", ".join(topic.producers),
        ", ".join(topic.consumers),
    )


def _described(topic: Any, state: TopicState | None) -> dict[str, Any]:
    return {
        "topic": topic.name,
        "schema": f"{topic.body.schema_name}/{topic.body.schema_version}",
        "purpose": topic.purpose,
        "producers": topic.producers,
        "consumers": topic.consumers,
        "declared_partitions": topic.partitions,
        "fixed_partitions": topic.fixed_partitions or None,
        "max_bytes": topic.max_bytes,
        "broker": asdict(state) if state else None,
    }
