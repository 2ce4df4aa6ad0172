from base64 import b64encode

import numpy as np
import pytest

from infra.models.packed import pack, unpack


def test_a_vector_comes_back_close_enough_for_a_cosine() -> None:
    vectors = np.random.default_rng(1).normal(size=(50, 384)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    for vector in vectors:
        found = unpack(pack(vector))
        assert found is not None
        assert found.dtype == np.float32
        assert abs(float(found @ vector) - 1) < 1e-4
    assert len(pack(vectors[0])) == 1024


@pytest.mark.parametrize(
    "packed",
    ["", "!", "é", "AAA=", b64encode(np.array([0, 0], dtype="<f2").tobytes()).decode(), "AH4AfA=="],
    ids=["nothing", "no base64", "no ASCII", "half a number", "zeros", "not finite"],
)
def test_what_is_no_unit_vector_is_none(packed: str) -> None:
    assert unpack(packed) is None
