"""`millrace ask`: a question, its answer, and the passages that the answer stands on."""

from typing import Annotated, Any

import typer

from infra.cli.gateway import open_gateway
from infra.cli.terminal import AsJson, command, out, plain, print_json

TopK = Annotated[int, typer.Option("--top-k", "-k", min=1, max=100, help="How many passages to draw on.")]
FromSources = Annotated[list[str] | None, typer.Option("--source", help="Only from this source id; may be repeated.")]
OfKinds = Annotated[list[str] | None, typer.Option("--kind", help="Only of this kind; may be repeated.")]
ByAuthors = Annotated[list[str] | None, typer.Option("--author", help="Only by this author; may be repeated.")]

LeastSupport = Annotated[
    float | None,
    typer.Option("--support", min=0, max=1, help="Abstain below this support, 0 to 1; the built-in answerer only."),
]


@command
async def ask(
    question: Annotated[str, typer.Argument(help="The question.")],
    *,
    conversation: Annotated[str | None, typer.Option(help="Go on with this conversation.")] = None,
    top_k: TopK = 5,
    source: FromSources = None,
    kind: OfKinds = None,
    author: ByAuthors = None,
    support: LeastSupport = None,
    as_json: AsJson = False,
) -> None:
    """Ask a question; the answer names its sources, or says that they hold none."""
    body: dict[str, object] = {"message": question, "top_k": top_k, "filters": filters(source, kind, author)}
    if support is not None:
        body["min_support"] = support
    if conversation:
        body["conversation_id"] = conversation
    async with open_gateway() as gateway:
        reply = await gateway.post("/v1/chat", body)
    if as_json:
        print_json(reply)
        return
    plain(reply["answer"])
    for citation in reply.get("citations", []):
        print_citation(citation)
    out.print(f"conversation {reply['conversation_id']}", style="dim", markup=False)


def filters(sources: list[str] | None, kinds: list[str] | None, authors: list[str] | None) -> dict[str, list[str]]:
    """Return the search filters of the given options."""
    given = {"sources": sources, "kinds": kinds, "authors": authors}
    return {name: values for name, values in given.items() if values}


def print_citation(citation: dict[str, Any]) -> None:
    """Print where a quote stands: title, document, code point offsets, the quote itself, address."""
    title = citation.get("title") or citation["document_id"]
    plain("")
    plain(f"[{citation['number']}] {title}", style="bold")
    plain(f"    document {citation['document_id']}  {citation['start']}-{citation['end']}", style="dim")
    plain(f"    “{' '.join(citation['quote'].split())}”")
    if citation.get("url"):
        plain(f"    {citation['url']}", style="dim")
