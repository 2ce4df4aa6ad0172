"""Words that stand in few documents, searched for alone and in a question, through the code that runs in production.

    python -m bench.rare scifact xquad locomo --cache FOLDER

Every figure stands beside that of the former fusion, of the same lists, in the same run: there a point missing from a
list always got the list's lowest score. Needs MILLRACE_TEST_DATA.
"""

import argparse
import asyncio
import os
import random
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

import numpy as np

from bench.corpora import Collection, locomo, scifact, xquad
from bench.indexing import index_collection
from bench.retrieval import CANDIDATES, MODEL, door, interval, ndcg, ranked, recall
from infra.local.artifacts import model_folder
from infra.local.fetch import fetch_model
from infra.models.encoder import Encoder
from infra.models.openvino import OpenVinoEncoder
from infra.models.sparse import is_one_word, query_vector
from infra.qdrant.points import chunks_of
from workers.retriever.fuse import fuse
from workers.retriever.settings import RetrieverSettings
from workers.retriever.store import Found, IndexReader

WORDS = 200
SEED = 7
SHORTEST = 4
FEW = (3, 10)
"""Documents that hold a word of the second kind."""
_WORD = re.compile(rf"[^\W_]{{{SHORTEST},}}")
FORMS = ("{}", "What is {}?")

Order = Callable[[Found, str], list[UUID]]


@dataclass(frozen=True)
class Rare:
    """A word as it is written where it stands, its workspace, and the documents that hold it in any case."""

    workspace: str
    word: str
    holders: frozenset[UUID]


def rare_words(collection: Collection, fewest: int, most: int) -> list[Rare]:
    """Return WORDS words of `fewest` to `most` documents of a workspace, drawn by SEED."""
    holders: dict[tuple[str, str], set[UUID]] = {}
    spelt: dict[tuple[str, str], str] = {}
    for one in collection.documents:
        for word in _WORD.findall(f"{one.title} {one.text}"):
            key = (one.workspace, word.casefold())
            holders.setdefault(key, set()).add(one.document_id)
            spelt.setdefault(key, word)
    fitting = sorted(key for key, found in holders.items() if fewest <= len(found) <= most)
    drawn = random.Random(SEED).sample(fitting, min(WORDS, len(fitting)))
    return [Rare(key[0], spelt[key], frozenset(holders[key])) for key in drawn]


def former(found: Found, _: str) -> list[UUID]:
    """Return the documents in the order of the fusion in which every list has a floor."""
    return ranked([found.spans[one.point].document for one in fuse(found.dense, found.sparse, limit=0)])


def present(found: Found, text: str) -> list[UUID]:
    """Return the documents in the order in which the retriever has them, where no author is named."""
    settings = RetrieverSettings()
    word = 0 < len(found.sparse) < CANDIDATES and is_one_word(text)
    weight = settings.word_dense_weight if word else settings.dense_weight
    fused = fuse(found.dense, found.sparse, limit=CANDIDATES, dense_weight=weight)
    return ranked([found.spans[one.point].document for one in fused])


ORDERS: Mapping[str, Order] = {"former": former, "now": present}


class Bench:
    """One collection in an index."""

    def __init__(self, reader: IndexReader, collection: Collection, encoder: Encoder) -> None:
        self._reader, self._collection, self._encoder = reader, collection, encoder
        self._ids = {one.external_id: one.document_id for one in collection.documents}

    async def run(self) -> None:
        """Ask and print."""
        name = self._collection.name
        print(f"\n{name}: {len(self._collection.documents)} documents\n{'':44} {'former':>8} {'now':>8}")
        alone = rare_words(self._collection, 1, 1)
        few = rare_words(self._collection, *FEW)
        for form in FORMS:
            orders = await self._asked(alone, form)
            self._tell(f"in 1 document, {form!r}: first", orders, alone, lambda got, rare: got[0] in rare.holders)
            self._tell(
                f"in 1 document, {form!r}: among 10", orders, alone, lambda got, rare: _holds(got[:10], rare) > 0
            )
        for form in FORMS:
            orders = await self._asked(few, form)
            told = f"in {FEW[0]} to {FEW[1]}, {form!r}: of the first 3"
            self._tell(told, orders, few, lambda got, rare: _holds(got[:3], rare) / 3)
        await self._judged()

    async def _search(self, workspace: str, text: str) -> Found:
        return await self._reader.search(
            workspace,
            chunks_of(workspace),
            dense=await self._encoder.encode_query(text),
            sparse=query_vector(text),
            terms=(),
            limit=CANDIDATES,
        )

    async def _asked(self, words: Sequence[Rare], form: str) -> dict[str, list[list[UUID]]]:
        lists: dict[str, list[list[UUID]]] = {method: [] for method in ORDERS}
        for rare in words:
            text = form.format(rare.word)
            found = await self._search(rare.workspace, text)
            for method, order in ORDERS.items():
                lists[method].append(order(found, text))
        return lists

    def _tell(
        self,
        what: str,
        orders: Mapping[str, Sequence[list[UUID]]],
        words: Sequence[Rare],
        measure: Callable[[list[UUID], Rare], float],
    ) -> None:
        means = [
            float(np.mean([measure(got, rare) for got, rare in zip(orders[method], words, strict=True)]))
            for method in ORDERS
        ]
        print(f"{what:44} {means[0]:8.3f} {means[1]:8.3f}   of {len(words)}")

    async def _judged(self) -> None:
        """Print the collection's own questions by both fusions, and the paired interval of the difference."""
        measure: Callable[..., float] = recall if self._collection.name == "LoCoMo" else ndcg
        values: dict[str, list[float]] = {method: [] for method in ORDERS}
        cut: Counter[bool] = Counter()
        for asked in self._collection.questions:
            found = await self._search(asked.workspace, asked.text)
            cut[len(found.sparse) >= CANDIDATES] += 1
            gains = {self._ids[name]: gain for name, gain in asked.relevant.items() if name in self._ids}
            for method, order in ORDERS.items():
                values[method].append(measure(order(found, asked.text), gains))
        former, now = (np.array(values[method]) for method in ORDERS)
        name = "recall" if measure is recall else "nDCG"
        print(f"{f'its own {len(now)} questions: {name}@10':44} {former.mean():8.3f} {now.mean():8.3f}", end="   ")
        print(f"difference {now.mean() - former.mean():+.4f} {interval(now - former)}, sparse list cut for {cut[True]}")


def _holds(got: Sequence[UUID], rare: Rare) -> int:
    return len(rare.holders.intersection(got))


async def measure(collection: Collection, encoder: Encoder, cache: Path) -> None:
    """Index `collection`, ask, print."""
    with tempfile.TemporaryDirectory() as root:
        async with door(Path(root) / "door") as client:
            bare = replace(collection, sentences={one.external_id: [] for one in collection.documents})
            name = await index_collection(client, bare, encoder, cache)
            await Bench(IndexReader(client, name), collection, encoder).run()


async def main(arguments: argparse.Namespace) -> None:
    """Run what was asked for."""
    data = Path(os.environ.get("MILLRACE_TEST_DATA", "../shared/data"))
    loaders: Mapping[str, Callable[[], Collection]] = {
        "scifact": lambda: scifact(data / "scifact", whole=True),
        "xquad": lambda: xquad(data / "xquad-en" / "dev.json"),
        "locomo": lambda: replace(locomo(data / "locomo" / "locomo5.json.gz"), context={}),
    }
    await fetch_model(MODEL)
    encoder = OpenVinoEncoder.open(model_folder(MODEL), MODEL)
    try:
        for name in arguments.collections:
            await measure(loaders[name](), encoder, arguments.cache)
    finally:
        await encoder.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("collections", nargs="+", choices=["scifact", "xquad", "locomo"])
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "millrace-bench")
    asyncio.run(main(parser.parse_args()))
