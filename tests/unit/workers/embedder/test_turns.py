import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.models.hashed import HashEncoder
from tests.events import document
from tests.eventually import eventually
from tests.unit.workers.embedder.test_encode import Counting
from workers.embedder.asked import Asked
from workers.embedder.turns import Overtaken, Turns, slices


@given(st.lists(st.text(max_size=30), max_size=50), st.integers(1, 60))
def test_slices_hold_every_text_once_within_the_bound(texts: list[str], characters: int) -> None:
    cut = list(slices(texts, characters))
    assert sorted(at for part in cut for at in part) == list(range(len(texts)))
    assert all(len(part) == 1 or sum(len(texts[at]) for at in part) <= characters for part in cut)


async def test_vectors_come_in_the_order_of_the_texts() -> None:
    texts = [("word " * (number % 7 + 1) + str(number)) * 300 for number in range(20)]
    vectors = await Turns(HashEncoder()).encode("acme", texts)
    assert (vectors == await HashEncoder().encode_documents(texts)).all()


async def test_another_workspaces_text_waits_for_a_slice_and_not_for_the_document() -> None:
    encoder = Counting()
    turns = Turns(encoder, 1)
    long = [f"{number} " * 6_000 for number in range(10)]
    flood = asyncio.create_task(turns.encode("flood", long))
    await eventually(lambda: len(encoder.asked) >= 1)
    begun = len(encoder.asked)
    await turns.encode("calm", ["short"])
    assert encoder.asked.index("short") <= begun + 1
    await flood


async def test_what_is_wanted_no_more_is_not_encoded() -> None:
    encoder = Counting()
    with pytest.raises(Overtaken):
        await Turns(encoder).encode("acme", ["a", "b"], lambda: False)
    assert encoder.asked == []


def test_a_deletion_is_remembered_as_long_as_what_it_overtook_is_at_work() -> None:
    asked = Asked()
    old, gone = document("text", version=1), document("", version=2)
    with asked.working([old]):
        assert not asked.overtaken(old)
        with asked.working([gone]):
            assert asked.overtaken(old)
            assert not asked.overtaken(gone)
        assert asked.overtaken(old)
    assert not asked.overtaken(old)
