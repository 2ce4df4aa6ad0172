"""Writes new versions into the index, window by window, and stops with what is overtaken meanwhile.

A version of more than one window is written over minutes. Before each window the index is asked for the document's head
and for what stands of the window already: what a newer state has overtaken is left, with what was written of it for the
sweep behind; and after a crash or a rebalance the work goes on where it stopped.
"""

from collections.abc import Sequence
from functools import partial

from schemas.documents import DocumentVersion
from workers.embedder.asked import Asked
from workers.embedder.decide import Verdict, key, verdict
from workers.embedder.encode import WINDOW, Run, points_of, windows
from workers.embedder.store import IndexWriter
from workers.embedder.turns import Overtaken, Turns


class Writing:
    """One write of some `fresh` versions of one workspace."""

    def __init__(self, fresh: Sequence[DocumentVersion], turns: Turns, index: IndexWriter, asked: Asked) -> None:
        self._fresh = fresh
        self._turns = turns
        self._index = index
        self._asked = asked
        self._left: list[DocumentVersion] = []
        """Versions that the index knows a newer state of."""

    async def run(self) -> None:
        """Write chunk points, then heads. Raises as the index and the encoder do."""
        workspace = self._fresh[0].workspace
        encode, compute = partial(self._turns.encode, workspace), partial(self._turns.compute, workspace)
        for window in windows(self._fresh):
            runs = [run for part in window if (run := await self._left_to_do(*part))[1]]
            versions = [version for version, _ in runs]
            try:
                points = await points_of(runs, partial(encode, wanted=partial(self._any_wanted, versions)), compute)
            except Overtaken:
                continue
            await self._index.write_chunks(points, versions, self._wanted)
        await self._index.write_heads([version for version in self._fresh if self._wanted(version)])

    def _wanted(self, version: DocumentVersion) -> bool:
        return not self._asked.overtaken(version) and not any(version is left for left in self._left)

    def _any_wanted(self, versions: Sequence[DocumentVersion]) -> bool:
        return any(map(self._wanted, versions))

    async def _left_to_do(self, version: DocumentVersion, positions: range) -> Run:
        if not self._wanted(version):
            return version, ()
        if len(version.chunks) <= WINDOW:
            return version, positions
        if positions.start:
            heads = await self._index.heads([version])
            if verdict(version, heads.get(key(version))) is not Verdict.FRESH:
                self._left.append(version)
                return version, ()
        standing = await self._index.standing(version, positions)
        return version, [at for at in positions if at not in standing]
