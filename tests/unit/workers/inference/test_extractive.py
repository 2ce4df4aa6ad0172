import math
from dataclasses import replace

import pytest

from schemas.chat import Generation, Passage, Sentence
from tests.chats import passage, prompt
from workers.inference.backends.backend import RequestRefused
from workers.inference.backends.extractive import (
    UNSOURCED,
    Candidate,
    ExtractiveBackend,
    answer_from,
    candidates_of,
    rank,
    topical_support,
)
from workers.inference.settings import ExtractiveSettings

SETTINGS = ExtractiveSettings()
QUESTION = "How often are keys rotated?"
WEIGHTS = {"key": 2.0, "rotat": 3.0}
KEYS = "Secrets matter. Keys are rotated weekly. The mill stands by a river."


def candidate(
    *,
    score: float = 1.0,
    cosine: float = 0.5,
    coverage: float = 0.5,
    has_type: bool = False,
    number: int = 1,
    kind: str = "",
) -> Candidate:
    one = passage(number, "A sentence.", score=score, kind=kind)
    return Candidate(one, Sentence(start=0, end=11, cosine=cosine), "A sentence.", coverage, coverage, has_type)


def test_s_by_hand() -> None:
    first = candidate(score=1.0, cosine=0.8, coverage=0.5, has_type=False)
    second = candidate(score=0.5, cosine=0.4, coverage=1.0, has_type=True)
    negative = candidate(score=0.25, cosine=-0.4, coverage=0.0)
    ranked = {id(one): score for one, score in rank([first, second, negative], SETTINGS)}
    assert ranked[id(first)] == pytest.approx(0.4 * 0.5 + 0.3 * 1 + 0.2 * 1 + 0)
    assert ranked[id(second)] == pytest.approx(0.4 * 1 + 0.3 * 0.5 + 0.2 * 0.5 + 0.1)
    assert ranked[id(negative)] == pytest.approx(0.3 * 0.25)


def test_support_by_hand() -> None:
    assert topical_support(candidate(cosine=0.6, coverage=0.9), SETTINGS) == pytest.approx(
        1 / (1 + math.exp(-(8 * 0.6 + 6 * 0.9 - 8)))
    )
    assert topical_support(candidate(cosine=0.5, coverage=2 / 3), SETTINGS) == pytest.approx(0.5)


def test_a_code_in_question_and_passage_is_evidence() -> None:
    known = replace(candidate(cosine=0.2, coverage=0.7), identified=1.0)
    other = replace(candidate(cosine=0.8, coverage=0.4), identified=-1.0)
    assert topical_support(known, SETTINGS) == pytest.approx(1 / (1 + math.exp(-(8 * 0.2 + 6 * 0.7 + 3 - 8))))
    assert topical_support(other, SETTINGS) < SETTINGS.abstain_below < topical_support(known, SETTINGS)


def test_coverage_counts_sentence_title_previous_and_passage() -> None:
    one = passage(1, KEYS, cosines=(0.1, 0.7, 0.2), title="")
    found = candidates_of(prompt(QUESTION, weights=WEIGHTS), [one])
    # no term in the first sentence, both in the second; the third follows it: half
    assert [round(each.coverage, 6) for each in found] == [0.3, 1.0, 0.5]
    assert all(each.passage_coverage == 1.0 for each in found)
    titled = passage(1, KEYS, cosines=(0.1, 0.7, 0.2), title="Key handling")
    expected = (2 * 1 + 3 * 0.3) / 5
    assert candidates_of(prompt(QUESTION, weights=WEIGHTS), [titled])[0].coverage == pytest.approx(expected)


def test_the_answer_quotes_literally_and_cites() -> None:
    one = passage(1, KEYS, at=100, cosines=(0.1, 0.7, 0.2))
    answer = answer_from(
        prompt(QUESTION, [one, passage(2, "Bread is baked.", cosines=(0.0,), score=0.1)], WEIGHTS), SETTINGS
    )
    assert answer.text == "Keys are rotated weekly. [1]"
    (citation,) = answer.citations
    assert (citation.start, citation.end) == (116, 140)
    assert one.text[citation.start - 100 : citation.end - 100] == citation.quote == "Keys are rotated weekly."
    assert not answer.abstained
    assert answer.support == pytest.approx(1 / (1 + math.exp(-(8 * 0.7 + 6 - 8))))


@pytest.mark.parametrize(("cosine", "sentences"), [(0.70, 2), (0.05, 1)])
def test_a_second_sentence_must_come_close(cosine: float, sentences: int) -> None:
    first = passage(1, "Keys are rotated weekly.", cosines=(0.7,))
    second = passage(2, "Rotated keys stay valid.", cosines=(cosine,), score=0.9 if cosine > 0.5 else 0.6)
    answer = answer_from(prompt(QUESTION, [first, second], WEIGHTS), SETTINGS)
    assert len(answer.citations) == sentences
    assert answer.text.count("[") == sentences


def test_the_same_sentence_is_not_said_twice() -> None:
    one = passage(1, KEYS, cosines=(0.1, 0.7, 0.2))
    overlapping = one.model_copy(update={"number": 2, "ordinal": 1})
    copied = passage(3, "keys are rotated weekly.", cosines=(0.7,))
    answer = answer_from(prompt(QUESTION, [one, overlapping, copied], WEIGHTS), SETTINGS)
    assert [citation.number for citation in answer.citations] == [1]


def test_sentences_of_one_document_are_told_in_its_order() -> None:
    one = passage(1, "Keys are rotated. Rotated keys are weekly.", cosines=(0.69, 0.7))
    assert answer_from(prompt(QUESTION, [one], WEIGHTS), SETTINGS).text.startswith("Keys are rotated. [1] Rotated")


def test_weak_evidence_abstains_and_names_what_was_looked_at() -> None:
    one = passage(1, "The mill stands by a river.", cosines=(0.2,), title="Mills")
    answer = answer_from(prompt(QUESTION, [one], WEIGHTS), SETTINGS)
    assert answer.abstained
    assert answer.citations == ()
    assert "do not answer" in answer.text
    assert "Mills [1]" in answer.text
    assert answer.support == pytest.approx(1 / (1 + math.exp(-(8 * 0.2 - 8))))


def test_the_threshold_is_a_setting() -> None:
    one = passage(1, "The mill stands by a river.", cosines=(0.2,))
    answer = answer_from(prompt(QUESTION, [one], WEIGHTS), ExtractiveSettings(abstain_below=0.0))
    assert not answer.abstained


def test_no_passages_and_no_retrieval_abstain() -> None:
    nothing = answer_from(prompt(QUESTION), SETTINGS)
    assert nothing.abstained
    assert nothing.support == 0.0
    assert answer_from(prompt(QUESTION, [passage()], retrieve=False), SETTINGS).text == UNSOURCED


def test_chat_messages_keep_the_order_of_retrieval() -> None:
    weak = candidate(number=1, kind="message", cosine=0.1, coverage=0.1)
    strong = candidate(number=2, kind="message", cosine=0.9, coverage=0.9)
    assert [one.passage.number for one, _ in rank([weak, strong], SETTINGS)] == [1, 2]
    assert [one.passage.number for one, _ in rank([candidate(number=1, cosine=0.1), strong], SETTINGS)] == [2, 1]


def test_only_the_first_passages_are_read() -> None:
    rest = [passage(n, "Bread is baked.", cosines=(0.0,), score=0.1) for n in range(1, 6)]
    best = passage(6, "Keys are rotated weekly.", cosines=(0.9,))
    assert answer_from(prompt(QUESTION, [*rest, best], WEIGHTS), SETTINGS).abstained


def test_a_sentence_cut_by_the_passages_edge_is_no_candidate() -> None:
    one = passage(1, KEYS, at=100, cosines=(0.1, 0.7, 0.2))
    cut = Passage.model_validate(
        {
            **one.model_dump(),
            "sentences": [{"start": 90, "end": 115, "cosine": 0.9}, {"start": 140, "end": 400, "cosine": 0.9}],
        }
    )
    assert candidates_of(prompt(QUESTION, weights=WEIGHTS), [cut]) == []


async def test_the_backend_names_itself() -> None:
    backend = ExtractiveBackend(SETTINGS)
    assert (backend.name, backend.model) == ("extractive", "extractive")
    assert (await backend.answer(prompt(QUESTION))).abstained
    await backend.close()


async def test_a_form_of_answer_is_refused() -> None:
    generation = Generation(response_format={"type": "json_object"})
    with pytest.raises(RequestRefused, match="response_format"):
        await ExtractiveBackend(SETTINGS).answer(prompt(generation=generation))


async def test_sentences_are_said_one_by_one_and_an_abstention_is_not() -> None:
    said: list[str] = []
    one = passage(1, "Keys are rotated. Rotated keys are weekly.", cosines=(0.69, 0.7))
    answer = await ExtractiveBackend(SETTINGS).answer(prompt(QUESTION, [one], WEIGHTS), said.append)
    assert len(said) == 2
    assert "".join(said) == answer.text
    assert (await ExtractiveBackend(SETTINGS).answer(prompt(QUESTION), said.append)).abstained
    assert len(said) == 2
