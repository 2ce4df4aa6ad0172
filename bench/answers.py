"""How often the built-in answerer answers, is right, and answers what it cannot know, through a running product.

    MILLRACE_URL=http://127.0.0.1:PORT MILLRACE_KEY=KEY python -m bench.answers [--titles] [--json FILE]

XQuAD-en (MILLRACE_TEST_DATA, never committed): every paragraph is uploaded as a document; every question is asked, and
again with its paragraph deleted. One paragraph of each article is deleted at a time, so that its neighbours stay. The
workspace should hold nothing else. Questions of articles 1, 3, 5, … were not used to fit the constants: they are
"unseen". Each is asked with `min_support` 0, which quotes whatever there is, so that one run gives the whole curve;
and once as it is, for the installation's own threshold. The former rule (`bench.answering`) gets the same passages.
Intervals: 95 %, bootstrap over questions; differences are paired.
"""

import argparse
import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import numpy as np
from numpy.typing import NDArray

from bench.answering import ANSWERED_FROM, former
from infra.models.sparse import tokenise
from schemas.chat import Passage
from workers.normalizer.chunk import cut
from workers.retriever.store import highest_weight

AT_ONCE = 4
SHORT_LIVED = httpx.Limits(keepalive_expiry=2)
"""The gateway closes a connection after five idle seconds: a request must not meet that."""
SETTLED_S = 300
THRESHOLDS = (0.2, 0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7, 0.8)
Flags = NDArray[np.float64]


@dataclass(frozen=True)
class Paragraph:
    """A document, and what is asked of it with the answers."""

    article: int
    title: str
    text: str
    questions: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass
class Row:
    """One question: `support` and whether the sentences hold an answer, and the support with its paragraph deleted."""

    unseen: bool
    answered: bool = False
    support: float = 0.0
    holds: bool = False
    sentences: int = 0
    removed: float = 0.0
    removed_answered: bool = False
    old_support: float = 0.0
    old_holds: bool = False
    old_removed: float = 0.0


def paragraphs(path: Path) -> list[Paragraph]:
    """Read the file."""
    return [
        Paragraph(
            at,
            article["title"].replace("_", " "),
            each["context"],
            tuple((one["question"].strip(), tuple(gold["text"] for gold in one["answers"])) for one in each["qas"]),
        )
        for at, article in enumerate(json.loads(path.read_text())["data"])
        for each in article["paragraphs"]
    ]


class Weights:
    """Inverse document frequencies over the chunks of the paragraphs that are there, for the former rule."""

    def __init__(self, there: Sequence[Paragraph], *, titles: bool) -> None:
        held = [
            set(tokenise(one.text[chunk.start : chunk.end])) | (set(tokenise(one.title)) if titles else set())
            for one in there
            for chunk in cut(one.text, "text")
        ]
        self._number, self._held = len(held), Counter(term for terms in held for term in terms)

    def of(self, question: str) -> Mapping[str, float]:
        """Return the weight of each term, as the retriever has it."""
        return {term: self._idf(self._held[term]) for term in dict.fromkeys(tokenise(question))}

    def _idf(self, holding: int) -> float:
        if not holding:
            return highest_weight(self._number)
        return float(np.log(1 + (self._number - holding + 0.5) / (holding + 0.5)))


class Product:
    """The running installation."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._room = asyncio.Semaphore(AT_ONCE)

    async def upload(self, name: str, paragraph: Paragraph, *, titles: bool) -> str:
        """Put a document in; return its id once it can be found."""
        body = {"external_id": name, "text": paragraph.text, "title": paragraph.title if titles else ""}
        async with self._room:
            answer = (await self._client.post("/v1/documents", json=body)).raise_for_status().json()
        await self._settled(answer["event_id"])
        return str(answer["document_id"])

    async def delete(self, document: str) -> None:
        """Take a document out; return once it is gone."""
        async with self._room:
            answer = (await self._client.delete(f"/v1/documents/{document}")).raise_for_status().json()
        await self._settled(answer["event_id"])

    async def _settled(self, event: str) -> None:
        async with asyncio.timeout(SETTLED_S):
            while True:
                found = await self._client.get(f"/v1/events/{event}")
                if found.status_code == httpx.codes.OK and found.json()["state"] in {"searchable", "complete"}:
                    return
                if found.status_code == httpx.codes.OK and found.json()["state"] in {"dead_lettered", "not_a_document"}:
                    raise RuntimeError(f"event {event}: {found.json()}")
                await asyncio.sleep(1)

    async def ask(self, question: str, least: float | None) -> dict[str, Any]:
        """Return the answer."""
        body: dict[str, Any] = {"query": question} | ({} if least is None else {"min_support": least})
        async with self._room:
            answer = await self._client.post("/v1/rag/query", json=body)
        found: dict[str, Any] = answer.raise_for_status().json()
        return found


def holding(answers: Sequence[str], sentences: Sequence[str]) -> bool:
    """Say whether a sentence holds one of the answers, letter for letter but for case."""
    return any(answer.casefold() in one.casefold() for answer in answers for one in sentences)


async def asked(product: Product, row: Row, question: str, answers: Sequence[str], weights: Weights) -> None:
    """Ask with the paragraph there."""
    own, found = await asyncio.gather(product.ask(question, None), product.ask(question, 0.0))
    quotes = [one["quote"] for one in found["citations"]]
    row.answered, row.support = not own["abstained"], found["support"] or 0.0
    row.holds, row.sentences = holding(answers, quotes), len(quotes)
    passages = [Passage.model_validate(one) for one in found["passages"]]
    row.old_support, sentences = former(question, passages, weights.of(question))
    row.old_holds = holding(answers, sentences)


async def without(product: Product, row: Row, question: str, weights: Weights) -> None:
    """Ask with the paragraph gone."""
    found = await product.ask(question, None)
    row.removed, row.removed_answered = found["support"] or 0.0, not found["abstained"]
    passages = [Passage.model_validate(one) for one in found["passages"]]
    row.old_removed, _ = former(question, passages, weights.of(question))


async def measure(product: Product, own: Sequence[Paragraph], *, titles: bool) -> list[Row]:
    """Upload, ask, delete a paragraph of each article at a time, ask again, put it back."""
    run = uuid4().hex[:8]
    names = [f"answers-{run}-{at}" for at in range(len(own))]
    documents = await asyncio.gather(*(product.upload(*pair, titles=titles) for pair in zip(names, own, strict=True)))
    rows = [[Row(one.article % 2 == 1) for _ in one.questions] for one in own]
    weights = Weights(own, titles=titles)
    await asyncio.gather(
        *(
            asked(product, row, *question, weights)
            for one, mine in zip(own, rows, strict=True)
            for question, row in zip(one.questions, mine, strict=True)
        )
    )
    place = [at - min(i for i, other in enumerate(own) if other.article == one.article) for at, one in enumerate(own)]
    for turn in range(max(place) + 1):
        gone = [at for at in range(len(own)) if place[at] == turn]
        await asyncio.gather(*(product.delete(documents[at]) for at in gone))
        left = Weights([one for at, one in enumerate(own) if place[at] != turn], titles=titles)
        await asyncio.gather(
            *(
                without(product, row, question, left)
                for at in gone
                for (question, _), row in zip(own[at].questions, rows[at], strict=True)
            )
        )
        await asyncio.gather(*(product.upload(names[at], own[at], titles=titles) for at in gone))
        print(f"round {turn + 1} of {max(place) + 1}", file=sys.stderr)
    return [row for mine in rows for row in mine]


def share(values: Flags, of: Flags | None = None) -> str:
    """Return the share in percent with its interval, of those in `of`."""
    kept = np.ones_like(values) if of is None else of
    draws = np.random.default_rng(0).integers(0, len(values), (2_000, len(values)))
    drawn = (values * kept)[draws].sum(axis=1) / np.maximum(1, kept[draws].sum(axis=1))
    low, high = np.quantile(drawn, (0.025, 0.975)) * 100
    return f"{100 * (values * kept).sum() / max(1, kept.sum()):5.1f} [{low:.1f}, {high:.1f}]"


def difference(new: Flags, old: Flags) -> str:
    """Return the paired difference in points with its interval."""
    draws = np.random.default_rng(0).integers(0, len(new), (2_000, len(new)))
    low, high = np.quantile((new - old)[draws].mean(axis=1), (0.025, 0.975)) * 100
    return f"{100 * (new - old).mean():+.1f} [{low:+.1f}, {high:+.1f}]"


def report(title: str, rows: Sequence[Row]) -> None:
    """Print the table of one set of questions, and its curve."""

    def flags(one: Any) -> Flags:
        return np.array([float(one(row)) for row in rows])

    holds, old_holds = flags(lambda row: row.holds), flags(lambda row: row.old_holds)
    answered, removed = flags(lambda row: row.answered), flags(lambda row: row.removed_answered)
    old = flags(lambda row: row.old_support >= ANSWERED_FROM)
    old_removed = flags(lambda row: row.old_removed >= ANSWERED_FROM)
    print(f"\n{title}: {len(rows)} questions, {np.mean([row.sentences for row in rows]):.2f} sentences")
    print(f"{'':10} {'answered':22} {'answer held':22} answered without the paragraph")
    print(f"{'former':10} {share(old):22} {share(old_holds, old):22} {share(old_removed)}")
    print(f"{'now':10} {share(answered):22} {share(holds, answered):22} {share(removed)}")
    right = difference(holds * answered, old_holds * old)
    print(f"{'points':10} {difference(answered, old):22} {right} of all{'':6} {difference(removed, old_removed)}")
    for least in THRESHOLDS:
        kept = flags(lambda row, least=least: row.support >= least)
        wrong = flags(lambda row, least=least: row.removed >= least)
        print(f"{least:<10} {share(kept):22} {share(holds, kept):22} {share(wrong)}")


async def main(arguments: argparse.Namespace) -> None:
    """Measure and print."""
    data = Path(os.environ.get("MILLRACE_TEST_DATA", "../shared/data"))
    own = await asyncio.to_thread(paragraphs, data / "xquad-en" / "dev.json")
    own = [one for one in own if one.article >= arguments.since]
    headers = {"authorization": f"Bearer {os.environ['MILLRACE_KEY']}"}
    async with httpx.AsyncClient(
        base_url=os.environ["MILLRACE_URL"], headers=headers, timeout=120, limits=SHORT_LIVED
    ) as client:
        rows = await measure(Product(client), own, titles=arguments.titles)
    if arguments.json:
        await asyncio.to_thread(arguments.json.write_text, json.dumps([asdict(row) for row in rows]))
    report("unseen articles", [row for row in rows if row.unseen])
    report("articles that the constants were fitted on", [row for row in rows if not row.unseen])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--titles", action="store_true", help="give each paragraph its article's title")
    parser.add_argument("--since", type=int, default=0, help="leave out the articles before this one, for a short run")
    parser.add_argument("--json", type=Path, help="keep the figures of each question")
    asyncio.run(main(parser.parse_args()))
