import pytest
from pydantic import SecretStr
from redis import exceptions

from infra.errors import Permanent, Transient
from infra.redis.client import open_redis, translating
from infra.settings import RedisSettings
from schemas.dead_letters import Reason


@pytest.mark.parametrize(
    "error",
    [
        exceptions.ConnectionError("Error 111 connecting to redis://:sesame@h"),
        exceptions.TimeoutError("Timeout"),
        exceptions.AuthenticationError("WRONGPASS sesame"),
        exceptions.BusyLoadingError("loading"),
        exceptions.OutOfMemoryError("used memory > maxmemory"),
        exceptions.ReadOnlyError("replica"),
        exceptions.NoPermissionError("acl"),
        exceptions.InvalidResponse("protocol"),
        OSError("broken pipe"),
        TimeoutError(),
    ],
)
async def test_what_the_server_will_get_over_is_transient_and_quotes_nothing(error: Exception) -> None:
    with pytest.raises(Transient) as told:
        async with translating():
            raise error
    assert told.value.dependency == "redis"
    assert "sesame" not in told.value.detail


@pytest.mark.parametrize("error", [exceptions.ResponseError("WRONGTYPE"), exceptions.DataError("a set of sesame")])
async def test_a_wrong_command_is_permanent(error: Exception) -> None:
    with pytest.raises(Permanent) as told:
        async with translating():
            raise error
    assert told.value.reason is Reason.REFUSED_BY_SINK
    assert "sesame" not in told.value.detail


async def test_other_faults_pass_unchanged() -> None:
    with pytest.raises(KeyError):
        async with translating():
            raise KeyError("ours")


async def test_a_malformed_address_stops_the_start() -> None:
    with pytest.raises(ValueError, match="scheme"):
        async with open_redis(RedisSettings(url=SecretStr("http://127.0.0.1"))):
            pass
