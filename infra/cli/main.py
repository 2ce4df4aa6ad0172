"""`millrace`: every command, one file per group. Heavy clients are imported by the commands that use them."""

import typer

from infra.cli import stack
from infra.cli.ask import ask
from infra.cli.dead_letters import app as dead_letters
from infra.cli.demo import demo
from infra.cli.events import events
from infra.cli.explain import explain
from infra.cli.failpoints import failpoints
from infra.cli.graph import graph
from infra.cli.ingest import ingest
from infra.cli.keys import app as keys
from infra.cli.ledger import app as ledger
from infra.cli.search import search
from infra.cli.sources import app as sources
from infra.cli.topics import app as topics
from infra.cli.work import gateway, work

app = typer.Typer(
    name="millrace",
    help="A self-hosted AI platform that keeps learning from a team's own tools.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)
stack.register(app)
app.add_typer(topics, name="topics")
app.add_typer(keys, name="keys")
app.add_typer(sources, name="sources")
app.add_typer(dead_letters, name="dead-letters")
app.add_typer(ledger, name="ledger")
for single in (ingest, search, ask, events, explain, graph, demo, failpoints, work, gateway):
    app.command(single.__name__)(single)


def run() -> None:
    """Run the command line; the process's exit status says how it went (see `infra.cli.terminal.Status`)."""
    app()


if __name__ == "__main__":
    run()
