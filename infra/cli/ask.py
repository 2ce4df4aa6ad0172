"""`millrace ask`: a question, its answer, and the passages that the answer stands on."""

import re
from typing import Annotated, Any

import typer

from infra.cli.gateway import open_gateway
from infra.cli.terminal import AsJson, CommandError, Status, command, out, plain, print_json

TopK = Annotated[int, typer.Option("--top-k", "-k", min=1, max=100, help="How many passages to draw on.")]
FromSources = Annotated[list[str] | None, typer.Option("--source", help="Only from this source id; may be repeated.")]
OfKinds = Annotated[list[str] | None, typer.Option("--kind", help="Only of this kind; may be repeated.")]
ByAuthors = Annotated[list[str] | None, typer.Option("--author", help="Only by this author; may be repeated.")]
Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="NAME=VALUE",
        help="Only with this metadata: =, >=, >, <= or < (numbers, days, times); may be repeated, = for alternatives.",
    ),
]
UpdatedFrom = Annotated[str | None, typer.Option("--updated-from", help="A day or a time; UTC without a zone.")]
UpdatedTo = Annotated[str | None, typer.Option("--updated-to", help="The same; a day counts to its end.")]

_CONDITION = re.compile(r"(?P<name>.+?)(?P<operator>>=|<=|=|>|<)(?P<value>.*)", re.DOTALL)
_BOUNDS = {">=": "gte", ">": "gt", "<=": "lte", "<": "lt"}

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
    where: Where = None,
    updated_from: UpdatedFrom = None,
    updated_to: UpdatedTo = None,
    support: LeastSupport = None,
    as_json: AsJson = False,
) -> None:
    """Ask a question; the answer names its sources, or says that they hold none."""
    given = filters(source, kind, author, where, updated_from=updated_from, updated_to=updated_to)
    body: dict[str, object] = {"message": question, "top_k": top_k, "filters": given}
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


def filters(
    sources: list[str] | None,
    kinds: list[str] | None,
    authors: list[str] | None,
    where: list[str] | None = None,
    **times: str | None,
) -> dict[str, object]:
    """Return the search filters of the given options. Raises CommandError for a `where` that is no condition."""
    given: dict[str, object] = {"sources": sources, "kinds": kinds, "authors": authors, **times}
    conditions: dict[str, Any] = {}
    for text in where or ():
        _add(conditions, text)
    return {name: values for name, values in {**given, "metadata": conditions}.items() if values}


def _add(conditions: dict[str, Any], text: str) -> None:
    parts = _CONDITION.fullmatch(text)
    if parts is None:
        raise CommandError(Status.USAGE, f"--where {text!r} is no condition", "write NAME=VALUE, or NAME>=VALUE")
    name, operator, value = parts["name"], parts["operator"], parts["value"]
    present = conditions.setdefault(name, {} if operator in _BOUNDS else [])
    if isinstance(present, dict) != (operator in _BOUNDS):
        raise CommandError(Status.USAGE, f"--where {name}: a value or a range, not both")
    if isinstance(present, dict):
        present[_BOUNDS[operator]] = _number(value)
    else:
        present.append(value)


def _number(text: str) -> float | str:
    """A bound that is no number is a day or a time, which the gateway judges. Values stay text: it has all types."""
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return text


def print_citation(citation: dict[str, Any]) -> None:
    """Print where a quote stands: title, document, code point offsets, the quote itself, address."""
    title = citation.get("title") or citation["document_id"]
    plain("")
    plain(f"[{citation['number']}] {title}", style="bold")
    plain(f"    document {citation['document_id']}  {citation['start']}-{citation['end']}", style="dim")
    plain(f"    “{' '.join(citation['quote'].split())}”")
    if citation.get("url"):
        plain(f"    {citation['url']}", style="dim")
