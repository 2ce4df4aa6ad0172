"""How a command speaks: results on stdout (JSON with --json), everything else on stderr, and a status for scripts."""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Iterable, Sequence
from enum import IntEnum
from functools import wraps
from typing import Annotated, Any, ParamSpec

import orjson
import typer
from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.table import Column, Table
from rich.text import Text

from infra.errors import Permanent, Transient
from infra.settings import SettingsError
from infra.telemetry.redaction import redact_text

Given = ParamSpec("Given")

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]

out = Console(soft_wrap=True, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False)


LONGEST_WORD = 24
"""A longer word of a column that wraps is broken."""


class Status(IntEnum):
    """Exit status of every command."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    """Something that the command needs is not running or does not answer."""
    REFUSED = 4
    """It answered and said no: key, validation, a change that would lose data."""


class CommandError(Exception):
    """The command ends here. `next_step` tells the user what to do about it."""

    def __init__(self, status: Status, message: str, next_step: str = "", code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.next_step = next_step
        self.code = code or status.name.lower()


def command(call: Callable[Given, Coroutine[Any, Any, Any] | Status | None]) -> Callable[Given, None]:
    """Make a Typer command of `call`, sync or async; what it returns is the exit status (None for 0).

    A CommandError, Transient, Permanent or SettingsError becomes a message on stderr (JSON with --json) and its status.
    """

    @wraps(call)
    def run(*args: Given.args, **kwargs: Given.kwargs) -> None:
        try:
            result = call(*args, **kwargs)
            status = asyncio.run(result) if isinstance(result, Coroutine) else result
        except (CommandError, Transient, Permanent, SettingsError) as error:
            failure = _as_command_error(error)
            report(failure, as_json=bool(kwargs.get("as_json")))
            raise typer.Exit(failure.status) from None
        if status:
            raise typer.Exit(int(status))

    return run


def _as_command_error(error: Exception) -> CommandError:
    match error:
        case CommandError():
            return error
        case Transient():
            message = f"{error.dependency} does not answer: {error.detail}"
            return CommandError(Status.UNREACHABLE, message, "see `millrace status` and `millrace doctor`")
        case Permanent():
            return CommandError(Status.REFUSED, error.detail, code=str(error.reason))
        case _:
            return CommandError(Status.USAGE, str(error), "set it, or start the local stack with `millrace up`")


def report(error: CommandError, *, as_json: bool) -> None:
    """Print why a command ends, on stderr, without secrets."""
    message = redact_text(error.message)
    if as_json:
        body = {"error": {"code": error.code, "message": message, "next": error.next_step}}
        sys.stderr.write(orjson.dumps(body).decode() + "\n")
        return
    err.print("error:", message, style="bold red", markup=False)
    if error.next_step:
        err.print(error.next_step, markup=False)


def print_json(value: object) -> None:
    """Print `value` as indented JSON on stdout."""
    sys.stdout.write(orjson.dumps(value, default=str, option=orjson.OPT_INDENT_2).decode() + "\n")


def plain(text: object, style: str = "") -> None:
    """Print one line on stdout as it is: `[` in it is no markup."""
    out.print(str(text), markup=False, style=style or None)


def shortened(text: str, characters: int = 200) -> str:
    """Return prose on one line, cut where it is longer; nothing that a command is given may stand in it."""
    line = " ".join(text.split())
    return line if len(line) <= characters else line[: characters - 1] + "…"


def whole(header: str) -> Column:
    """Return a column whose cells are never cut or broken: what a following command is given stands in it."""
    return Column(header, no_wrap=True)


def number(header: str) -> Column:
    """Return a column of numbers."""
    return Column(header, justify="right")


def print_table(
    columns: Sequence[Column | str], rows: Iterable[Sequence[str]], *, title: str = "", total: Sequence[str] = ()
) -> None:
    """Print a table on stdout; cells are text, `[` in them is no markup.

    Columns of `whole` are whole at any width: the others wrap at their words, and where that is not enough the lines
    are longer than the terminal. Nothing is cut. What is not printed on a terminal is as wide as it needs to be.
    """
    table = Table(*columns, box=None, padding=(0, 2, 0, 0), pad_edge=False, title=title or None, title_justify="left")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    if total:
        table.add_row(*(Text(cell) for cell in total))
    for column in table.columns:
        cells = [str(cell) for cell in (column.header, *column.cells)]
        parts = [part for cell in cells for part in (cell.split("\n") if column.no_wrap else cell.split())]
        widest = max(map(cell_len, parts), default=1)
        column.min_width = widest if column.no_wrap else min(widest, LONGEST_WORD)
        column.overflow = "fold"
    roomy = out.options.update(max_width=10_000)
    if out.is_terminal and Measurement.get(out, roomy, table).minimum > out.width:
        table.padding = (0, 1, 0, 0)
    needs = Measurement.get(out, roomy, table)
    width = max(out.width, needs.minimum) if out.is_terminal else needs.maximum
    # A console prints nothing wider than itself, so this one is as wide as the table; it writes where `out` does.
    wide = Console(file=out.file, soft_wrap=True, highlight=False, width=width, force_terminal=out.is_terminal)
    wide.print(table)
