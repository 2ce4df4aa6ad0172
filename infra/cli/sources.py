"""`millrace sources`: what may send events into a workspace, and how complete each source is."""

from collections.abc import Mapping
from typing import Annotated, Any

import orjson
import typer
from rich.table import Column

from infra.cli.gateway import open_gateway
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

app = typer.Typer(help="Where events come from.", no_args_is_help=True)

COUNTS = ("fetched", "normalised", "embedded", "graphed", "not_a_document", "dead_lettered", "pending")

HEADINGS = {
    "fetched": "fet-\nched",
    "normalised": "normal-\nised",
    "embedded": "em-\nbedded",
    "graphed": "graph-\ned",
    "not_a_document": "not a\ndocu-\nment",
    "dead_lettered": "dead\nletters",
    "pending": "pend-\ning",
    "done": "done",
    "complete": "com-\nplete",
}


@app.command("list")
@command
async def show_all(as_json: AsJson = False) -> None:
    """List sources with their completeness: how many events have come, and how far each has got."""
    async with open_gateway() as gateway:
        sources = (await gateway.get("/v1/sources"))["sources"]
    if as_json:
        print_json(sources)
    else:
        print_completeness(sources)


@app.command("add")
@command
async def add(
    name: Annotated[str, typer.Argument(help="Name, unique in the workspace.")],
    connector: Annotated[str, typer.Option(help="github, generic, files or feed.")],
    config: Annotated[
        str, typer.Option(help='Connector settings as JSON, for example \'{"url": "https://…"}\'.')
    ] = "{}",
    secret: Annotated[
        str | None, typer.Option(envvar="MILLRACE_SOURCE_SECRET", help="Webhook secret; made up if not given.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Register a source; the same name and connector again returns the one there is."""
    body: dict[str, object] = {"name": name, "connector": connector, "config": _settings(config)}
    if secret:
        body["secret"] = secret
    async with open_gateway() as gateway:
        source = await gateway.post("/v1/sources", body)
    if as_json:
        print_json(source)
        return
    plain(source["source_id"])
    if source.get("hook_path"):
        plain(f"hook    {source['hook_path']}")
    if source.get("secret"):
        plain(f"secret  {source['secret']}")
        err.print("the secret is shown only now: give it to the sender")


@app.command("show")
@command
async def show(source: Annotated[str, typer.Argument(help="Source id or name.")], as_json: AsJson = False) -> None:
    """Show one source."""
    async with open_gateway() as gateway:
        sources = (await gateway.get("/v1/sources"))["sources"]
    found = next((each for each in sources if source in {each["source_id"], each["name"]}), None)
    if found is None:
        raise CommandError(Status.FAILED, f"no source {source!r} in this workspace", "see `millrace sources list`")
    if as_json:
        print_json(found)
        return
    for field in ("source_id", "name", "connector", "enabled", "hook_path", "config"):
        plain(f"{field:<12}{found.get(field, '')}")
    print_completeness([found])


def print_completeness(sources: list[dict[str, Any]]) -> None:
    """Print `sources` with their counts of events; it fits 80 columns where names are short."""
    columns = [whole("source"), *(number(HEADINGS[count]) for count in COUNTS), Column(HEADINGS["complete"])]
    rows = []
    for source in sources:
        counts: Mapping[str, Any] = source.get("completeness") or {}
        label = f"{source['name']} ({source['connector']})\n{source['source_id']}"
        numbers = [str(counts.get(count, 0)) for count in COUNTS]
        rows.append((label, *numbers, "yes" if counts.get("complete") else "no"))
    print_table(columns, rows)


def _settings(text: str) -> dict[str, Any]:
    try:
        settings = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise CommandError(Status.USAGE, f"--config is not JSON: {error}") from error
    if not isinstance(settings, dict):
        raise CommandError(Status.USAGE, "--config is not a JSON object")
    return settings
