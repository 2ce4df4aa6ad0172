"""Keeps the compiled names of the workspaces in memory, fresh enough and never too many."""

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass

from infra.neo4j.client import GraphDriver
from infra.telemetry.logs import logger
from workers.graph_builder import store
from workers.graph_builder.mention import Gazetteer
from workers.graph_builder.settings import GraphBuilderSettings

LOAD_SHARE = 20
"""A workspace's names are read again no sooner than this many times the seconds that the last reading took."""

log = logger(__name__)


@dataclass(frozen=True, slots=True)
class _Loaded:
    gazetteer: Gazetteer
    at: float
    took: float


class Gazetteers:
    """The gazetteers of the workspaces that texts came from lately.

    Memory is bounded by `gazetteer_total` names over all workspaces (about 0.5 kB each, see docs/decisions/0007).
    """

    def __init__(self, graph: GraphDriver, settings: GraphBuilderSettings, load_share: float = LOAD_SHARE) -> None:
        self._graph = graph
        self._settings = settings
        self._load_share = load_share
        self._loaded: OrderedDict[str, _Loaded] = OrderedDict()
        self._loading: dict[str, asyncio.Lock] = {}

    async def of(self, workspace: str) -> Gazetteer:
        """Return the names known in `workspace`, at most about `gazetteer_refresh_s` old. Raises Transient."""
        async with self._loading.setdefault(workspace, asyncio.Lock()):
            held = self._loaded.get(workspace)
            if held is None or time.monotonic() - held.at > self._lifetime(held):
                held = await self._load(workspace)
                self._loaded[workspace] = held
            self._loaded.move_to_end(workspace)
        self._drop_unused()
        return held.gazetteer

    def _lifetime(self, held: _Loaded) -> float:
        return max(self._settings.gazetteer_refresh_s, self._load_share * held.took)

    async def _load(self, workspace: str) -> _Loaded:
        started = time.monotonic()
        limit = self._settings.gazetteer_names
        known = await store.known(self._graph, workspace, limit)
        if len(known) == limit:
            log.warning("gazetteer_full", workspace=workspace, names=limit, setting="GRAPH_GAZETTEER_NAMES")
        gazetteer = await asyncio.to_thread(Gazetteer, known)
        finished = time.monotonic()
        return _Loaded(gazetteer, finished, finished - started)

    def _drop_unused(self) -> None:
        total = sum(len(held.gazetteer) for held in self._loaded.values())
        while total > self._settings.gazetteer_total and len(self._loaded) > 1:
            workspace, dropped = self._loaded.popitem(last=False)
            total -= len(dropped.gazetteer)
            if not self._loading[workspace].locked():
                del self._loading[workspace]
