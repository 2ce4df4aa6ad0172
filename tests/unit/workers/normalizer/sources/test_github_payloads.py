"""Every real payload ends as documents or says why it is none."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.workers.normalizer.arrivals import github, read
from workers.normalizer.sources.draft import NotADocument
from workers.normalizer.sources.github.mapping import DOCUMENTS, SILENT

COMMITTED = Path(__file__).parents[4] / "data"


def payloads(data: Path) -> Iterator[tuple[str, bytes, str]]:
    for path in sorted((data / "github-webhooks").glob("*/*.json")):
        yield path.parent.name, path.read_bytes(), f"{path.parent.name}/{path.name}"


def test_every_payload_has_an_outcome(sample_data: Path) -> None:
    given = list(payloads(sample_data))
    assert len(given) >= 28
    kinds: set[str] = set()
    for offset, (event, body, name) in enumerate(given):
        outcome = read(github(event, body, delivery=name), offset)
        if isinstance(outcome, NotADocument):
            assert outcome.detail.startswith(f"{event}: "), name
            assert "no prose that is known" not in outcome.detail, name
            continue
        assert outcome, name
        for version in outcome:
            kinds.add(version.kind)
            if version.operation == "delete":
                continue
            assert version.text.strip(), name
            assert version.title, name
            assert version.url.startswith("https://") or version.kind in {"project_card", "security_advisory"}, name
            passages = [version.text_of(chunk) for chunk in version.chunks]
            assert all(passages), name
            keys = {entity.key for entity in version.entities}
            assert f"document:{version.document_id}" in keys
            for relation in version.relations:
                assert {relation.subject, relation.object} <= keys, (name, relation)
                assert relation.predicate == relation.predicate.upper()
    assert {"issue", "pull_request", "issue_comment", "review_comment", "discussion", "release", "commit"} <= kinds


@pytest.mark.parametrize(
    "name",
    ["issues/deleted", "issue_comment/deleted", "milestone/deleted"],
)
def test_deletions(name: str) -> None:
    path = COMMITTED / "github-webhooks" / f"{name}.payload.json"
    outcome = read(github(name.partition("/")[0], path.read_bytes()))
    assert isinstance(outcome, tuple)
    assert [version.operation for version in outcome] == ["delete"]


def test_the_tables_do_not_overlap() -> None:
    assert not DOCUMENTS.keys() & SILENT.keys()
