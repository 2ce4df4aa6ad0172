"""The store's own rules: one owner, names, what a restart finds."""

from pathlib import Path

import pytest

from infra.qdrant.door.catalogue import Occupied
from infra.qdrant.door.faults import BadRequest, Conflict, NotFound
from infra.qdrant.door.store import Store

BODY = {"vectors": {"dense": {"size": 2, "distance": "Cosine"}}}


async def test_a_closed_store_can_be_opened_again_and_an_open_one_not(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    store.create("one", BODY)
    with pytest.raises(Occupied):
        Store.open(tmp_path)
    store.close()
    again = Store.open(tmp_path)
    assert again.get("one").schema.dense == {"dense": (2, "Cosine")}
    again.close()


@pytest.mark.parametrize("name", ["", "a/b", "..", "a" * 256, "a:b", "a\nb"])
async def test_a_name_that_is_no_name_is_refused(tmp_path: Path, name: str) -> None:
    store = Store.open(tmp_path)
    with pytest.raises(BadRequest):
        store.create(name, BODY)
    store.close()


async def test_alias_actions_are_all_or_none(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    store.create("one", BODY)
    good = {"create_alias": {"alias_name": "live", "collection_name": "one"}}
    for bad, fault in (
        ({"create_alias": {"alias_name": "x", "collection_name": "none"}}, NotFound),
        ({"create_alias": {"alias_name": "one", "collection_name": "one"}}, Conflict),
        ({"rename_alias": {"old_alias_name": "none", "new_alias_name": "x"}}, NotFound),
    ):
        with pytest.raises(fault):
            store.change_aliases([good, bad])
        assert store.catalogue.aliases == {}
    store.change_aliases([good])
    with pytest.raises(Conflict, match="Alias with the same name"):
        store.create("live", BODY)
    store.close()


async def test_idle_work_waits_for_quiet(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    store.create("one", BODY)
    store.get("one")
    store.optimize_idle(60)
    assert store.get("one").written_since_optimize
    store.optimize_idle(0)
    assert not store.get("one").written_since_optimize
    store.optimize_idle(0)
    store.close()
