"""`millrace graph`: what stands next to an entity in the graph."""

from typing import Annotated
from urllib.parse import quote

import typer

from infra.cli.gateway import open_gateway
from infra.cli.terminal import AsJson, command, plain, print_json


@command
async def graph(
    entity: Annotated[str, typer.Argument(help="Entity key, for example person:github:octocat.")],
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="How many neighbours at most.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Show an entity's neighbours and the documents that state each relation."""
    async with open_gateway() as gateway:
        found = await gateway.get(f"/v1/graph/neighbors/{quote(entity, safe='')}", limit=limit)
    if as_json:
        print_json(found)
        return
    entity_name = found["entity"]["name"]
    plain(f"{found['entity']['key']}  {entity_name}", style="bold")
    for neighbour in found["neighbors"]:
        other = neighbour["entity"]
        arrow = (
            f"-[{neighbour['predicate']}]->" if neighbour["direction"] == "out" else f"<-[{neighbour['predicate']}]-"
        )
        documents = len(neighbour["documents"])
        plain(f"  {arrow} {other['name']} ({other['key']})  {documents} document{'s' if documents != 1 else ''}")
