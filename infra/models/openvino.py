"""Encodes texts on the CPU with OpenVINO: no torch, float32, the same vectors on every machine to about 1e-6."""

import asyncio
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import file_digest
from pathlib import Path
from threading import Event, Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from infra.models.batches import by_length
from infra.models.bert import BertFolder, Model, build, read_folder
from infra.models.encoder import EncoderError, FloatArray, Use
from infra.models.gathering import GatheringEncoder
from infra.models.runtime import ov

BATCH_TOKENS = 512
"""Padded tokens per batch: two of the longest texts. 1,024 is as fast and takes 22 MB more on 2 cores; far larger ones
leave the processor's caches (16,384 fell to .6 of the speed on an AVX2 machine)."""
FEW_CORES = 4
"""Up to here one stream on all cores serves questions and documents: a second compiled model packs the weights again
(55 MB), and without it a question waits at most for the batch at work (median 30 instead of 12 ms while documents are
encoded on 2 busy cores, 3 ms else). With more cores each use has its own, and documents as many streams as pay."""

_EXACT = {
    # Else bfloat16 hardware computes other vectors than the machine that indexed.
    "INFERENCE_PRECISION_HINT": "f32",
    # Two pinned processes on one machine sit on the same cores.
    "ENABLE_CPU_PINNING": False,
}


class OpenVinoEncoder(GatheringEncoder):
    """A BERT sentence encoder. Weights are read and compiled at `prepare` or the first use (0.5 to 1 s)."""

    def __init__(self, folder: BertFolder, model_id: str, batch_tokens: int = BATCH_TOKENS) -> None:
        super().__init__(model_id, folder.dimension, folder.max_tokens)
        self._folder = folder
        self._tokenizer = _tokenizer(folder)
        self._batch_tokens = batch_tokens
        self._graph: Model | None = None
        self._core = ov.Core()
        self._compiled: dict[str, Any] = {}
        self._lock = Lock()
        self._closed = Event()
        # A thread per use, so that a question waits for a batch of documents at most, never for all of them.
        self._threads: dict[Use, ThreadPoolExecutor] = {
            "document": ThreadPoolExecutor(1, "encode-documents"),
            "query": ThreadPoolExecutor(1, "encode-query"),
        }

    @classmethod
    def open(cls, path: Path, model_id: str = "", batch_tokens: int = BATCH_TOKENS) -> "OpenVinoEncoder":
        """Read a model folder; `model_id` defaults to its name and the hash of its weights.

        Blocks while it hashes. Raises EncoderError if the folder is not that of a BERT sentence encoder.
        """
        folder = read_folder(path)
        return cls(folder, model_id or _named(path), batch_tokens)

    async def prepare(self) -> None:
        """Read and compile the weights, and encode once, which allocates the rest."""
        await self._vectors(["ready"], "query")

    async def _vectors(self, texts: Sequence[str], use: Use) -> FloatArray:
        loop = asyncio.get_running_loop()
        prompt = self._folder.prompts[use]
        prompted = [prompt + text for text in texts]
        return await loop.run_in_executor(self._threads[use], self._encode, prompted, use)

    async def count_tokens(self, texts: Sequence[str]) -> int:
        """Return how many tokens of `texts` are read: what is cut is not counted."""
        encodings = await asyncio.to_thread(self._tokenizer.encode_batch, list(texts))
        return sum(len(encoding.ids) for encoding in encodings)

    async def close(self) -> None:
        """Stop after the batch at work."""
        self._closed.set()
        for pool in self._threads.values():
            await asyncio.to_thread(pool.shutdown, wait=True, cancel_futures=True)
        self._compiled.clear()
        self._graph = None

    def _encode(self, texts: Sequence[str], use: Use) -> FloatArray:
        compiled = self._model(use)
        tokens = [encoding.ids for encoding in self._tokenizer.encode_batch(texts)]
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        faults: list[Exception] = []

        def keep(request: Any, positions: list[int]) -> None:
            try:
                vectors[positions] = request.get_output_tensor(0).data
            except Exception as error:  # noqa: BLE001 - raised below: an exception in the callback would be lost
                faults.append(error)

        queue = ov.AsyncInferQueue(compiled)
        queue.set_callback(keep)
        for positions in by_length([len(ids) for ids in tokens], self._batch_tokens):
            if self._closed.is_set():
                raise RuntimeError("the encoder was closed")
            queue.start_async(_padded([tokens[position] for position in positions]), positions)
        queue.wait_all()
        if faults:
            raise faults[0]
        return vectors

    def _model(self, use: Use) -> Any:
        few = (os.cpu_count() or 1) <= FEW_CORES
        hint = "LATENCY" if few or use == "query" else "THROUGHPUT"
        with self._lock:
            if hint not in self._compiled:
                self._graph = self._graph or build(self._folder)
                self._compiled[hint] = self._core.compile_model(
                    self._graph, "CPU", {"PERFORMANCE_HINT": hint, **_EXACT}
                )
            return self._compiled[hint]


def _padded(rows: Sequence[Sequence[int]]) -> list[NDArray[np.int32]]:
    """Return ids and mask, int32 [rows, longest]."""
    ids = np.zeros((len(rows), max(map(len, rows))), dtype=np.int32)
    mask = np.zeros_like(ids)
    for row, tokens in enumerate(rows):
        ids[row, : len(tokens)] = tokens
        mask[row, : len(tokens)] = 1
    return [ids, mask]


def _tokenizer(folder: BertFolder) -> Tokenizer:
    path = folder.path / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the tokenizers library raises nothing more precise
        raise EncoderError(f"{path}: unreadable tokenizer: {error}") from error
    # The file may carry the publisher's fixed padding and truncation.
    tokenizer.no_padding()
    tokenizer.enable_truncation(folder.max_tokens)
    return tokenizer


def _named(path: Path) -> str:
    with (path / "model.safetensors").open("rb") as file:
        return f"{path.resolve().name}@{file_digest(file, 'sha256').hexdigest()[:12]}"
