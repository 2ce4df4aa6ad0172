"""Reads `routing.yaml`: which model answers which kind of question, who stands in, and further servers."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    ValidationError,
    field_validator,
)

from infra.settings import SettingsError
from schemas.chat import Intent

PACKAGED = Path(__file__).with_name("routing.yaml")
"""Every question to the default backend."""
LARGEST_BYTES = 1024 * 1024
OWN_NAMES = frozenset({"none", "cache", "default", "millrace", "extractive"})
"""Names that mean something else in `served_by` or in a request."""

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]
Variable = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]*$")]
"""Upper case alone: a key that was put here by mistake is refused instead of being looked for."""


class RoutingError(SettingsError):
    """The routing file is wrong; the message names the file and each place."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Target(_Strict):
    """Somebody who may answer: a backend, and the model or adapter to ask it for (empty: its own)."""

    backend: str
    model: str = ""

    def __str__(self) -> str:
        return f"{self.backend}:{self.model}" if self.model else self.backend


def _target(value: object) -> object:
    """Split at the first colon alone: names of models may hold more of them (`qwen2.5:7b`)."""
    if not isinstance(value, str):
        return value
    backend, colon, model = value.partition(":")
    if not backend.strip() or (colon and not model.strip()):
        raise ValueError("write `backend` or `backend:model`")
    return {"backend": backend.strip(), "model": model.strip()}


Targeted = Annotated[Target, BeforeValidator(_target)]


class Route(_Strict):
    """Who answers, and who stands in, in this order; without `fallbacks` all others, in theirs."""

    to: Targeted
    fallbacks: tuple[Targeted, ...] | None = None

    @property
    def targets(self) -> tuple[Target, ...]:
        """All that it names."""
        return (self.to, *(self.fallbacks or ()))


Routed = Annotated[Route, BeforeValidator(lambda value: {"to": value} if isinstance(value, str) else value)]
Routes = dict[Intent, Routed]


class Definition(_Strict):
    """A server. Without `url` it is one that the environment names, of which only `concurrency` is said here."""

    url: str = ""
    model: str = ""
    """Empty: the first that the server lists."""
    adapters: tuple[str, ...] = ()
    """Names that may be asked for though the server does not list them."""
    api_key_env: Variable | None = None
    """Name of the environment variable that holds the key."""
    concurrency: int = Field(default=32, ge=1, le=1024)
    """Answers that it writes at once, for this process."""
    max_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2)
    reasoning: bool = False
    first_timeout_s: float | None = Field(default=None, gt=0)
    chunk_timeout_s: float | None = Field(default=None, gt=0)

    @field_validator("url")
    @classmethod
    def _address(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and (parts.scheme not in {"http", "https"} or not parts.hostname or parts.username):
            raise ValueError("write http://host:port or https://host/path, without a user or a key")
        return value

    def api_key(self, environment: Mapping[str, str]) -> SecretStr | None:
        """Return the key. Raises RoutingError if its variable is not set."""
        if self.api_key_env is None:
            return None
        key = environment.get(self.api_key_env, "")
        if not key:
            raise RoutingError(f"api_key_env: the variable {self.api_key_env} is not set")
        return SecretStr(key)


class Routing(_Strict):
    """The whole file."""

    version: Literal[1] = 1
    confidence: float = Field(default=0.4, ge=0, le=1)
    """Below it a question counts as general."""
    backends: dict[Name, Definition] = Field(default_factory=dict)
    routes: Routes = Field(default_factory=dict)
    workspaces: dict[str, Routes] = Field(default_factory=dict)

    def route(self, workspace: str, intent: Intent) -> Route | None:
        """Return the route of an intent; None where the default backend answers."""
        return self.workspaces.get(workspace, {}).get(intent) or self.routes.get(intent)

    def tells_apart(self, workspace: str) -> bool:
        """Whether the intent of a question of `workspace` makes a difference."""
        return bool(self.routes or self.workspaces.get(workspace))

    def check(self, known: Mapping[str, object]) -> None:
        """Raise RoutingError where a route names no backend of `known`, or a definition lacks its address."""
        faults = [
            f"backends.{name}: needs a url: the environment names no such backend"
            for name, definition in self.backends.items()
            if not definition.url and name not in known
        ]
        tables = {"routes": self.routes} | {f"workspaces.{name}": each for name, each in self.workspaces.items()}
        faults += [
            f"{table}.{intent}: there is no backend {target.backend!r}"
            for table, routes in tables.items()
            for intent, route in routes.items()
            for target in route.targets
            if target.backend not in known
        ]
        if faults:
            raise RoutingError("; ".join(faults))


class _Loader(yaml.SafeLoader):
    """YAML that takes no key twice: the last one would win in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return the mapping. Raises ConstructorError for a key that stands there twice."""
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} stands here twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read(path: Path) -> bytes:
    """Return the file. Raises RoutingError if it cannot be read or is larger than `LARGEST_BYTES`."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise RoutingError(f"{path}: {error.strerror}") from error
    if len(content) > LARGEST_BYTES:
        raise RoutingError(f"{path}: more than {LARGEST_BYTES} bytes")
    return content


def parse(content: bytes) -> Routing:
    """Return what the file says. Raises RoutingError naming each wrong place, never a value."""
    try:
        said = yaml.load(content, _Loader)  # noqa: S506 - a SafeLoader
        routing = Routing.model_validate({} if said is None else said)
    except yaml.MarkedYAMLError as error:
        at = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise RoutingError(f"{at}{error.problem}") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise RoutingError(f"no YAML: {type(error).__name__}") from error
    except ValidationError as error:
        places = (f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise RoutingError("; ".join(places)) from error
    own = OWN_NAMES.intersection(routing.backends)
    if own - {"extractive"} or routing.backends.get("extractive", Definition()).url:
        raise RoutingError(f"backends: {', '.join(sorted(own))}: the name has a meaning of its own")
    return routing


def keys(routing: Routing) -> dict[str, SecretStr | None]:
    """Return the key of each server that is defined here. Raises RoutingError as `Definition.api_key`."""
    found = {}
    for name, definition in routing.backends.items():
        try:
            found[name] = definition.api_key(os.environ)
        except RoutingError as error:
            raise RoutingError(f"backends.{name}.{error}") from error
    return found
