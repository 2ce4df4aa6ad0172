from collections.abc import Sequence

import numpy as np
import pytest

from infra.errors import Permanent
from infra.models.encoder import Encoder, FloatArray, Use, checked, normalised
from infra.models.hashed import HashEncoder
from schemas.dead_letters import Reason


class Given(Encoder):
    """Returns what it was given."""

    def __init__(self, vectors: FloatArray) -> None:
        super().__init__("given", 3, 8)
        self._given = vectors

    async def _vectors(self, texts: Sequence[str], use: Use) -> FloatArray:
        return self._given


def array(*rows: list[float]) -> FloatArray:
    return np.array(rows, dtype=np.float32)


@pytest.mark.parametrize(
    "vectors",
    [
        array([1, 0, 0]),
        array([1, 0], [0, 1]),
        array([1, 0, 0], [np.nan, 0, 0]),
        array([1, 0, 0], [np.inf, 0, 0]),
        array([1, 0, 0], [0.9, 0, 0]),
        array([1, 0, 0], [0, 0, 0]),
    ],
    ids=["too few rows", "wrong dimension", "nan", "infinite", "too short", "zero"],
)
async def test_a_vector_that_could_not_be_found_again_is_refused(vectors: FloatArray) -> None:
    with pytest.raises(Permanent) as fault:
        await Given(vectors).encode_documents(["a", "b"])
    assert fault.value.reason is Reason.INVALID_VECTOR


def test_only_float32_is_taken() -> None:
    with pytest.raises(Permanent, match="float32"):
        checked(np.array([[1.0, 0.0]]), 1, 2)


async def test_unit_vectors_pass_in_order() -> None:
    vectors = array([1, 0, 0], [0, 1, 0])
    assert (await Given(vectors).encode_documents(["a", "b"]) == vectors).all()
    assert (await Given(vectors[:1]).encode_query("a")).shape == (3,)


async def test_no_texts_need_no_model() -> None:
    assert (await Given(array()).encode_documents([])).shape == (0, 3)


def test_normalising_scales_rows_and_refuses_what_has_no_direction() -> None:
    assert np.allclose(normalised(array([3, 4, 0])), [[0.6, 0.8, 0]])
    for row in ([0.0, 0.0, 0.0], [np.nan, 1.0, 0.0]):
        with pytest.raises(Permanent):
            normalised(array(row))


async def test_hashed_vectors_know_words() -> None:
    encoder = HashEncoder()
    first, same, other = await encoder.encode_documents(["brokers elect leaders", "a leader, a broker", "cats purr"])
    assert first @ same > first @ other
    assert (await encoder.encode_query("brokers elect leaders") == first).all()
    empty = await encoder.encode_query("")
    assert np.linalg.norm(empty) == pytest.approx(1)


async def test_who_cannot_count_tokens_says_nought(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await HashEncoder().count_tokens(["The mill wheel turns.", "It stands."]) > 0
    monkeypatch.delattr(HashEncoder, "count_tokens")
    assert await HashEncoder().count_tokens(["The mill wheel turns."]) == 0
