"""`millrace search`: the passages nearest to a query."""

from typing import Annotated

import typer

from infra.cli.ask import ByAuthors, FromSources, OfKinds, TopK, UpdatedFrom, UpdatedTo, Where, filters
from infra.cli.gateway import open_gateway
from infra.cli.terminal import AsJson, command, out, plain, print_json


@command
async def search(
    query: Annotated[str, typer.Argument(help="What to look for.")],
    *,
    top_k: TopK = 5,
    source: FromSources = None,
    kind: OfKinds = None,
    author: ByAuthors = None,
    where: Where = None,
    updated_from: UpdatedFrom = None,
    updated_to: UpdatedTo = None,
    group_size: Annotated[
        int | None,
        typer.Option("--per-document", min=1, help="Count documents; show this many passages of each at the most."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Search the workspace's documents."""
    given = filters(source, kind, author, where, updated_from=updated_from, updated_to=updated_to)
    body: dict[str, object] = {"query": query, "top_k": top_k, "filters": given}
    if group_size:
        body |= {"group_by": "document", "group_size": group_size}
    async with open_gateway() as gateway:
        found = await gateway.post("/v1/search", body)
    if as_json:
        print_json(found)
        return
    for passage in found["passages"]:
        title = passage.get("title") or passage["document_id"]
        plain(f"[{passage['number']}] {title}  {passage['score']:.3f}", style="bold")
        plain(f"    document {passage['document_id']}  {passage['start']}-{passage['end']}", style="dim")
        plain(f"    {' '.join(passage['text'].split())}")
        if passage.get("url"):
            plain(f"    {passage['url']}", style="dim")
    out.print(f"{len(found['passages'])} passages in {found['took_ms']:.0f} ms", style="dim", markup=False)
