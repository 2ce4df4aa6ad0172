"""Asks each outside server that the environment names one real question."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial

WITHIN_S = 15

Question = Callable[[], Awaitable[str]]
"""Returns what was found out. Raises whatever the client raises."""


async def _kafka(given: Mapping[str, str]) -> str:
    from aiokafka.admin import AIOKafkaAdminClient

    admin = AIOKafkaAdminClient(bootstrap_servers=given["KAFKA_BOOTSTRAP_SERVERS"].split(","))
    try:
        await admin.start()
        cluster = await admin.describe_cluster()
    finally:
        # close() before a successful start leaves the connections open.
        await admin._client.close()
    return f"{len(cluster['brokers'])} brokers"


async def _postgres(given: Mapping[str, str]) -> str:
    import asyncpg

    connection = await asyncpg.connect(given["POSTGRES_DSN"], timeout=WITHIN_S)
    try:
        return f"PostgreSQL {await connection.fetchval('show server_version')}"
    finally:
        await connection.close()


async def _neo4j(given: Mapping[str, str]) -> str:
    from neo4j import AsyncGraphDatabase

    login = (given.get("NEO4J_USER") or "neo4j", given.get("NEO4J_PASSWORD", ""))
    async with AsyncGraphDatabase.driver(given["NEO4J_URI"], auth=login) as driver:
        return str((await driver.get_server_info()).agent)


async def _redis(given: Mapping[str, str]) -> str:
    import redis.asyncio

    client = redis.asyncio.from_url(given["REDIS_URL"])
    try:
        found = await client.info("server")
    finally:
        await client.aclose()
    return f"{found.get('server_name', 'redis')} {found.get('redis_version', '')}"


async def _http(url: str, headers: Mapping[str, str]) -> str:
    import httpx

    async with httpx.AsyncClient(timeout=WITHIN_S) as client:
        answer = await client.get(url, headers=dict(headers))
        answer.raise_for_status()
    return f"answers {answer.status_code}"


async def _qdrant(given: Mapping[str, str]) -> str:
    key = given.get("QDRANT_API_KEY")
    return await _http(given["QDRANT_URL"].rstrip("/") + "/collections", {"api-key": key} if key else {})


async def _inference(given: Mapping[str, str]) -> str:
    key = given.get("INFERENCE_API_KEY")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return await _http(given["INFERENCE_URL"].rstrip("/").removesuffix("/v1") + "/v1/models", headers)


async def _objects(given: Mapping[str, str]) -> str:
    from infra.errors import Permanent
    from infra.objects.store import ObjectStore

    store = ObjectStore.open(given["OBJECT_STORE_URL"])
    try:
        await store.get(f"sha256:{'0' * 64}")
    except Permanent:
        # It answered that it has no such object.
        return "answers"
    return "answers"


QUESTIONS: dict[str, Callable[[Mapping[str, str]], Awaitable[str]]] = {
    "KAFKA_BOOTSTRAP_SERVERS": _kafka,
    "POSTGRES_DSN": _postgres,
    "NEO4J_URI": _neo4j,
    "REDIS_URL": _redis,
    "QDRANT_URL": _qdrant,
    "OBJECT_STORE_URL": _objects,
    "INFERENCE_URL": _inference,
}


def questions(given: Mapping[str, str]) -> dict[str, Question]:
    """Return, by variable, the questions to the servers that `given` names."""
    return {variable: partial(ask, given) for variable, ask in QUESTIONS.items() if given.get(variable)}
