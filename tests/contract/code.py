"""The code under contract, as text and as syntax trees."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PACKAGES = ("schemas", "topics", "infra", "workers", "gateway")


def sources(*folders: str) -> Iterator[Path]:
    """Yield every Python file under `folders` of the repository."""
    for folder in folders:
        yield from sorted((REPOSITORY / folder).rglob("*.py"))


@cache
def tree(path: Path) -> ast.Module:
    """Return the syntax tree of `path`."""
    return ast.parse(path.read_text(encoding="utf-8"))


def name_of(path: Path) -> str:
    """Return the path as shown in a failure."""
    return path.relative_to(REPOSITORY).as_posix()


def strings(module: ast.Module) -> Iterator[ast.Constant]:
    """Yield the string constants of a module that are no docstrings (nor attribute docstrings)."""
    prose = {id(node.value) for node in ast.walk(module) if isinstance(node, ast.Expr)}
    for node in ast.walk(module):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield node
