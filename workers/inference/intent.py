"""Tells what kind of question it is: code, reasoning, general, creative.

Multinomial logistic regression on the question's vector, the one that the search was made with. The weights are in
`intents.json`, made by `python -m bench.intents train`; how well it does, and on what: decision 0014.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import get_args

import numpy as np

from infra.models.encoder import FloatArray
from infra.models.packed import unpack
from schemas.chat import ChatPrompt, Intent

PACKAGED = Path(__file__).with_name("intents.json")
INTENTS: tuple[Intent, ...] = get_args(Intent)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a question was taken for."""

    said: Intent | None = None
    """By the asker."""
    guessed: Intent | None = None
    """By the classifier; None where there was no vector of its encoder."""
    probability: float = 0.0

    def intent(self, confidence: float) -> Intent | None:
        """Return the intent: what the asker said, or what is at least so probable, or general; None if unknown."""
        if self.said is not None:
            return self.said
        if self.guessed is None:
            return None
        return self.guessed if self.probability >= confidence else "general"


class Classifier:
    """`weights` [intents, dimension] and `bias` [intents], for vectors of one encoder."""

    def __init__(self, encoder: str, weights: FloatArray, bias: FloatArray) -> None:
        self.encoder = encoder
        self._weights = weights
        self._bias = bias

    @classmethod
    def open(cls, path: Path = PACKAGED) -> "Classifier":
        """Read the weights. Raises OSError, ValueError for a file of another shape."""
        said = json.loads(path.read_text(encoding="utf-8"))
        weights = np.asarray([said["weights"][intent] for intent in INTENTS], dtype=np.float32)
        bias = np.asarray([said["bias"][intent] for intent in INTENTS], dtype=np.float32)
        if weights.ndim != 2 or not (np.isfinite(weights).all() and np.isfinite(bias).all()):  # noqa: PLR2004
            raise ValueError(f"{path}: the weights are no matrix of numbers")
        return cls(said["encoder"], weights, bias)

    def classify(self, vector: FloatArray) -> tuple[Intent, float]:
        """Return the most probable intent of a unit vector [dimension], and its probability. Takes microseconds."""
        scores = self._weights @ vector + self._bias
        likelihood = np.exp(scores - scores.max())
        best = int(likelihood.argmax())
        return INTENTS[best], float(likelihood[best] / likelihood.sum())

    def read(self, prompt: ChatPrompt) -> Reading:
        """Return what the question is taken for, by its asker and by the vector that it came with."""
        said = prompt.request.intent
        vector = unpack(prompt.question_vector) if prompt.encoder == self.encoder else None
        if vector is None or vector.shape != self._weights[0].shape:
            return Reading(said)
        return Reading(said, *self.classify(vector))


@cache
def packaged() -> Classifier:
    """Return the classifier that comes with the worker."""
    return Classifier.open()
