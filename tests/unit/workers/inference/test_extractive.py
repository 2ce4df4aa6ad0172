import math
from typing import Any

import pytest

from schemas.chat import Generation, Passage, Sentence
from tests.chats import passage, prompt
from workers.inference.backends.backend import Answer, RequestRefused
from workers.inference.backends.extractive import (
    UNSOURCED,
    ExtractiveBackend,
    answer_from,
    rank,
)
from workers.inference.backends.signals import Candidate, candidates_of, standing, support, support_signals
from workers.inference.settings import ExtractiveSettings

SETTINGS = ExtractiveSettings()
QUESTION = "How often are keys rotated?"
WEIGHTS = {"key": 2.0, "rotat": 3.0}
KEYS = "Secrets matter. Keys are rotated weekly. The mill stands by a river."


def candidate(*, cosine: float = 0.5, coverage: float = 0.5, number: int = 1, **fields: Any) -> Candidate:
    kind, score = fields.pop("kind", ""), fields.pop("score", 1.0)
    one = passage(number, "A sentence.", score=score, kind=kind)
    values: dict[str, Any] = {
        "within": coverage,
        "before": 0.0,
        "after": 0.0,
        "passage_coverage": coverage,
        "passage_cosine": cosine,
        "length": math.log(5),
        "typed": None,
        "missing": 0,
        "missing_named": 0,
    }
    return Candidate(
        one, Sentence(start=0, end=11, cosine=cosine), "A sentence.", coverage=coverage, **(values | fields)
    )


def test_standing_by_hand() -> None:
    one = candidate(cosine=0.6, coverage=0.8, within=0.7, before=0.1, after=0.2, typed=True)
    parts = [5.35 * 0.6, 4.5 * 0.8, 4.03 * 0.7, 3.07 * 0.1, 1.14 * 0.2, 7.0 * 0.6, 0.41, 0.44 * math.log(5)]
    assert standing(one) == pytest.approx(sum(parts))
    assert standing(candidate(typed=False)) == pytest.approx(standing(candidate()) - 0.63)


def test_support_by_hand() -> None:
    best = candidate(cosine=0.6, coverage=0.9, score=1.0, missing=2, missing_named=1, typed=False)
    other = candidate(cosine=0.4, coverage=0.5, score=0.8, number=2)
    leads = 2.85 * 0.2 + 0.57 * 0.4 + 1.12 * 0.2
    logit = 7.07 * 0.6 + 1.57 * 0.9 + 3.13 * 0.9 - 0.93 - 0.5 - 0.22 * 2 + 0.07 * 5 + leads - 6.87
    assert support(best, [best, other], 5) == pytest.approx(1 / (1 + math.exp(-logit)))
    assert support(best, [best, other], 5, bias=1.0) == pytest.approx(1 / (1 + math.exp(-logit - 1)))


def test_a_code_in_question_and_passage_is_evidence() -> None:
    weights = {"happen": 2.0, "=err-52445": 8.0}
    question = "What happened with ERR-52445?"
    known = passage(1, "A valve was replaced. ERR-52445 was closed by crew 200.", cosines=(0.1, 0.2), title="")
    other = passage(1, "A valve was replaced. ERR-52446 happened and was closed.", cosines=(0.1, 0.8), title="")
    answered = answer_from(prompt(question, [known], weights=weights), SETTINGS)
    assert not answered.abstained
    assert "ERR-52445" in answered.text
    assert answer_from(prompt(question, [other], weights=weights), SETTINGS).abstained


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
    assert answer.support is not None
    assert answer.support > 0.9


@pytest.mark.parametrize(("cosine", "sentences"), [(0.70, 2), (-0.5, 1)])
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
    assert answer.support is not None
    assert answer.support < 0.05


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


SALES = "Hartwell sold 340 wheels in 1888. Osei sold 120 wheels in 1889. The mill was not sold before the war."
SOLD = {"sold": 1.0, "wheel": 2.0}


def neighbours(question: str, weights: dict[str, float], cosines: tuple[float, float, float]) -> Answer:
    """Answer from a passage of the subject, another of the same subject doing about as well."""
    first = passage(1, SALES, cosines=cosines, title="", cosine=0.5)
    second = passage(2, "The wheels were made by Hartwell.", cosines=(0.45,), title="", score=0.97, cosine=0.48)
    return answer_from(prompt(question, [first, second], weights), SETTINGS)


@pytest.mark.parametrize(
    ("question", "weights"),
    [
        ("How many wheels did Hartwell sell in 1895?", {"wheel": 2.0, "hartwel": 3.0, "sell": 4.0, "1895": 4.5}),
        ("How many wheels did Abernathy sell?", {"wheel": 2.0, "abernathi": 4.5, "sell": 4.0}),
        ("What do the wheels weigh according to the ledger?", {"wheel": 2.0, "weigh": 4.5, "accord": 3, "ledger": 4.5}),
        ("Why was the wheel of ERR-52445 refused?", {"wheel": 2.0, "=err-52445": 4.5, "err": 4.5, "refus": 4.5}),
    ],
    ids=["another year", "another person", "another fact", "another code"],
)
def test_a_neighbouring_fact_of_the_same_subject_is_no_answer(question: str, weights: dict[str, float]) -> None:
    assert neighbours(question, weights, (0.5, 0.48, 0.3)).abstained


@pytest.mark.parametrize(
    ("question", "weights", "cosines", "quoted"),
    [
        ("How many wheels were sold in 1888?", {**SOLD, "1888": 3.0}, (0.7, 0.6, 0.3), "340"),
        ("How many wheels were sold by Osei in 1889?", {**SOLD, "osei": 4.0, "1889": 3.0}, (0.6, 0.75, 0.3), "120"),
        ("Was the mill not sold before the war?", {"sold": 1.0, "mill": 3.0, "war": 4.0}, (0.3, 0.3, 0.8), "not sold"),
    ],
)
def test_what_the_passage_says_is_answered(
    question: str, weights: dict[str, float], cosines: tuple[float, float, float], quoted: str
) -> None:
    answer = neighbours(question, weights, cosines)
    assert not answer.abstained
    assert quoted in answer.text


def test_the_request_names_the_least_support() -> None:
    one = passage(1, KEYS, cosines=(0.1, 0.5, 0.2))
    supported = answer_from(prompt(QUESTION, [one], WEIGHTS), SETTINGS).support
    assert supported is not None
    for least, abstained in ((0.0, False), (supported - 0.01, False), (supported + 0.01, True), (1.0, True)):
        assert answer_from(prompt(QUESTION, [one], WEIGHTS, min_support=least), SETTINGS).abstained is abstained
    weak = passage(1, "The mill stands by a river.", cosines=(0.2,))
    assert not answer_from(prompt(QUESTION, [weak], WEIGHTS, min_support=0.0), SETTINGS).abstained


def test_chat_messages_need_less_to_be_supported() -> None:
    said = passage(1, "Keys are changed on Mondays.", cosines=(0.5,), kind="message", title="")
    written = said.model_copy(update={"kind": "document"})
    supported = [answer_from(prompt(QUESTION, [one], WEIGHTS), SETTINGS).support or 0.0 for one in (said, written)]
    odds = [math.log(one / (1 - one)) for one in supported]
    assert odds[0] - odds[1] == pytest.approx(SETTINGS.message_bias)


def test_the_only_document_leads_over_none() -> None:
    alone = candidate(cosine=0.6, coverage=0.9)
    assert support_signals(alone, [alone], 5)[-3:] == (0.0, 0.0, 0.0)
    far = candidate(number=2, cosine=0.0, coverage=0.0, score=0.0)
    assert support_signals(alone, [alone, far], 5)[-3:] == (0.4, 0.4, 0.4)
