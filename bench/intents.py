"""Trains the intent classifier and measures it.

    MILLRACE_TEST_DATA=… python -m bench.intents train    writes workers/inference/intents.json
    python -m bench.intents measure                       prints accuracy and confusion on tests/data/intents

Multinomial logistic regression by full-batch gradient descent with momentum, balanced classes, on the vectors of the
encoder that the stack uses. The seed fixes questions and weights; another machine's vectors differ by about 1e-6.
"""

import argparse
import asyncio
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.intent_questions import questions
from infra.models.encoder import FloatArray
from infra.models.opening import open_encoder
from infra.models.settings import EncoderSettings
from schemas.chat import Intent
from workers.inference.intent import INTENTS, PACKAGED, Classifier, Reading

SEED = 20261121
EACH = 900
"""Questions per intent."""
STEPS = 3_000
RATE = 1.0
MOMENTUM = 0.9
PENALTY = 1e-4
"""L2 on the weights. This and the confidence were chosen by cross-validation over templates: decision 0014."""
CONFIDENCE = 0.4
DIGITS = 4
HELD_OUT = Path(__file__).parents[1] / "tests" / "data" / "intents"


async def vectors(texts: Sequence[str]) -> tuple[str, FloatArray]:
    """Return the encoder's id and float32 [texts, dimension]: as queries, one by one, as a question is embedded."""
    async with open_encoder(EncoderSettings()) as encoder:
        return encoder.model_id, np.stack([await encoder.encode_query(text) for text in texts])


def fit(rows: FloatArray, labels: NDArray[np.int64]) -> tuple[FloatArray, FloatArray]:
    """Return weights [intents, dimension] and bias [intents] that minimise the balanced cross-entropy."""
    wanted = np.eye(len(INTENTS))[labels]
    balance = (1 / wanted.sum(axis=0))[labels][:, None] / len(INTENTS)
    weights, bias = np.zeros((len(INTENTS), rows.shape[1])), np.zeros(len(INTENTS))
    pace_w, pace_b = np.zeros_like(weights), np.zeros_like(bias)
    for _ in range(STEPS):
        scores = rows @ weights.T + bias
        likely = np.exp(scores - scores.max(axis=1, keepdims=True))
        likely /= likely.sum(axis=1, keepdims=True)
        off = (likely - wanted) * balance
        pace_w = MOMENTUM * pace_w - RATE * (off.T @ rows + PENALTY * weights)
        pace_b = MOMENTUM * pace_b - RATE * off.sum(axis=0)
        weights, bias = weights + pace_w, bias + pace_b
    return weights.astype(np.float32), bias.astype(np.float32)


async def train() -> str:
    """Return the weights as they are kept."""
    data = Path(os.environ.get("MILLRACE_TEST_DATA", HELD_OUT.parents[3] / "shared" / "data"))
    asked = questions(data, EACH, SEED)
    encoder, rows = await vectors([text for text, _ in asked])
    weights, bias = fit(rows, np.asarray([INTENTS.index(intent) for _, intent in asked]))
    said = {
        "encoder": encoder,
        "seed": SEED,
        "questions": {intent: sum(label == intent for _, label in asked) for intent in INTENTS},
        "bias": {intent: round(float(bias[at]), DIGITS) for at, intent in enumerate(INTENTS)},
        "weights": {intent: [round(float(each), DIGITS) for each in weights[at]] for at, intent in enumerate(INTENTS)},
    }
    print(f"{len(asked)} questions, {said['questions']}")
    return json.dumps(said) + "\n"


def held_out(name: str) -> list[tuple[str, Intent]]:
    """Return the questions of a file of tests/data/intents with their labels."""
    lines = (HELD_OUT / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [(line["text"], line["intent"]) for line in map(json.loads, lines)]


async def confusion(
    classifier: Classifier, asked: Sequence[tuple[str, Intent]], confidence: float = CONFIDENCE
) -> NDArray[np.int64]:
    """Return how often an intent (row) was taken for another (column), below `confidence` for general."""
    _, rows = await vectors([text for text, _ in asked])
    counted = np.zeros((len(INTENTS), len(INTENTS)), dtype=np.int64)
    for (_, intent), row in zip(asked, rows, strict=True):
        taken = Reading(None, *classifier.classify(row)).intent(confidence)
        assert taken is not None
        counted[INTENTS.index(intent), INTENTS.index(taken)] += 1
    return counted


async def measure() -> None:
    """Print accuracy and confusion of each set that was held out."""
    classifier = Classifier.open()
    for name in ("fastchat", "work", "clinc150"):
        counted = await confusion(classifier, held_out(name))
        print(f"\n{name}: {counted.trace() / counted.sum():.3f} of {counted.sum()}")
        print("| is \\ taken for | " + " | ".join(INTENTS) + " |\n|---|" + "---|" * len(INTENTS))
        for intent, row in zip(INTENTS, counted, strict=True):
            print(f"| {intent} | " + " | ".join(map(str, row)) + " |")


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("train", "measure"))
    if parser.parse_args().what == "train":
        PACKAGED.write_text(asyncio.run(train()), encoding="utf-8")
    else:
        asyncio.run(measure())


if __name__ == "__main__":
    main()
