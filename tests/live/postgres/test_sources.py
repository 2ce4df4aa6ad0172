"""Sources and their secrets in the real database."""

import asyncio

import pytest
from cryptography.fernet import Fernet

from infra.errors import Transient
from infra.postgres.sources import (
    Connector,
    Registered,
    SecretBox,
    SecretShapeError,
    SourceConflictError,
    enable_source,
    find_by_name,
    find_source,
    list_sources,
    register_source,
)
from tests.live.postgres.conftest import Pool


async def register(pool: Pool, box: SecretBox, workspace: str, **fields: object) -> Registered:
    values = {"connector": Connector.GITHUB, "name": "eng"} | fields
    return await register_source(pool, box, workspace=workspace, **values)  # type: ignore[arg-type]


async def test_registering_twice_leaves_one_source(pool: Pool, box: SecretBox, workspace: str) -> None:
    first = await register(pool, box, workspace)
    again = await register(pool, box, workspace)
    assert first.created
    assert first.secret
    assert not again.created
    assert again.secret is None
    assert again.source.source_id == first.source.source_id
    assert again.source.secrets == (first.secret,)


async def test_many_at_once_leave_one_source(pool: Pool, box: SecretBox, workspace: str) -> None:
    done = await asyncio.gather(*(register(pool, box, workspace) for _ in range(8)))
    assert sum(each.created for each in done) == 1
    assert len({each.source.source_id for each in done}) == 1


async def test_secrets_are_encrypted_at_rest(pool: Pool, box: SecretBox, workspace: str) -> None:
    made = await register(pool, box, workspace)
    stored = await pool.fetchval("select secrets from sources where source_id = $1", made.source.source_id)
    assert made.secret
    assert made.secret.encode() not in stored[0]
    assert made.secret not in repr(made.source)
    found = await find_source(pool, box, made.source.source_id)
    assert found is not None
    assert found.secrets == (made.secret,)


async def test_a_rotation_keeps_the_secret_before_and_retires_the_one_before_that(
    pool: Pool, box: SecretBox, workspace: str
) -> None:
    first = (await register(pool, box, workspace)).secret
    for number in (2, 3):
        done = await register(pool, box, workspace, secret=f"webhook-secret-{number}")
        assert done.secret == f"webhook-secret-{number}"
        if number == 2:
            assert done.source.secrets == ("webhook-secret-2", first)
    assert done.source.secrets == ("webhook-secret-3", "webhook-secret-2")
    repeated = await register(pool, box, workspace, secret="webhook-secret-3")
    assert repeated.source.secrets == done.source.secrets
    assert repeated.secret is None


async def test_the_encryption_key_rotates(pool: Pool, workspace: str) -> None:
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    made = await register(pool, SecretBox(old), workspace)
    found = await find_source(pool, SecretBox(f"{new},{old}"), made.source.source_id)
    assert found is not None
    assert found.secrets == (made.secret,)
    with pytest.raises(Transient, match="MILLRACE_SECRET_KEY"):
        await find_source(pool, SecretBox(new), made.source.source_id)
    await register(pool, SecretBox(f"{new},{old}"), workspace)  # writes them anew under the first key
    assert await find_source(pool, SecretBox(new), made.source.source_id)


async def test_a_name_belongs_to_one_connector(pool: Pool, box: SecretBox, workspace: str) -> None:
    await register(pool, box, workspace)
    with pytest.raises(SourceConflictError):
        await register(pool, box, workspace, connector=Connector.FILES)
    other = await register(pool, box, f"{workspace}-2", connector=Connector.FILES)
    assert other.created


async def test_each_connectors_secret_has_its_senders_shape(pool: Pool, box: SecretBox, workspace: str) -> None:
    generic = await register(pool, box, workspace, connector=Connector.GENERIC, name="g")
    assert generic.secret
    assert generic.secret.startswith("whsec_")
    assert generic.source.hook_path == f"/v1/hooks/generic/{generic.source.source_id}"
    files = await register(pool, box, workspace, connector=Connector.FILES, name="f")
    assert (files.secret, files.source.hook_path) == (None, "")


@pytest.mark.parametrize(
    ("connector", "secret"),
    [
        (Connector.GITHUB, "short"),
        (Connector.GENERIC, "whsec_not base64!"),
        (Connector.GENERIC, "whsec_c2hvcnQ="),
        (Connector.GENERIC, "whsec_" + "AAAA" * 30),
        (Connector.FILES, "a-perfectly-fine-secret"),
    ],
)
async def test_a_secret_that_cannot_sign_is_refused(
    pool: Pool, box: SecretBox, workspace: str, connector: Connector, secret: str
) -> None:
    with pytest.raises(SecretShapeError) as error:
        await register(pool, box, workspace, connector=connector, secret=secret)
    assert secret not in str(error.value)
    assert await list_sources(pool, workspace=workspace) == []


async def test_a_feed_is_due_at_once(pool: Pool, box: SecretBox, workspace: str) -> None:
    made = await register(pool, box, workspace, connector=Connector.FEED, config={"url": "http://x/feed"})
    due = await pool.fetchval("select next_at <= now() from source_pulls where source_id = $1", made.source.source_id)
    assert due
    changed = await register(pool, box, workspace, connector=Connector.FEED, config={"url": "http://y/feed"})
    assert changed.source.config == {"url": "http://y/feed"}
    kept = await register(pool, box, workspace, connector=Connector.FEED)
    assert kept.source.config == {"url": "http://y/feed"}


async def test_lists_are_by_workspace_and_hold_no_secrets(pool: Pool, box: SecretBox, workspace: str) -> None:
    await register(pool, box, workspace, name="b")
    await register(pool, box, workspace, name="a", connector=Connector.FILES)
    await register(pool, box, f"{workspace}-2", name="c")
    listed = await list_sources(pool, workspace=workspace)
    assert [each.name for each in listed] == ["a", "b"]
    assert all(each.secrets == () for each in listed)
    assert [each.name for each in await list_sources(pool, workspace=workspace, connector=Connector.FILES)] == ["a"]
    named = await find_by_name(pool, workspace, "b")
    assert named is not None
    assert named.secrets == ()
    assert await find_by_name(pool, workspace, "c") is None


async def test_only_the_own_workspace_can_switch_a_source_off(pool: Pool, box: SecretBox, workspace: str) -> None:
    made = await register(pool, box, workspace)
    assert not await enable_source(pool, f"{workspace}-2", made.source.source_id, False)
    assert await enable_source(pool, workspace, made.source.source_id, False)
    found = await find_source(pool, box, made.source.source_id)
    assert found is not None
    assert not found.enabled
