"""Ids follow from what they stand for, on every machine and in every version of this code."""

from uuid import UUID, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import ids

PART = st.text(st.characters(exclude_characters="\x1f", exclude_categories=("Cs",)), max_size=20)


def test_ids_never_change() -> None:
    """Stored points, rows and nodes carry these: another result would orphan all of them."""
    assert ids.event_id("acme", "src_a", "1") == UUID("ada10869-cb7d-5e1f-af0c-51ebf661d168")
    assert ids.document_id("acme", "src_a", "1") != ids.event_id("acme", "src_a", "1")


@given(st.lists(PART, min_size=1, max_size=4), st.lists(PART, min_size=1, max_size=4))
def test_only_equal_parts_meet(one: list[str], other: list[str]) -> None:
    assert (ids.deterministic_id("k", *one) == ids.deterministic_id("k", *other)) == (one == other)


def test_a_part_with_the_separator_is_refused() -> None:
    with pytest.raises(ValueError, match="U\\+001F"):
        ids.deterministic_id("k", "a\x1fb")


def test_workspaces_do_not_meet() -> None:
    made = {ids.document_id(workspace, "src_a", "1") for workspace in ("acme", "acme-2", "a")}
    assert len(made) == 3
    document = ids.document_id("acme", "src_a", "1")
    assert ids.point_id("acme", document, "head") != ids.point_id("other", document, "head")
    assert ids.derived_event_id(document, "w", "t", "") != ids.derived_event_id(document, "w", "t", "1")


@given(st.lists(PART, max_size=4))
def test_an_id_is_the_version_5_uuid_of_its_parts(parts: list[str]) -> None:
    assert ids.deterministic_id("k", *parts) == uuid5(ids.NAMESPACE, "\x1f".join(["k", *parts]))


HEX = st.text("0123456789abcdefABCDEF", min_size=30, max_size=34)
NEARLY = st.text("0123456789abcdefABCDEF-{}urn: uid_+x٣", min_size=28, max_size=46)


@given(
    st.one_of(st.uuids().map(str), HEX, NEARLY, st.uuids().map(lambda made: f"urn:uuid:{made}"), st.text(max_size=40))
)
def test_an_id_is_read_as_uuid_reads_it(text: str) -> None:
    """Ids that were accepted once must stay readable, and what was refused must stay refused."""
    try:
        expected = UUID(text)
    except ValueError:
        with pytest.raises(ValueError, match=r"badly formed|invalid literal|out of range"):
            ids.parse_id(text)
    else:
        assert ids.parse_id(text) == expected
