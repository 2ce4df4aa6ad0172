"""Where a run takes place: a fresh local stack that is gone afterwards, or an installation of somebody's own."""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from bench.kill.killer import CommandVictims, StackVictims, Victims
from bench.kill.senders import Account
from bench.kill.stream import UPLOADS
from bench.kill.tables import Pool
from infra.local.record import StackRecord
from infra.local.stack import Stack
from infra.local.state import GATEWAY
from infra.postgres.keys import create_key

OK, CREATED = 200, 201


@dataclass(frozen=True, slots=True)
class Grounds:
    """Addresses of the servers, and who can be killed there."""

    environment: dict[str, str]
    victims: Victims
    record: StackRecord | None
    """Of a local stack: its processes, for their memory."""


@asynccontextmanager
async def fresh_stack(encoder: str, logs: Path | None) -> AsyncIterator[Grounds]:
    """Start a whole stack in a folder of its own; afterwards stop and delete it, its logs copied to `logs` before."""
    os.environ |= {"MILLRACE_ENCODER": encoder, "MILLRACE_LOG_LEVEL": "WARNING"}
    # Open to others than root: Postgres runs as `nobody` there.
    folder = Path(tempfile.mkdtemp(prefix="millrace-kill-"))
    os.chmod(folder, 0o711)  # noqa: PTH101, S103 - before anything runs; entering is not listing
    try:
        async with Stack.start(folder / "home", workers=True) as stack:
            yield Grounds(stack.environment, StackVictims(stack.record), stack.record)
    finally:
        if logs is not None:
            shutil.copytree(folder / "home" / "logs", logs, dirs_exist_ok=True)
        shutil.rmtree(folder)


@asynccontextmanager
async def own_cluster(kill_command: str) -> AsyncIterator[Grounds]:
    """Use the installation that the environment names; it should hold nothing else."""
    yield Grounds(dict(os.environ), CommandVictims(kill_command), None)


async def open_accounts(
    pool: Pool, client: httpx.AsyncClient, workspaces: tuple[str, ...], hooks: tuple[str, ...]
) -> tuple[dict[str, Account], dict[tuple[str, str], str]]:
    """Make a key and the sources of each workspace; return the accounts, and the source ids by workspace and name."""
    accounts: dict[str, Account] = {}
    sources: dict[tuple[str, str], str] = {}
    for workspace in workspaces:
        key = (await create_key(pool, workspace, "kill test")).key
        made: dict[str, tuple[str, str]] = {}
        for name in (*hooks, UPLOADS):
            body = {"name": name, "connector": "files" if name == UPLOADS else "generic"}
            answer = await client.post("/v1/sources", json=body, headers={"authorization": f"Bearer {key}"})
            if answer.status_code not in {OK, CREATED}:
                raise RuntimeError(f"cannot register a source: {answer.status_code} {answer.text}")
            told = answer.json()
            sources[workspace, name] = told["source_id"]
            if name != UPLOADS:
                made[name] = (told["hook_path"], told["secret"])
        accounts[workspace] = Account(key, made)
    return accounts, sources


def gateway_of(environment: dict[str, str]) -> str:
    """Return the gateway's address. Raises KeyError."""
    return environment[GATEWAY]
