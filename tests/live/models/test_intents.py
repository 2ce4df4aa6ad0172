"""The intent classifier on questions that it was not trained on, with the vectors of the real encoder.

The figures are those of docs/inference.md. Vectors differ by about 1e-6 between machines: a question or two may fall to
the other side of the bound.
"""

import re
from pathlib import Path

import numpy as np
import pytest

from bench.intents import CONFIDENCE, confusion, held_out, vectors
from infra.models.encoder import Encoder
from infra.models.packed import pack
from tests.chats import prompt
from workers.inference.intent import INTENTS, Classifier
from workers.inference.routing import Routing

DOCUMENT = Path(__file__).parents[3] / "docs" / "inference.md"
MOST_OTHERWISE = 2


def documented(name: str) -> list[list[int]]:
    """Return the confusion of a set as the document states it, rows and columns in the order of `INTENTS`."""
    section = DOCUMENT.read_text(encoding="utf-8").split(f"`{name}.jsonl`", 1)[1]
    rows = dict(re.findall(r"^\| (\w+) ((?:\| \d+ ){4})\|$", section.split("\n\n", 2)[1], re.MULTILINE))
    return [[int(number) for number in re.findall(r"\d+", rows[intent])] for intent in INTENTS]


@pytest.mark.parametrize("name", ["fastchat", "work", "clinc150"])
async def test_accuracy_and_confusion_are_as_documented(minilm: Encoder, name: str) -> None:
    counted = await confusion(Classifier.open(), held_out(name))
    said = np.asarray(documented(name))
    assert said.sum() == counted.sum() == len(held_out(name))
    assert np.abs(said - counted).sum() <= 2 * MOST_OTHERWISE, counted.tolist()


async def test_a_wrong_guess_leaves_general_seldom(minilm: Encoder) -> None:
    """A question wrongly taken for general is answered by the default; one wrongly taken away is not."""
    for name, most in (("fastchat", 0.2), ("work", 0.1), ("clinc150", 0.06)):
        row = (await confusion(Classifier.open(), held_out(name)))[INTENTS.index("general")]
        assert 1 - row[INTENTS.index("general")] / row.sum() < most


async def test_it_reads_what_the_prompt_carries(minilm: Encoder) -> None:
    encoder, rows = await vectors(["Write a function in Rust that merges two sorted lists."])
    assert encoder == minilm.model_id == Classifier.open().encoder
    classifier = Classifier.open()
    found = prompt().model_copy(update={"question_vector": pack(rows[0]), "encoder": encoder})
    reading = classifier.read(found)
    assert (reading.guessed, reading.intent(CONFIDENCE)) == ("code", "code")


def test_the_measured_bound_is_the_one_in_force() -> None:
    assert Routing().confidence == CONFIDENCE
