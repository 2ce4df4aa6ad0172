"""What a stack is doing while one waits: a line per unit with the seconds so far, redrawn; or lines, for a log."""

import time
from types import TracebackType
from typing import Self

from rich.live import Live
from rich.table import Table

from infra.cli.terminal import err
from infra.local.record import ProcessRecord, StackRecord, State

SETTLED = {State.READY, State.DONE, State.OUTSIDE, State.STOPPED}
MARKS = {
    State.READY: "[green]✔[/]",
    State.DONE: "[green]✔[/]",
    State.OUTSIDE: "[green]✔[/]",
    State.STOPPED: "[dim]■[/]",
    State.FAILED: "[red]✘[/]",
    State.RESTARTING: "[yellow]↻[/]",
    State.WAITING: "[dim]…[/]",
}


class Progress:
    """Shows a record again and again: in place on a terminal, and each change once elsewhere."""

    def __init__(self, *, shown: bool = True) -> None:
        self._shown = shown
        self._live = Live(console=err, transient=True, refresh_per_second=10) if shown and err.is_terminal else None
        self._began = time.time()
        self._said: dict[str, tuple[State, str]] = {}

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def show(self, record: StackRecord) -> None:
        """Show what `record` holds now."""
        if self._live:
            self._live.update(self._table(record))
        elif self._shown:
            self._tell(record)

    def _table(self, record: StackRecord) -> Table:
        table = Table.grid(padding=(0, 2))
        for one in record.processes.values():
            seconds = "" if one.state in SETTLED else f"{time.time() - one.since:.0f} s"
            detail = one.detail.replace("[", r"\[")
            table.add_row(MARKS.get(one.state, "[cyan]·[/]"), one.name, one.state, detail, seconds)
        table.add_row("", f"{time.time() - self._began:.0f} s", "", "", "")
        return table

    def _tell(self, record: StackRecord) -> None:
        for one in record.processes.values():
            # Each megabyte would be a line of its own.
            detail = "fetching" if one.detail.startswith("fetching") else one.detail
            if one.state is not State.WAITING and self._said.get(one.name) != (one.state, detail):
                self._said[one.name] = (one.state, detail)
                self._line(one, detail)

    def _line(self, one: ProcessRecord, detail: str) -> None:
        seconds = time.time() - self._began
        err.print(f"{seconds:6.1f} s  {one.name:9} {one.state} {detail}".rstrip(), markup=False)
