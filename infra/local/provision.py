"""Brings fresh servers to where workers can start, then ends, and with it the memory that its clients took.

python -m infra.local.provision topics      the catalogue's topics, on KAFKA_BOOTSTRAP_SERVERS
python -m infra.local.provision schema      migrations, workspace `default` and its first API key, on POSTGRES_DSN
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Mapping

from infra.local.program import StartError
from infra.local.state import Home, write_private

WORKSPACE = "default"


async def topics() -> None:
    """Create and configure what the catalogue declares. Raises StartError if the broker's topics contradict it."""
    from infra.kafka.admin import apply
    from infra.settings import KafkaSettings, load

    done = await apply(load(KafkaSettings))
    if done.refusals:
        raise StartError(f"topics: {'; '.join(map(str, done.refusals))}; see `millrace topics plan`")


async def schema() -> None:
    """Migrate the database and make sure that the key in the state folder opens workspace `default`."""
    from infra.postgres.keys import create_key, verify_key
    from infra.postgres.migrate import upgrade
    from infra.postgres.pool import open_pool
    from infra.settings import PostgresSettings, load

    settings = load(PostgresSettings)
    await upgrade(settings.dsn.get_secret_value())
    home = Home.find()
    async with open_pool(settings) as pool:
        known = home.api_key.read_text().strip() if home.api_key.exists() else ""
        if not known or await verify_key(pool, known) is None:
            made = await create_key(pool, WORKSPACE, "local stack")
            write_private(home.api_key, made.key + "\n")


STEPS = {"topics": topics, "schema": schema}


async def provision(step: str, environment: Mapping[str, str]) -> None:
    """Run one step in a process of its own. Raises StartError with its last words."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "infra.local.provision", step),
        env=dict(os.environ) | dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        output, _ = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    if process.returncode:
        words = output.decode(errors="replace").strip().splitlines()
        raise StartError(f"{step}: {words[-1] if words else f'ended {process.returncode}'}")


if __name__ == "__main__":
    asyncio.run(STEPS[sys.argv[1]]())
