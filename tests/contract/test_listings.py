"""No command prints an id, name or key that cannot be used: tables are made in one place, which keeps them whole."""

import ast
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from infra.cli import terminal
from tests.contract.code import name_of, sources, tree

ID = "0b7a3e2c-1111-4222-8333-444455556666"
LISTINGS = {
    "infra/cli/failpoints.py": ["failpoint"],
    "infra/cli/keys.py": ["key", "workspace"],
    "infra/cli/ledger.py": ["from acceptance to searchable", "source", "workspace"],
    "infra/cli/sources.py": ["source"],
    "infra/cli/stack.py": ["name", "pid", "port"],
    "infra/cli/topics.py": ["topic"],
}
"""Who prints tables, and their columns of which a following command is given something (a key, a source, a process, a
topic): a new table, or a column that is no longer whole, has to be thought of here."""


def called(path: ast.Module, name: str) -> list[ast.Call]:
    found = [node for node in ast.walk(path) if isinstance(node, ast.Call)]
    return [call for call in found if isinstance(call.func, ast.Name) and call.func.id == name]


def test_tables_are_made_in_one_place() -> None:
    makers = {name_of(path) for path in sources("infra", "gateway", "workers") if called(tree(path), "Table")}
    assert makers == {"infra/cli/terminal.py"}


def test_every_table_keeps_whole_what_a_command_is_given() -> None:
    found = {
        name_of(path): sorted({str(ast.literal_eval(call.args[0])) for call in called(tree(path), "whole")})
        for path in sources("infra/cli")
        if called(tree(path), "print_table")
    }
    assert found == LISTINGS


def shown(monkeypatch: pytest.MonkeyPatch, width: int, *cells: str, is_terminal: bool) -> str:
    page = io.StringIO()
    console = Console(file=page, soft_wrap=True, highlight=False, width=width, force_terminal=is_terminal)
    monkeypatch.setattr(terminal, "out", console)
    columns = (terminal.whole("id"), "prose", terminal.whole("name"), terminal.number("count"))
    terminal.print_table(columns, [cells], total=("together", "", "", "12"))
    return page.getvalue()


@pytest.mark.parametrize("width", [1, 20, 40, 80, 200])
@pytest.mark.parametrize("is_terminal", [True, False])
def test_an_id_is_whole_at_any_width(monkeypatch: pytest.MonkeyPatch, width: int, is_terminal: bool) -> None:
    prose, name = "why graph_builder gave it up, at length " * 9, "Notes of [the] team [/x]"
    page = shown(monkeypatch, width, ID, prose, name, "7", is_terminal=is_terminal)
    assert ID in page
    assert name in page
    assert "…" not in page, "something was cut"
    assert "graph_builder" in page
    if not is_terminal:
        assert prose.strip() in page, "what is read by a program is not wrapped"


@given(name=st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=60))
def test_a_name_is_whole_whatever_it_is_made_of(name: str) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        assert name in shown(monkeypatch, 40, ID, "prose", name, "7", is_terminal=True)
