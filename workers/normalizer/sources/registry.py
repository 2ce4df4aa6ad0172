"""Which mapping reads the deliveries of which connector."""

from collections.abc import Callable
from dataclasses import dataclass

from infra.errors import Permanent
from schemas.dead_letters import Reason
from schemas.raw import RawEvent
from workers.normalizer.parse.parsed import Feed, Job, Limits, Parsed
from workers.normalizer.sources import feed, files, generic
from workers.normalizer.sources.draft import Drafts
from workers.normalizer.sources.github import mapping as github


@dataclass(frozen=True, slots=True)
class Mapping:
    """How a connector's deliveries become drafts: `job` says what a parser child has to read first, if anything."""

    drafts: Callable[[RawEvent, Parsed | Feed | None], Drafts]
    job: Callable[[RawEvent, Limits], Job | None] = lambda _raw, _limits: None
    ordered_deletions: bool = False
    """The door knows each document's external id, so that a user's deletion shares the partition of its deliveries."""


MAPPINGS = {
    "github": Mapping(lambda raw, _parsed: github.drafts(raw)),
    "generic": Mapping(generic.drafts, generic.job),
    "files": Mapping(files.drafts, files.job, ordered_deletions=True),
    "feed": Mapping(feed.drafts, feed.job),
}


def mapping_of(connector: str) -> Mapping:
    """Return the mapping of `connector`. Raises Permanent(UNKNOWN_CONNECTOR)."""
    try:
        return MAPPINGS[connector]
    except KeyError:
        raise Permanent(Reason.UNKNOWN_CONNECTOR, f"no mapping for connector {connector[:50]!r}") from None
