"""The backends that are open, and the routing that names them: what the environment says, and what routing.yaml adds.

A fleet is replaced as a whole when the file changes. Backends whose definition stayed as it was go over into the new
one with their connections and their breakers; the others are closed when their last answer has ended.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from pydantic import SecretStr

from infra.settings import load
from workers.inference.backends.backend import Backend
from workers.inference.backends.openai import OpenAIBackend
from workers.inference.breaker import Breaker
from workers.inference.routing import Definition, Routing, RoutingError, keys
from workers.inference.settings import InferenceSettings, OpenAISettings

Defined = tuple[Definition, SecretStr | None]


@dataclass(slots=True, eq=False)
class Member:
    """A backend with its breaker and its limit."""

    backend: Backend
    breaker: Breaker
    limit: int | None = None
    """Answers that it writes at once; None where only the slots bound them."""
    defined: Defined | None = None
    """What routing.yaml says of it and its key; None for one of the environment."""
    users: int = 0
    unused: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def name(self) -> str:
        """What stands in `served_by`."""
        return self.backend.name

    async def close(self) -> None:
        """Close the backend when nobody uses it any more."""
        if self.users:
            self.unused.clear()
            await self.unused.wait()
        await self.backend.close()


@contextmanager
def using(members: Iterable[Member]) -> Iterator[None]:
    """Keep `members` from being closed within the context."""
    held = list(members)
    for member in held:
        member.users += 1
    try:
        yield
    finally:
        for member in held:
            member.users -= 1
            if not member.users:
                member.unused.set()


class Fleet:
    """Members in the order in which they stand in for each other, the default one first, and the routing."""

    def __init__(self, members: Sequence[Member], routing: Routing) -> None:
        if not members:
            raise ValueError("a fleet has at least one backend")
        self.members = tuple(members)
        self.routing = routing
        self._by_name = {member.name: member for member in members}

    @property
    def default(self) -> Member:
        """Who answers where no route says otherwise."""
        return self.members[0]

    def named(self, name: str) -> Member:
        """Return a member. Raises KeyError."""
        return self._by_name[name]

    def replaced_by(self, new: "Fleet") -> list[Member]:
        """Return the members that `new` does not have."""
        return [member for member in self.members if member not in new.members]


def breaker_of(name: str, settings: InferenceSettings) -> Breaker:
    """Return a new breaker by the settings."""
    return Breaker(
        name,
        failures=settings.breaker_failures,
        silence_s=settings.breaker_silence_s,
        rest_s=settings.breaker_rest_s,
    )


def environments(backends: Sequence[Backend], settings: InferenceSettings) -> list[Member]:
    """Return members for the backends that the environment names, in the same order."""
    return [Member(backend, breaker_of(backend.name, settings), limit_of(backend)) for backend in backends]


def limit_of(backend: Backend, said: int | None = None) -> int | None:
    """Return how many answers it writes at once: what is said, or 32; None for quoting, which the slots bound."""
    return said or (Definition().concurrency if backend.writes else None)


def arranged(
    own: Sequence[Member], routing: Routing, settings: InferenceSettings, earlier: Mapping[str, Member] | None = None
) -> Fleet:
    """Return the fleet of the environment's members `own` and those that `routing` defines.

    A member of `earlier` whose definition and key are the same is taken over. The order: who writes, of the
    environment before the file, then who only quotes; INFERENCE_BACKEND goes before all.
    Raises RoutingError where the file does not fit the environment.
    """
    by_name = {member.name: member for member in own}
    routing.check(by_name | {name: each for name, each in routing.backends.items() if each.url})
    secrets = keys(routing)
    defined = []
    limits = {}
    for name, definition in routing.backends.items():
        if name in by_name:
            _only_a_limit(name, definition)
            limits[name] = definition.concurrency
        else:
            defined.append(_member(name, (definition, secrets[name]), settings, earlier or {}))
    for member in own:
        member.limit = limit_of(member.backend, limits.get(member.name))
    writing = [member for member in own if member.backend.writes]
    members = [*writing, *defined, *(member for member in own if not member.backend.writes)]
    if settings.backend:
        members.sort(key=lambda member: member.name != settings.backend)
    return Fleet(members, routing)


def _only_a_limit(name: str, definition: Definition) -> None:
    said = definition.model_fields_set - {"concurrency"}
    if said:
        raise RoutingError(f"backends.{name}: {', '.join(sorted(said))}: the environment says that of this backend")


def _member(name: str, defined: Defined, settings: InferenceSettings, earlier: Mapping[str, Member]) -> Member:
    definition, _ = defined
    kept = earlier.get(name)
    if kept is not None and kept.defined == defined:
        return kept
    backend = OpenAIBackend(_server_settings(defined), name=name)
    return Member(backend, breaker_of(name, settings), definition.concurrency, defined)


def _server_settings(defined: Defined) -> OpenAISettings:
    """Return what the definition says, and for the rest what the environment says of all servers."""
    definition, api_key = defined
    given: dict[str, object] = {
        "url": definition.url,
        "model": definition.model,
        "models": definition.adapters,
        "api_key": api_key,
        "reasoning": definition.reasoning,
    }
    wished = definition.model_dump(include={"max_tokens", "temperature", "first_timeout_s", "chunk_timeout_s"})
    given |= {name: value for name, value in wished.items() if value is not None}
    return load(_Servers).model_copy(update=given)


class _Servers(OpenAISettings):
    """What the environment says of servers in general: the address stands in the file."""

    url: str = ""
