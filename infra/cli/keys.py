"""`millrace keys`: API keys, written straight into Postgres: whoever reaches the database may make them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from infra.cli.surroundings import adopt_local_stack
from infra.cli.terminal import AsJson, CommandError, Status, command, err, plain, print_json, print_table, whole
from infra.settings import PostgresSettings, load

if TYPE_CHECKING:
    import asyncpg

app = typer.Typer(help="API keys.", no_args_is_help=True)

Workspace = Annotated[str, typer.Option("--workspace", "-w", help="Workspace that the key belongs to.")]


@app.command("create")
@command
async def create(
    workspace: Workspace = "default",
    name: Annotated[str, typer.Option(help="What the key is for, shown in lists.")] = "cli",
    as_json: AsJson = False,
) -> None:
    """Make a key. It is printed once; only its hash is kept."""
    from infra.postgres.keys import create_key

    async with _postgres() as pool:
        made = await create_key(pool, workspace, name)
    if as_json:
        print_json(asdict(made))
        return
    plain(made.key)
    err.print(f"key {made.key_id} of workspace {made.workspace}: shown only now, keep it safe", markup=False)


@app.command("list")
@command
async def show(
    workspace: Annotated[str | None, typer.Option("--workspace", "-w", help="Only keys of this workspace.")] = None,
    as_json: AsJson = False,
) -> None:
    """List keys, without their secrets."""
    from infra.postgres.keys import list_keys

    async with _postgres() as pool:
        rows = await list_keys(pool, workspace)
    if as_json:
        print_json([asdict(row) for row in rows])
        return
    print_table(
        (whole("key"), whole("workspace"), "name", "created", "revoked"),
        [
            (
                f"mr_{row.key_id}_…",
                row.workspace,
                row.name,
                f"{row.created_at:%Y-%m-%d %H:%M}",
                f"{row.revoked_at:%Y-%m-%d %H:%M}" if row.revoked_at else "",
            )
            for row in rows
        ],
    )


@app.command("revoke")
@command
async def revoke(
    key: Annotated[str, typer.Argument(help="Key id, or the key's shown prefix.")], as_json: AsJson = False
) -> None:
    """Revoke a key for good."""
    key_id = _key_id(key)
    from infra.postgres.keys import revoke_key

    async with _postgres() as pool:
        revoked = await revoke_key(pool, key_id)
    if not revoked:
        raise CommandError(Status.FAILED, f"no valid key has the id {key_id}", "list them with `millrace keys list`")
    if as_json:
        print_json({"key_id": key_id, "revoked": True})
    else:
        plain(f"revoked {key_id}")


def _key_id(key: str) -> str:
    """Take the id out of `mr_<id>_…`: a whole key may be given, and its secret must not be repeated in a message."""
    return key.removeprefix("mr_").partition("_")[0]


@asynccontextmanager
async def _postgres() -> AsyncIterator["asyncpg.Pool[asyncpg.Record]"]:
    from infra.postgres.pool import open_pool

    adopt_local_stack()
    async with open_pool(load(PostgresSettings)) as pool:
        yield pool
