"""Collects the entities and relations that a source states about one document."""

from collections.abc import Iterable

from schemas.documents import Entity, Relation
from workers.normalizer.sources.draft import THIS

MAX_STATEMENTS = 1_000
"""Entities, and relations, of one document: more is a list, not a statement, and would make one giant transaction."""


class Facts:
    """Entities by key and relations, each once, in the order in which they were stated."""

    def __init__(self) -> None:
        self._entities: dict[str, Entity] = {}
        self._relations: dict[tuple[str, str, str], Relation] = {}

    def entity(self, kind: str, place: str, name: str = "", aliases: Iterable[str] = ()) -> str:
        """Note an entity and return its key, `kind:place`. The first note of a key gives its name."""
        key = f"{kind}:{place}"
        if key not in self._entities and len(self._entities) < MAX_STATEMENTS:
            self._entities[key] = Entity(key=key, kind=kind, name=name or place, aliases=tuple(aliases))
        return key

    def state(self, subject: str, predicate: str, target: str) -> None:
        """Note that `subject` `predicate` `target`, if both are known; `THIS` is the document itself."""
        known = all(key == THIS or key in self._entities for key in (subject, target))
        if known and subject != target and len(self._relations) < MAX_STATEMENTS:
            relation = Relation(subject=subject, predicate=predicate, object=target)
            self._relations.setdefault((subject, predicate, target), relation)

    @property
    def entities(self) -> tuple[Entity, ...]:
        """All entities noted."""
        return tuple(self._entities.values())

    @property
    def relations(self) -> tuple[Relation, ...]:
        """All relations noted."""
        return tuple(self._relations.values())
