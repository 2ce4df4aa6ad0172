"""House rules that a tool can check."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.contract.code import PACKAGES, REPOSITORY, name_of, sources, tree

MOST_FILE_LINES = 320
MOST_FUNCTION_LINES = 45
"""About 300 and about 40: a little over is a matter of taste, much over is a second thing in one place."""

BANNED_NAMES = frozenset({"utils", "util", "helpers", "helper", "common", "manager", "core", "base", "misc", "shared"})
"""Words that say nothing of what is inside."""


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_files_are_short() -> None:
    lengths = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in sources(*PACKAGES)}
    assert {name: length for name, length in lengths.items() if length > MOST_FILE_LINES} == {}


def test_functions_are_short() -> None:
    lengths = {
        f"{name_of(path)}:{function.name}": (function.end_lineno or 0) - function.lineno + 1
        for path in sources(*PACKAGES)
        for function in functions(path)
    }
    assert {name: length for name, length in lengths.items() if length > MOST_FUNCTION_LINES} == {}


def test_names_say_what_is_inside() -> None:
    paths = list(sources(*PACKAGES, "tests", "bench"))
    named = {part for path in paths for part in path.relative_to(REPOSITORY).with_suffix("").parts}
    assert named & BANNED_NAMES == set()


def test_package_files_are_empty() -> None:
    """Whoever imports one module of a package must not pay for the others."""
    packages = [path for path in sources(*PACKAGES) if path.name == "__init__.py"]
    assert packages
    assert [name_of(path) for path in packages if path.read_text(encoding="utf-8").strip()] == []


def test_public_functions_and_classes_say_what_they_do() -> None:
    silent = [
        f"{name_of(path)}:{node.lineno} {node.name}"
        for path in sources(*PACKAGES)
        for node in tree(path).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        if not node.name.startswith("_") and ast.get_docstring(node) is None
    ]
    assert silent == []


def test_waiting_is_for_a_condition() -> None:
    """A test that sleeps is slow when it passes and wrong when the machine is slow. `sleep(0)` only yields."""
    sleeping = [
        f"{name_of(path)}:{node.lineno}"
        for path in sources("tests")
        if path != REPOSITORY / "tests" / "eventually.py"
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "sleep"
        if not (node.args and isinstance(node.args[0], ast.Constant) and node.args[0].value == 0)
    ]
    assert sleeping == []


def test_no_test_skips() -> None:
    """A missing server fails; a skipped test proves nothing and looks green.

    Only what the system cannot do at all may be left out: another platform, another user than root.
    """
    skipping = [
        f"{name_of(path)}:{node.lineno}"
        for path in sources("tests")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        if node.func.attr in {"skip", "skipif", "xfail", "importorskip"}
        if not (node.args and {"geteuid", "platform"} & _attributes(node.args[0]))
    ]
    assert skipping == []


def _attributes(condition: ast.expr) -> set[str]:
    return {node.attr for node in ast.walk(condition) if isinstance(node, ast.Attribute)}
