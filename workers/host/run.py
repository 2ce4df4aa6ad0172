"""Runs the named workers in this process: `python -m workers.host normalizer embedder`.

Each worker is a consumer group of its own, so hosting several in one process or one in several changes nothing but
memory and speed. If one of them ends by a fault, the process stops all in order and exits 1, for its supervisor to
start again.
"""

import asyncio
import signal
import sys
from contextlib import AsyncExitStack
from importlib import import_module
from pathlib import Path
from time import monotonic
from typing import Any

import uvloop

from infra.allocation import look_for_cycles_seldom, return_large_blocks
from infra.errors import Transient
from infra.kafka import connection, failpoints
from infra.kafka.producer import Publisher
from infra.kafka.runtime import Runtime
from infra.kafka.timing import Timing
from infra.kafka.worker import Worker
from infra.objects.store import ObjectStore
from infra.settings import KafkaSettings, ObjectStoreSettings, ProcessSettings, SettingsError, load
from infra.telemetry import logs, tracing
from infra.telemetry.metrics import Metric, gauge
from infra.telemetry.server import Health, serve
from workers.settings import HostSettings

SWITCH_S = 0.001
"""How long a thread that computes keeps the interpreter from the event loop: five times shorter than Python's default,
which each of a request's dozen steps would wait for beside a flood."""
EXIT_FAILED = 1
EXIT_USAGE = 2
log = logs.logger(__name__)


def names() -> list[str]:
    """Return every worker that can be hosted."""
    return sorted(path.parent.name for path in Path(__file__).parent.parent.glob("*/worker.py"))


def find(name: str) -> Worker[Any]:
    """Return the worker called `name`. Raises KeyError if there is none."""
    if name not in names():
        raise KeyError(name)
    worker: Worker[Any] = import_module(f"workers.{name}.worker").worker
    return worker


class Heartbeat:
    """How late the event loop wakes: a blocked loop stops group heartbeats and must be seen."""

    def __init__(self, every_s: float = 0.5) -> None:
        self._every_s = every_s
        self._beat_at = monotonic()

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            due = monotonic() + self._every_s
            await asyncio.sleep(self._every_s)
            self._beat_at = monotonic()
            gauge(Metric.LOOP_LAG_SECONDS, max(0.0, self._beat_at - due))

    @property
    def age_s(self) -> float:
        """Seconds since the last beat."""
        return monotonic() - self._beat_at


class Host:
    """The workers of one process."""

    def __init__(self, workers: list[Worker[Any]]) -> None:
        self._workers = workers
        self._runtimes: list[Runtime[Any]] = []
        self._heartbeat = Heartbeat()

    async def run(self) -> None:
        """Run all workers until a signal or a fault. Raises the fault."""
        kafka = load(KafkaSettings)
        settings = load(HostSettings)
        objects = ObjectStore.open(load(ObjectStoreSettings).url)
        async with AsyncExitStack() as resources:
            publisher = await Publisher.open(kafka.bootstrap, objects)
            resources.push_async_callback(publisher.close)
            timing = Timing.of(settings.session_s, settings.stalled_after_s)
            self._runtimes = [
                Runtime(
                    worker,
                    kafka.bootstrap,
                    publisher,
                    objects,
                    limits=worker.limits.within(settings.held_records, settings.held_mb * 1024 * 1024),
                    timing=timing,
                    instance=settings.instance,
                )
                for worker in self._workers
            ]
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, self.stop)
            if settings.metrics_port:
                server = await serve(settings.metrics_port, self._live, self._ready, settings.metrics_host)
                resources.callback(server.close)
            beating = asyncio.create_task(self._heartbeat.run())
            resources.callback(beating.cancel)
            await self._run_all()

    def stop(self) -> None:
        """Ask every worker to finish and commit."""
        for runtime in self._runtimes:
            runtime.stop()

    async def _run_all(self) -> None:
        running = [asyncio.create_task(runtime.run(), name=runtime.worker.name) for runtime in self._runtimes]
        await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        self.stop()
        await asyncio.wait(running)
        for task in running:
            if (fault := task.exception()) is not None:
                log.error("a worker ended by a fault", worker=task.get_name(), exc_info=fault)
                raise fault

    def _live(self) -> Health:
        # A blocked loop answers nothing at all, and the probe's own timeout says so.
        stuck = {runtime.worker.name: runtime.stuck() for runtime in self._runtimes}
        details = {"loop_beat_age_s": round(self._heartbeat.age_s, 3), "stuck": stuck}
        return Health(ok=not any(stuck.values()), details=details)

    def _ready(self) -> Health:
        faults = {runtime.worker.name: runtime.faults() for runtime in self._runtimes}
        return Health(ok=not any(faults.values()), details={"workers": faults})


def main(arguments: list[str]) -> int:
    """Host the workers named in `arguments`; return the exit status."""
    try:
        process = load(ProcessSettings)
        logs.configure(process.log_level)
        failpoints.arm(load(failpoints.FailpointSettings), process)
        unknown = [name for name in arguments if name not in names()]
        if unknown or not arguments:
            log.error("name the workers to host", unknown=unknown, known=names())
            return EXIT_USAGE
        tracing.configure("+".join(arguments) if len(arguments) < 3 else "workers")  # noqa: PLR2004 - a readable name
        tracing.instrument_clients()
        connection.survive_resets()
        host = Host([find(name) for name in arguments])
        return_large_blocks()
        sys.setswitchinterval(SWITCH_S)
        look_for_cycles_seldom()
        uvloop.run(host.run())
    except SettingsError as error:
        log.critical("cannot start", cause=str(error))
        return EXIT_USAGE
    except Transient as error:
        log.critical("stopped while a dependency was unreachable", cause=str(error))
        return EXIT_FAILED
    except Exception:
        log.exception("stopped by a fault")
        return EXIT_FAILED
    finally:
        tracing.shutdown()
    return 0
