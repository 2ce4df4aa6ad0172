"""What stands in one place only is found there, and asked for by a code it is answered from there."""

import random

import pytest

from bench.corpora import CODES, codes
from schemas.chat import ChatPrompt
from tests.chats import request
from tests.events import document
from tests.live.workers.retriever.library import Library
from workers.inference.backends.extractive import answer_from
from workers.inference.settings import ExtractiveSettings

TWINS = (
    "PPR-9087", "PPR-9088", "PPR-1044", "CVE-2031-40417", "CVE-2031-40471", "v2.10.3", "v2.10.13", "v2.1.03",
    "ERR_GATE_TIMEOUT", "ERR_GATE_TIMEIN", "0x8007045D", "0x8007045E", "10.20.30.40", "10.20.30.41",
    "/etc/weir/gate.conf", "/etc/weir/gates.conf", "E-1107", "E-1170", "ISO 9001:2015", "ISO 9001:2008", "sha-4f2a9c1",
    "sha-4f2a9c7", "C#", "C++", "M8x40", "M8x45", "550e8400-e29b-41d4-a716-446655440000",
    "550e8400-e29b-41d4-a716-446655440001", "+49 30 1234567", "§ 14 Abs. 2", "§ 14 Abs. 3",
)  # fmt: skip
THINGS = ("gearbox", "boiler", "conveyor", "lathe", "crane", "generator", "furnace", "lift", "press", "chiller")
FAULTS = ("overheats", "leaks oil", "makes a noise", "stops by itself", "was painted", "has a worn bearing")
PLACES = ("hall one", "hall two", "the yard", "the cellar", "the workshop", "the tower")
UNIQUE = {11: "ZKX-88412", 47: "Quorrenthal", 83: "b7f3e19c", 120: "Ümmeldorn", 141: "thermistorix"}
REPORTS = 150


def report(draw: random.Random, number: int) -> str:
    lines = [f"The {draw.choice(THINGS)} in {draw.choice(PLACES)} {draw.choice(FAULTS)}." for _ in range(4)]
    if number in UNIQUE:
        lines.insert(1, f"Noted on its plate: {UNIQUE[number]}.")
    return " ".join(lines)


async def test_near_twins_are_told_apart(library: Library) -> None:
    text = "The note about {} was written by the warden. It concerns the gate and its settings."
    await library.add(*(document(text.format(name), external_id=name, title="Note", language="en") for name in TWINS))
    firsts = {name: (await library.passages(name, purpose="search"))[0].text for name in TWINS}
    assert [name for name, first in firsts.items() if first != text.format(name)] == []


async def test_a_word_in_one_of_many_documents_is_found_first(library: Library) -> None:
    draw = random.Random(7)
    reports = [document(report(draw, at), external_id=f"{at}", title=f"Report {at}") for at in range(REPORTS)]
    await library.add(*reports)
    for word in UNIQUE.values():
        for form in ("{}", "What is {}?", "{}?"):
            first = (await library.passages(form.format(word), purpose="search"))[0]
            assert word in first.text, (form, word)


async def test_without_its_accents_and_in_other_letters_a_word_is_the_same(library: Library) -> None:
    texts = {"fr": "La clé du déversoir est au bureau.", "de": "Die Straße am Mühlwehr.", "ko": "수문을 번역을 부탁해"}
    filler = (document(f"The {one} is in the yard.", external_id=one, language="en") for one in THINGS)
    await library.add(*(document(text, external_id=key, language=key) for key, text in texts.items()), *filler)
    for query, key in (("deversoir", "fr"), ("DÉVERSOIR", "fr"), ("strasse", "de"), ("muhlwehr", "de"), ("번역", "ko")):
        assert (await library.passages(query, purpose="search"))[0].text == texts[key], query


@pytest.fixture
async def noted(library: Library) -> Library:
    await library.add(*(one.model_copy(update={"workspace": "acme"}) for one in codes().documents))
    return library


async def quoted(library: Library, question: str) -> tuple[bool, str]:
    asked = request(question, purpose="query")
    found = await library.about(asked)
    prompt = ChatPrompt(
        workspace=asked.workspace,
        request=asked,
        question=question,
        passages=found.passages,
        term_weights=found.term_weights,
        messages=asked.messages,
    )
    answer = answer_from(prompt, ExtractiveSettings())
    return answer.abstained, " ".join(one.quote for one in answer.citations)


async def test_a_question_about_a_code_is_answered_from_its_document(noted: Library) -> None:
    missed = []
    for asked, (code, twin) in zip(codes().questions, CODES, strict=True):
        abstained, quotes = await quoted(noted, asked.text)
        if abstained or code not in quotes or twin in quotes.replace(code, ""):
            missed.append((asked.text, quotes))
    assert missed == []


@pytest.mark.parametrize(
    "question",
    [
        "What happened with ERR-52447?",
        "Who dealt with CVE-2031-40499?",
        "Who closed ZKX-88499 after the second look, because the gate moved as it should?",
        "Is 2.13.5 done?",
    ],
)
async def test_a_code_that_no_document_holds_is_not_answered_from_its_twin(noted: Library, question: str) -> None:
    assert await quoted(noted, question) == (True, "")
