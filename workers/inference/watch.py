"""Reads routing.yaml at the start and again when it has changed, while questions are answered."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from infra.ending import end
from infra.settings import SettingsError
from infra.telemetry.logs import logger
from infra.telemetry.metrics import Metric, count, gauge
from workers.inference.answer import Answerer
from workers.inference.fleet import Member, arranged
from workers.inference.routing import PACKAGED, Routing, RoutingError, parse, read
from workers.inference.settings import InferenceSettings

log = logger(__name__)


class RoutingFile:
    """The file and what was last read of it. The content is compared, not the time: links are swapped under it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: bytes | None = None

    def changed(self) -> Routing | None:
        """Return what the file says if it says something else than when it was last read, else None.

        Raises RoutingError once for each state of the file that cannot be used.
        """
        try:
            content = read(self._path)
        except RoutingError:
            gone, self._seen = self._seen is None, None
            if gone:
                return None
            raise
        if content == self._seen:
            return None
        self._seen = content
        return parse(content)


async def begin(answerer: Answerer, settings: InferenceSettings) -> "Watch":
    """Route by the file that the settings name, else by the packaged one, and return what watches it.

    Raises RoutingError if the file is wrong at the start: there is no old one to keep.
    """
    path = Path(settings.routing) if settings.routing else PACKAGED
    watch = Watch(answerer, settings, RoutingFile(path))
    routing = await asyncio.to_thread(watch.file.changed)
    if routing is None:
        raise RoutingError(f"INFERENCE_ROUTING={path}: cannot be read")
    try:
        await watch.apply(routing)
    except RoutingError as error:
        raise RoutingError(f"{path}: {error}") from error
    watch.start()
    return watch


class Watch:
    """Looks at the file every few seconds; a file that is wrong changes nothing and is told of once."""

    def __init__(
        self,
        answerer: Answerer,
        settings: InferenceSettings,
        file: RoutingFile,
        pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.file = file
        self._answerer = answerer
        self._settings = settings
        self._pause = pause
        self._own: tuple[Member, ...] = answerer.fleet.members
        self._task: asyncio.Task[None] | None = None
        self._retiring: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin to watch."""
        self._task = asyncio.create_task(self._run(), name="watch the routing file")

    async def apply(self, routing: Routing) -> None:
        """Answer by `routing` from now on. Raises RoutingError, and then everything is as before."""
        earlier = {member.name: member for member in self._answerer.fleet.members}
        fleet = arranged(self._own, routing, self._settings, earlier)
        retiring = asyncio.create_task(self._answerer.adopt(fleet), name="close what is no longer routed to")
        self._retiring.add(retiring)
        retiring.add_done_callback(self._retiring.discard)
        # The new fleet is in force with the first step of the task.
        await asyncio.sleep(0)
        gauge(Metric.ROUTING_CURRENT, 1)

    async def look(self) -> None:
        """Read the file again, once."""
        try:
            routing = await asyncio.to_thread(self.file.changed)
            if routing is None:
                return
            await self.apply(routing)
        except SettingsError as error:
            count(Metric.ROUTING_RELOADS_TOTAL, "refused")
            gauge(Metric.ROUTING_CURRENT, 0)
            log.warning("the routing file is refused; the one before stays in force", cause=str(error))
        else:
            count(Metric.ROUTING_RELOADS_TOTAL, "applied")
            log.info("the routing file has changed", backends=[each.name for each in self._answerer.fleet.members])

    async def close(self) -> None:
        """Stop watching."""
        tasks = [task for task in (self._task, *self._retiring) if task is not None]
        await end(*tasks)

    async def _run(self) -> None:
        while True:
            await self._pause(self._settings.routing_every_s)
            await self.look()
