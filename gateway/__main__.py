"""Serves the HTTP door: `python -m gateway`.

SIGTERM and SIGINT stop it cleanly: no new connections, requests in flight end, what is published is flushed.
"""

import signal
import sys

import uvicorn

from gateway.app import create_app
from gateway.connections import open_connections
from gateway.settings import Environment
from infra.allocation import look_for_cycles_seldom
from infra.kafka import connection
from infra.postgres.sources import SecretBox
from infra.settings import SettingsError
from infra.telemetry import logs, tracing

SERVICE = "gateway"
USAGE_ERROR = 2


def main() -> int:
    """Serve until stopped; return the process's exit status, 2 for unusable settings."""
    try:
        environment = Environment.read()
        SecretBox.from_settings(environment.secrets)
    except SettingsError as error:
        sys.stderr.write(f"gateway: {error}\n")
        return USAGE_ERROR
    logs.configure(environment.process.log_level)
    tracing.configure(SERVICE)
    tracing.instrument_clients()
    settings = environment.gateway
    connection.survive_resets()
    app = create_app(settings, lambda: open_connections(environment))
    server = uvicorn.Server(
        uvicorn.Config(
            tracing.instrument_asgi(app),
            host=settings.host,
            port=settings.port,
            loop="uvloop",
            http="httptools",
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=settings.stop_timeout_s,
        )
    )
    # Uvicorn raises the signal again once it has stopped cleanly: by default that would end the process here and now.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    look_for_cycles_seldom()
    try:
        server.run()
    finally:
        tracing.shutdown()
    return 0 if server.started else 1


if __name__ == "__main__":
    sys.exit(main())
