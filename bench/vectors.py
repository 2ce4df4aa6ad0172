"""Vectors of a bench, encoded once and kept in a folder outside the repository."""

import asyncio
import sys
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from time import perf_counter

import numpy as np

from infra.models.encoder import Encoder, FloatArray

BATCH = 512


async def vectors_of(encoder: Encoder, texts: Sequence[str], folder: Path, name: str) -> FloatArray:
    """Return float32 [len(texts), dimension] in the order of `texts`; what an earlier run kept is read, not encoded."""
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    digest = blake2b("\x1f".join((encoder.model_id, *texts)).encode("utf-8", "surrogatepass"), digest_size=8)
    kept = folder / f"{name}-{digest.hexdigest()}.npy"
    if await asyncio.to_thread(kept.exists):
        return np.asarray(await asyncio.to_thread(np.load, kept), dtype=np.float32)
    parts, started = [], perf_counter()
    for at in range(0, len(texts), BATCH):
        parts.append(await encoder.encode_documents(texts[at : at + BATCH]))
        done = min(at + BATCH, len(texts))
        sys.stderr.write(f"\r{name}: {done}/{len(texts)} encoded, {done / (perf_counter() - started):.0f}/s ")
        sys.stderr.flush()
    sys.stderr.write("\n")
    vectors = np.concatenate(parts)
    aside = kept.with_suffix(".part.npy")
    await asyncio.to_thread(np.save, aside, vectors)
    await asyncio.to_thread(aside.replace, kept)
    return vectors
