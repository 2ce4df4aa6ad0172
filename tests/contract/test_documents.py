"""What the documents name exists: commands, make targets, settings, links, metrics."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from infra.cli.main import app
from infra.telemetry.document import document
from tests.contract.code import PACKAGES, REPOSITORY, sources

DOCUMENTS = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")])
CODE = re.compile(r"```[a-z]*\n(.*?)```|`([^`\n]+)`", re.DOTALL)
VARIABLE = re.compile(r"\b(?:MILLRACE|KAFKA|POSTGRES|NEO4J|REDIS|QDRANT|OBJECT_STORE|INFERENCE)_[A-Z_]+[A-Z]\b")
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]+)(#[^)\s]*)?\)")


def spans(path: Path) -> Iterator[str]:
    for match in CODE.finditer(path.read_text(encoding="utf-8")):
        yield match[1] or match[2]


def commands() -> dict[str, frozenset[str]]:
    """Return the sub-commands of each command, none for a plain one."""
    root = typer.main.get_command(app)
    return {name: frozenset(getattr(command, "commands", {})) for name, command in root.commands.items()}  # type: ignore[attr-defined]


def named_commands(text: str) -> Iterator[tuple[str, str]]:
    """Yield command and the word after it, for each `millrace …` in code; alternatives with | count each."""
    for match in re.finditer(r"(?:^|\$ |/|\n)millrace +((?:[a-z|…]+(?:-[a-z]+)* *)+)", text):
        words = match[1].replace("…", " ").replace(" | ", "|").split()
        for first in words[0].split("|") if words else ():
            for second in (words[1] if len(words) > 1 else "").split("|"):
                yield first, second


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_named_commands_exist(path: Path) -> None:
    known = commands()
    for span in spans(path):
        for first, second in named_commands(span):
            assert first in known, f"{path.name}: millrace {first}"
            if known[first] and second:
                assert second in known[first], f"{path.name}: millrace {first} {second}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_named_make_targets_exist(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {match for span in spans(path) for match in re.findall(r"(?:^|\n)make ([a-z-]+)", span)}
    assert named <= targets


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target, _ in LINK.findall(path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), f"{path.name}: {target}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_named_settings_are_read_somewhere(path: Path) -> None:
    code = "\n".join(source.read_text(encoding="utf-8") for source in sources(*PACKAGES, "tests"))
    named = set(VARIABLE.findall(path.read_text(encoding="utf-8")))
    assert {name for name in named if name not in code} == set()


def test_the_readme_gives_the_two_commands() -> None:
    text = "\n".join(spans(REPOSITORY / "README.md"))
    assert "make demo" in text
    assert "make test" in text


def test_the_metrics_document_is_current() -> None:
    path = REPOSITORY / "docs" / "metrics.md"
    assert path.read_text(encoding="utf-8") == document(), "stale: python -m infra.telemetry.document > docs/metrics.md"


def test_every_command_speaks_json() -> None:
    """But those whose output is a log, which is JSON lines already, and the guided tour."""
    root = typer.main.get_command(app)
    silent = []
    for name, command in root.commands.items():  # type: ignore[attr-defined]
        for sub_name, each in getattr(command, "commands", {name: command}).items():
            if not any("--json" in parameter.opts for parameter in each.params):
                silent.append(sub_name)
    assert sorted(silent) == ["demo", "gateway", "logs", "work"]


def test_the_guide_shows_the_worker_that_is_tested() -> None:
    guide = (REPOSITORY / "docs" / "adding-a-worker.md").read_text(encoding="utf-8")
    worker = (REPOSITORY / "docs" / "examples" / "word_counter.py").read_text(encoding="utf-8")
    assert f"```python\n{worker.rstrip()}\n```" in guide
    assert len(worker.splitlines()) < 60


def test_every_decision_is_listed() -> None:
    folder = REPOSITORY / "docs" / "decisions"
    listed = (folder / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in folder.glob("0*.md") if f"({path.name})" not in listed] == []


def test_every_document_is_reached_from_the_readme() -> None:
    linked = set(LINK.findall((REPOSITORY / "README.md").read_text(encoding="utf-8")))
    targets = {target for target, _ in linked}
    assert [path.name for path in (REPOSITORY / "docs").glob("*.md") if f"docs/{path.name}" not in targets] == []


def test_no_document_names_a_private_place() -> None:
    private = re.compile(r"(?<![\w.])/(?:work|root|tmp)/")
    assert [path.name for path in DOCUMENTS if private.search(path.read_text(encoding="utf-8"))] == []
