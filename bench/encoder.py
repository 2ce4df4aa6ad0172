"""Speed and memory of the default encoder, as ratios against one text per call in the same run.

    python -m bench.encoder [--chunks 200] [--rounds 3] [--json]

Texts are chunks of real abstracts (SciFact, MILLRACE_TEST_DATA). Ways are taken in turn, round by round, and each
reports its best round, so that another program on the machine disturbs none of them alone; the ratio is that of
processor time, which other programs disturb least. `with sentences` is what the embedder does: chunk and sentence
vectors, lexical terms and payloads. sentence-transformers joins if it is importable. Questions are each other's
reference: so many of them at once, against one after the other.
"""

import argparse
import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
import psutil

from bench.corpora import scifact
from infra.local.artifacts import model_folder
from infra.local.fetch import fetch_model
from infra.models.encoder import Encoder, EncoderError
from infra.models.opening import MINILM
from infra.models.openvino import BATCH_TOKENS, OpenVinoEncoder
from infra.models.sentence_transformers import SentenceTransformersEncoder
from schemas.documents import DocumentVersion
from workers.embedder.encode import points_of, windows

BUDGETS = (256, BATCH_TOKENS, 1024, 4096)
ALONE = 50
"""Chunks of the one-by-one reference: it is slow, and its speed does not depend on how many there are."""
QUESTION = "how does the broker elect a new leader when one dies in the cluster"
QUESTIONS = 128
AT_ONCE = (1, 4, 8, 16, 32)
Way = tuple[int, Callable[[], Awaitable[object]]]
"""How many chunks or questions, and what to do with them."""


def documents(chunks: int) -> list[DocumentVersion]:
    """Return documents of real text that have at least so many chunks together."""
    folder = Path(os.environ.get("MILLRACE_TEST_DATA", "../shared/data")) / "scifact"
    taken: list[DocumentVersion] = []
    for version in scifact(folder, whole=False).documents:
        taken.append(version)
        chunks -= len(version.chunks)
        if chunks <= 0:
            break
    return taken


async def _alone(encoder: Encoder, texts: list[str]) -> None:
    for text in texts:
        await encoder.encode_documents([text])


async def _embedded(encoder: Encoder, versions: list[DocumentVersion]) -> None:
    for window in windows(versions):
        await points_of(window, encoder.encode_documents)


def ways(versions: list[DocumentVersion], encoders: dict[int, Encoder]) -> dict[str, Way]:
    """Return what is compared, the reference first."""
    texts = [version.text_of(chunk) for version in versions for chunk in version.chunks]
    default = encoders[BATCH_TOKENS]
    compared: dict[str, Way] = {"one by one": (min(ALONE, len(texts)), lambda: _alone(default, texts[:ALONE]))}
    for budget, encoder in encoders.items():
        compared[f"batches of {budget} tokens"] = (len(texts), partial(encoder.encode_documents, texts))
    compared["with sentences"] = (len(texts), lambda: _embedded(default, versions))
    try:
        torch = SentenceTransformersEncoder.open(str(model_folder(MINILM)), "cpu")
        compared["sentence-transformers"] = (len(texts), lambda: torch.encode_documents(texts))
    except EncoderError:
        pass
    return compared


async def _asked(encoder: Encoder, at_once: int) -> None:
    questions = iter([f"{QUESTION} {number}" for number in range(QUESTIONS)])

    async def asker() -> None:
        for question in questions:
            await encoder.encode_query(question)

    await asyncio.gather(*(asker() for _ in range(at_once)))


def asking(encoder: Encoder) -> dict[str, Way]:
    """Return how questions are asked, the reference first."""
    return {f"questions, {number} at once": (QUESTIONS, partial(_asked, encoder, number)) for number in AT_ONCE}


async def _best(compared: dict[str, Way], rounds: int) -> dict[str, tuple[float, float]]:
    """Return how many per second, and per second of processor time, of each way: its best round of each."""
    best = dict.fromkeys(compared, (0.0, 0.0))
    for _ in range(rounds):
        for name, (chunks, work) in compared.items():
            started, spent = perf_counter(), process_time()
            await work()
            speed = chunks / (perf_counter() - started), chunks / (process_time() - spent)
            best[name] = max(best[name][0], speed[0]), max(best[name][1], speed[1])
    return best


async def _question_ms(encoder: Encoder, meanwhile: Awaitable[object] | None = None) -> float:
    """Return the median time of a question, alone or while `meanwhile` runs."""
    await encoder.encode_query(QUESTION)
    busy = asyncio.ensure_future(meanwhile) if meanwhile else None
    times: list[float] = []
    while len(times) < 50 or (busy and not busy.done()):
        started = perf_counter()
        await encoder.encode_query(QUESTION)
        times.append(perf_counter() - started)
    if busy:
        await busy
    return float(np.median(times)) * 1e3


async def measure(chunks: int, rounds: int) -> dict[str, Any]:
    """Return speeds (chunks/s), question times (ms) and memory (MB)."""
    await fetch_model(MINILM)
    versions = await asyncio.to_thread(documents, chunks)
    before = psutil.Process().memory_full_info().pss
    started = perf_counter()
    default: Encoder = OpenVinoEncoder.open(model_folder(MINILM), MINILM)
    await default.encode_documents(["warm"])
    ready = perf_counter() - started
    texts = [version.text_of(chunk) for version in versions for chunk in version.chunks]
    await default.encode_documents(texts[:100])
    grown = psutil.Process().memory_full_info().pss - before
    question = await _question_ms(default)
    busy = await _question_ms(default, default.encode_documents(texts[:100]))
    encoders = {b: OpenVinoEncoder.open(model_folder(MINILM), MINILM, b) for b in BUDGETS if b != BATCH_TOKENS}
    compared = ways(versions, dict(sorted({**encoders, BATCH_TOKENS: default}.items())))
    return {
        "chunks": len(texts),
        "mean_characters": round(float(np.mean([len(text) for text in texts]))),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "ready_s": round(ready, 2),
        "memory_mb": round(grown / 1e6),
        "question_ms": round(question, 1),
        "question_while_ingesting_ms": round(busy, 1),
        "chunks_per_s": await _best(compared, rounds),
        "questions_per_s": await _best(asking(default), rounds),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = asyncio.run(measure(arguments.chunks, arguments.rounds))
    if arguments.json:
        print(json.dumps(found))
        return
    parts = {unit: found.pop(f"{unit}_per_s") for unit in ("chunks", "questions")}
    for name, value in found.items():
        print(f"{name:32} {value}")
    for unit, speeds in parts.items():
        _, reference = next(iter(speeds.values()))
        for name, (speed, thrift) in speeds.items():
            print(f"{name:32} {speed:7.1f} {unit}/s {thrift:7.1f} per CPU second {thrift / reference:6.2f}x")


if __name__ == "__main__":
    main()
