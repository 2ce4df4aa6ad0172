"""CSV and JSON to lines that make sense by themselves: each value stands beside its name."""

import csv
import json
from collections.abc import Iterator
from io import StringIO
from typing import Any

from workers.normalizer.parse.parsed import Parsed, ParseError, oversize

_SNIFF = 16_384


def parse_csv(text: str, chars: int, delimiter: str = "") -> Parsed:
    """Return one line per row, `column: value; column: value`; the first row names the columns.

    So each row can be found and quoted alone. Raises ParseError `oversize`, `unreadable_document`.
    """
    # Process-wide, which is right in a parser child: a cell may be as long as the text may.
    csv.field_size_limit(chars)
    rows = csv.reader(StringIO(text, newline=""), delimiter=delimiter or _delimiter(text))
    try:
        names = next(rows, [])
        lines = _bounded(_rows(names, rows), chars)
    except csv.Error as error:
        raise ParseError("unreadable_document", f"not CSV: {error}"[:200]) from error
    if not lines:
        lines = [", ".join(names)]
    facts: dict[str, Any] = {"rows": len(lines), "columns": tuple(name.strip() for name in names if name.strip())[:50]}
    return Parsed("\n".join(lines), "text", "text/csv", metadata=facts)


def parse_json(text: str, chars: int) -> Parsed:
    """Return one line per value, `path.to[0].it: value`. What is not JSON (comments, templates) stays as it is."""
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError):
        return Parsed(text, "code", "application/json", metadata={"code_language": "json"})
    return Parsed("\n".join(_bounded(_leaves(tree), chars)), "text", "application/json", title=_title(tree))


def parse_json_lines(text: str, chars: int) -> Parsed:
    """Return a paragraph per line of JSON, each value beside its path. Lines that are not JSON stay as they are."""
    paragraphs = (parse_json(line, chars).text for line in text.splitlines() if line.strip())
    return Parsed("\n\n".join(_bounded(paragraphs, chars)), "text", "application/x-ndjson")


def _delimiter(text: str) -> str:
    try:
        return csv.Sniffer().sniff(text[:_SNIFF], delimiters=",;\t|").delimiter
    except csv.Error:
        return ","


def _rows(names: list[str], rows: Iterator[list[str]]) -> Iterator[str]:
    for row in rows:
        cells = []
        for position, value in enumerate(row):
            name = names[position].strip() if position < len(names) else ""
            if value.strip():
                cells.append(f"{name}: {' '.join(value.split())}" if name else " ".join(value.split()))
        if cells:
            yield "; ".join(cells)


def _leaves(tree: Any) -> Iterator[str]:
    # A stack and not recursion: the depth of the nesting is the sender's choice.
    stack: list[tuple[str, Any]] = [("", tree)]
    while stack:
        path, value = stack.pop()
        if isinstance(value, dict):
            stack.extend((f"{path}.{key}" if path else str(key), part) for key, part in reversed(value.items()))
        elif isinstance(value, list):
            stack.extend((f"{path}[{at}]", value[at]) for at in reversed(range(len(value))))
        elif value is not None and value != "":
            told = value if isinstance(value, str) else json.dumps(value)
            yield f"{path}: {told}" if path else told


def _title(tree: Any) -> str:
    if isinstance(tree, dict):
        for name in ("title", "name"):
            if isinstance(tree.get(name), str):
                return str(tree[name])
    return ""


def _bounded(lines: Iterator[str], chars: int) -> list[str]:
    kept: list[str] = []
    length = 0
    for line in lines:
        length += len(line) + 1
        if length > chars + 1:
            raise oversize(chars)
        kept.append(line)
    return kept
