from datetime import UTC, datetime
from uuid import UUID

import pytest
from pydantic import ValidationError
from qdrant_client import models

from infra.errors import Permanent
from infra.qdrant.points import chunks_of
from schemas.filters import SearchFilters
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


def meant(condition: models.Condition) -> object:
    """Return a condition's value, or its bounds."""
    assert isinstance(condition, models.FieldCondition)
    assert condition.key == 'metadata."team"'
    if isinstance(condition.match, models.MatchValue):
        return condition.match.value
    assert condition.range is not None
    return condition.range.model_dump(exclude_none=True)


def point(number: float) -> dict[str, float]:
    return {"gte": number, "lte": number}


@pytest.mark.parametrize(
    ("value", "alternatives"),
    [
        ("platform", ["platform"]),
        ("12", ["12", point(12)]),
        ("-3", ["-3", point(-3)]),
        ("True", ["True", True]),
        ("1.5", ["1.5", point(1.5)]),
        ("1e3", ["1e3", point(1000)]),
        ("9" * 30, ["9" * 30]),
        ("9" * 400, ["9" * 400]),
        ("²", ["²"]),
        ("", [""]),
        (12, [point(12)]),
        (1.5, [point(1.5)]),
        (True, [True]),
        (2**53 + 1, [2**53 + 1]),
        (["weir", 2031, False], ["weir", point(2031), False]),
    ],
)
def test_a_metadata_value_matches_in_its_type_and_a_text_in_each_it_may_spell(
    value: object, alternatives: list[object]
) -> None:
    (condition,) = conditions(metadata={"team": value})[2:]
    assert isinstance(condition, models.Filter)
    assert isinstance(condition.should, list)
    assert [meant(one) for one in condition.should] == alternatives
    assert all(type(meant(one)) is not int or meant(one) > 2**53 for one in condition.should)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("bounds", "meaning"),
    [
        ({"gte": 3, "lt": 4.5}, {"gte": 3, "lt": 4.5}),
        (
            {"gte": "2031-01-05", "lte": "2031-01-06"},
            {"gte": datetime(2031, 1, 5, tzinfo=UTC), "lte": datetime(2031, 1, 6, 23, 59, 59, 999_999, UTC)},
        ),
        ({"gt": "2031-01-05"}, {"gt": datetime(2031, 1, 5, 23, 59, 59, 999_999, UTC)}),
        ({"lt": "2031-01-05T10:00:00"}, {"lt": datetime(2031, 1, 5, 10, tzinfo=UTC)}),
        ({"lt": "2031-01-05T10:00:00+02:00"}, {"lt": datetime(2031, 1, 5, 8, tzinfo=UTC)}),
    ],
)
def test_a_range_is_over_numbers_or_over_days_and_times(bounds: object, meaning: object) -> None:
    (condition,) = conditions(metadata={"team": bounds})[2:]
    assert meant(condition) == meaning


@pytest.mark.parametrize("name", ["", 'a"b', "a\\b"])
def test_a_metadata_name_that_no_path_holds_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="metadata name"):
        conditions(metadata={name: "x"})
    with pytest.raises(Permanent):
        searchable("acme", SearchFilters.model_construct(metadata={name: "x"}))
