"""API keys in the real database."""

import pytest

from infra.errors import Permanent
from infra.postgres.keys import Principal, create_key, ensure_workspace, list_keys, revoke_key, verify_key
from tests.live.postgres.conftest import Pool


async def test_a_key_opens_its_workspace_until_it_is_revoked(pool: Pool, workspace: str) -> None:
    made = await create_key(pool, workspace, "ci")
    assert await verify_key(pool, made.key) == Principal(made.key_id, workspace)
    assert await revoke_key(pool, made.key_id)
    assert await verify_key(pool, made.key) is None
    assert not await revoke_key(pool, made.key_id)


async def test_only_a_hash_is_kept(pool: Pool, workspace: str) -> None:
    made = await create_key(pool, workspace, "ci")
    row = await pool.fetchrow("select * from api_keys where key_id = $1", made.key_id)
    secret = made.key.rpartition("_")[2]
    assert len(row["hash"]) == 32
    assert secret not in repr(dict(row))
    assert secret not in repr(await list_keys(pool, workspace))


@pytest.mark.parametrize("change", [lambda key: key[:-1] + ("0" if key[-1] != "0" else "1"), str.upper, lambda _: ""])
async def test_anything_else_opens_nothing(pool: Pool, workspace: str, change: object) -> None:
    made = await create_key(pool, workspace, "ci")
    assert callable(change)
    assert await verify_key(pool, change(made.key)) is None


async def test_another_keys_secret_opens_nothing(pool: Pool, workspace: str) -> None:
    one, two = await create_key(pool, workspace, "1"), await create_key(pool, workspace, "2")
    crossed = f"mr_{one.key_id}_{two.key.rpartition('_')[2]}"
    assert await verify_key(pool, crossed) is None


async def test_lists_are_by_workspace(pool: Pool, workspace: str) -> None:
    made = await create_key(pool, workspace, "ci")
    await create_key(pool, f"{workspace}-2", "ci")
    assert [row.key_id for row in await list_keys(pool, workspace)] == [made.key_id]
    assert len(await list_keys(pool)) >= 2


@pytest.mark.parametrize("name", ["", "Upper", "a b", "-a", "x" * 64, "unattributed", "a/b"])
async def test_what_is_no_workspace_name(pool: Pool, name: str) -> None:
    with pytest.raises(Permanent):
        await ensure_workspace(pool, name)
