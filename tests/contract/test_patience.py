"""No test fails because a machine is busy: measured times have no upper bounds, and what waits is patient.

What is to be fast is shown by counting (turns, calls, what was begun meanwhile), by order, or on a clock that does not
wait (`tests.clocks`); what hangs is told by a deadline that no load comes near.
"""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.contract.code import REPOSITORY, name_of, sources, tree
from tests.eventually import PATIENCE_S

CLOCKS = frozenset(
    {"monotonic", "perf_counter", "process_time", "thread_time", "time", "monotonic_ns", "perf_counter_ns"}
)
GUARD_S = 30
"""A wait that is not meant to run out is at least so long."""


def called(node: ast.AST) -> str:
    """Return the last part of the name of what is called, empty for anything else."""
    if not isinstance(node, ast.Call):
        return ""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def names(node: ast.AST) -> Iterator[str]:
    for each in ast.walk(node):
        if isinstance(each, ast.Name):
            yield each.id


class Measured:
    """The names of a module that hold a time measured by a clock, or something made of one."""

    def __init__(self, module: ast.Module) -> None:
        self.names: set[str] = set()
        # On the clock that does not wait a time is a figure like any other.
        self._exact = within(module, "skipping")
        while True:
            before = len(self.names)
            for node in ast.walk(module):
                self._learn(node)
            if len(self.names) == before:
                return

    def is_span(self, node: ast.AST) -> bool:
        """Say whether `node` holds the difference of two readings, or a name that does."""
        differences = (each for each in ast.walk(node) if isinstance(each, ast.BinOp) and isinstance(each.op, ast.Sub))
        read = any(called(part) in CLOCKS for each in differences for part in ast.walk(each))
        return read or any(name in self.names for name in names(node))

    def _learn(self, node: ast.AST) -> None:
        if id(node) in self._exact:
            return
        if isinstance(node, ast.Assign) and self.is_span(node.value):
            self.names |= {name for target in node.targets if isinstance(target, ast.Name) for name in names(target)}
        elif called(node) in {"append", "add"} and isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if any(self.is_span(argument) for argument in node.args):
                self.names |= set(names(node.func.value))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            returned = [each.value for each in ast.walk(node) if isinstance(each, ast.Return) and each.value]
            if any(self.is_span(each) for each in returned):
                self.names.add(node.name)


def bounds(module: ast.Module) -> list[int]:
    """Return the lines of assertions that something measured be less than something else."""
    measured = Measured(module)
    found = []
    for claim in (node for node in ast.walk(module) if isinstance(node, ast.Assert)):
        for compared in (node for node in ast.walk(claim.test) if isinstance(node, ast.Compare)):
            left = compared.left
            for operator, right in zip(compared.ops, compared.comparators, strict=True):
                less = left if isinstance(operator, ast.Lt | ast.LtE) else right
                ordered = isinstance(operator, ast.Lt | ast.LtE | ast.Gt | ast.GtE)
                if ordered and measured.is_span(less):
                    found.append(claim.lineno)
                left = right
    return found


def within(module: ast.Module, context: str, argument: str = "") -> set[int]:
    """Return the nodes within `with ….<context>(…)`, with `argument` in it."""
    inside: set[int] = set()
    for node in ast.walk(module):
        if isinstance(node, ast.With | ast.AsyncWith) and any(
            called(item.context_expr) == context and argument in ast.unparse(item.context_expr) for item in node.items
        ):
            inside |= {id(each) for each in ast.walk(node)}
    return inside


def short_waits(module: ast.Module) -> list[int]:
    """Return the lines of `asyncio.timeout(n)` and `wait_for(…, n)` that a busy machine would let run out."""
    meant, found = within(module, "raises", "Timeout"), []
    for node in ast.walk(module):
        if not isinstance(node, ast.Call) or id(node) in meant or called(node) not in {"timeout", "wait_for"}:
            continue
        given = node.args[-1:] + [each.value for each in node.keywords if each.arg == "timeout"]
        waits = [each.value for each in given if isinstance(each, ast.Constant) and isinstance(each.value, int | float)]
        if any(0 < seconds < GUARD_S for seconds in waits):
            found.append(node.lineno)
    return found


def test_no_measured_time_has_an_upper_bound() -> None:
    places = [f"{name_of(path)}:{line}" for path in sources("tests") for line in bounds(tree(path))]
    assert places == []


def test_what_is_not_meant_to_run_out_is_waited_for_with_patience() -> None:
    places = [f"{name_of(path)}:{line}" for path in sources("tests") for line in short_waits(tree(path))]
    assert places == []


def test_hypothesis_and_pytest_are_patient() -> None:
    assert settings().deadline is None
    told = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pytest"]["ini_options"]
    assert told["timeout"] >= 5 * PATIENCE_S
    marks = [
        f"{name_of(path)}:{node.lineno}"
        for path in sources("tests")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.timeout"
        if ast.literal_eval(node.args[0]) < 5 * PATIENCE_S
    ]
    assert marks == []


@pytest.mark.parametrize(
    "code",
    [
        "assert monotonic() - began < 2",
        "assert 0.1 <= time.perf_counter() - began < 2",
        "took = perf_counter() - began\nassert took < 1",
        "freed.append(monotonic() - began)\nassert max(freed) < 1",
        "assert 5 > asyncio.get_running_loop().time() - began",
        "async def quickest():\n    return monotonic() - began\nassert await quickest() < 1",
    ],
)
def test_the_scan_finds_a_bound(code: str) -> None:
    assert bounds(ast.parse(code)) != []


@pytest.mark.parametrize("code", ["assert monotonic() - began >= 0.1", "assert 0.2 < took", "assert count < 5"])
def test_the_scan_lets_lower_bounds_and_counts_pass(code: str) -> None:
    assert bounds(ast.parse(code)) == []


def test_the_scan_finds_an_impatient_wait_and_lets_one_that_is_meant_pass(tmp_path: Path) -> None:
    assert short_waits(ast.parse("await asyncio.wait_for(task, 1)")) == [1]
    assert short_waits(ast.parse("async with asyncio.timeout(5):\n    pass")) == [1]
    meant = "with pytest.raises(TimeoutError):\n    async with asyncio.timeout(0.01):\n        pass"
    assert short_waits(ast.parse(meant)) == []
