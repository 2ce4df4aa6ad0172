"""What the engine raises, as an answer."""

import pytest

from infra.qdrant.door.faults import BadRequest, Fault, NotFound, Unsupported, building, engine


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ("No point with id 7", NotFound),
        ("No range index for `order_by` key: `a`", BadRequest),
        ("Vector dimension error: expected dim: 4, got 3", BadRequest),
        ("Service runtime error: disk", Fault),
    ],
)
def test_the_text_decides(said: str, fault: type[Fault]) -> None:
    with pytest.raises(Fault) as raised, engine():
        raise Exception(said)  # noqa: TRY002 - the engine raises nothing finer
    assert type(raised.value) is fault


def test_a_fault_stays_what_it_is() -> None:
    with pytest.raises(Unsupported), engine():
        raise Unsupported("geo")


def test_a_panic_is_an_error_of_one_request() -> None:
    panic = type("PanicException", (BaseException,), {})
    with pytest.raises(Fault, match="panicked"), engine():
        raise panic("index out of bounds")


def test_the_end_of_the_process_is_no_fault() -> None:
    with pytest.raises(KeyboardInterrupt), engine():
        raise KeyboardInterrupt


def test_a_refused_value_names_where_it_was() -> None:
    with pytest.raises(BadRequest, match="key `a`: bad"), building("key `a`"):
        raise ValueError("bad\nmore")
