from typing import Any

from bench.neighbouring.tenant import table, text, word
from bench.neighbours import verdict


def figures(p95_s: float, count: int, beside_s: float) -> dict[str, Any]:
    spread = {"count": count, "p50_s": 0.1, "p95_s": p95_s, "max_s": p95_s}
    return {"beside": {"webhook searchable": spread}, "flood_alone_s": 100.0, "flood_beside_s": beside_s}


def test_the_verdict_names_what_is_too_slow_too_few_and_too_long() -> None:
    assert verdict(figures(1.9, 100, 109.0), 2, 1.1, 100) == []
    slow, few, long = (
        verdict(figures(2.1, 100, 100.0), 2, 1.1, 100),
        verdict(figures(1.0, 99, 100.0), 2, 1.1, 100),
        verdict(figures(1.0, 100, 111.0), 2, 1.1, 100),
    )
    assert [len(each) for each in (slow, few, long)] == [1, 1, 1]
    assert "p95" in slow[0]
    assert "99 probes" in few[0]
    assert "1.11 times" in long[0]


def test_the_flood_is_of_texts_that_differ_and_of_a_table_that_is_one() -> None:
    assert len({text(number) for number in range(50)}) == 50
    assert len(table(30).splitlines()) == 31
    assert len({word("old", number) for number in range(200)} | {word("new", number) for number in range(200)}) == 400
