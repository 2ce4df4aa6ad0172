from datetime import UTC, datetime
from uuid import UUID

import pytest
from qdrant_client import models

from infra.errors import Permanent
from infra.qdrant.points import chunks_of
from schemas.chat import SearchFilters
from workers.retriever.filters import searchable


def conditions(**filters: object) -> list[models.Condition]:
    must = searchable("acme", SearchFilters.model_validate(filters)).must
    assert isinstance(must, list)
    return must


def test_without_filters_the_workspace_and_the_part_still_bind() -> None:
    assert searchable("acme", SearchFilters()) == chunks_of("acme")
    assert len(conditions()) == 2


def test_every_filter_adds_to_the_workspace() -> None:
    given = conditions(
        sources=("s",), connectors=("c",), kinds=("k",), languages=("en",), authors=(" Ada ",), documents=(UUID(int=1),)
    )
    assert given[:2] == conditions()
    wanted = {
        one.key: one.match.any
        for one in given[2:]
        if isinstance(one, models.FieldCondition) and isinstance(one.match, models.MatchAny)
    }
    assert wanted == {
        "source": ["s"],
        "connector": ["c"],
        "kind": ["k"],
        "language": ["en"],
        "authors": ["ada"],
        "document": [str(UUID(int=1))],
    }


def test_times_are_epoch_seconds_both_ends_included() -> None:
    (condition,) = conditions(updated_from=datetime(2020, 1, 1, tzinfo=UTC))[2:]
    assert isinstance(condition, models.FieldCondition)
    assert condition.range == models.Range(gte=1_577_836_800.0)
    (condition,) = conditions(updated_to=datetime(2020, 1, 1, tzinfo=UTC))[2:]
    assert isinstance(condition, models.FieldCondition)
    assert condition.range == models.Range(lte=1_577_836_800.0)


@pytest.mark.parametrize(
    ("value", "alternatives"),
    [
        ("platform", ["platform"]),
        ("12", ["12", 12]),
        ("-3", ["-3", -3]),
        ("True", ["True", True]),
        ("1.5", ["1.5"]),
        ("9" * 30, ["9" * 30]),
        ("²", ["²"]),
    ],
)
def test_a_metadata_value_is_read_in_each_type_it_may_have(value: str, alternatives: list[object]) -> None:
    (condition,) = conditions(metadata={"team": value})[2:]
    assert isinstance(condition, models.Filter)
    assert isinstance(condition.should, list)
    fields = [one for one in condition.should if isinstance(one, models.FieldCondition)]
    assert {one.key for one in fields} == {'metadata."team"'}
    assert [one.match.value for one in fields if isinstance(one.match, models.MatchValue)] == alternatives


@pytest.mark.parametrize("name", ["", 'a"b', "a\\b"])
def test_a_metadata_name_that_no_path_holds_is_refused(name: str) -> None:
    with pytest.raises(Permanent):
        conditions(metadata={name: "x"})
