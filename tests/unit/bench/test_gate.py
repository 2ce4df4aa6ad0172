"""The model and the gate, each by its own rules, over one stream without servers: they must end alike."""

from uuid import UUID

import pytest

from bench.kill.kinds.mix import KINDS, Mix
from bench.kill.stream import Kind, Step, Way, events
from schemas.event import now
from schemas.ids import document_id, event_id
from schemas.raw import RawEvent
from tests.unit.bench.worlds import HOOKS, SOURCES, WORKSPACES, world
from workers.normalizer.decide import Held, Verdict, decide
from workers.normalizer.normalize import normalize
from workers.normalizer.parse.parsed import Limits, Parsed
from workers.normalizer.sources.draft import NotADocument


def raw_event(step: Step, held: Held | None) -> RawEvent:
    """Return the event that the gateway makes of a step; `held` is what a user who deletes has seen."""
    uploaded = step.source == "uploads"
    source = SOURCES[step.workspace, step.source]
    return RawEvent(
        workspace=step.workspace,
        event_id=event_id(step.workspace, source, step.delivery),
        source=source,
        connector="files" if uploaded else "generic",
        operation="delete" if step.way is Way.REMOVE else "put",
        delivery=step.delivery,
        subject=step.external_id,
        received_at=now(),
        content_type="text/markdown" if uploaded else "application/json",
        attributes={"title": step.title} if uploaded else {},
        body=step.text.encode() if uploaded else step.body,
        after_version=held.version if held and step.way is Way.REMOVE else None,
    )


@pytest.mark.parametrize("seed", [7, 8])
def test_the_gate_ends_where_the_model_ends(seed: int) -> None:
    """All but containers, which need the tables: every document's last text and version are the model's."""
    kinds = tuple(kind for kind in KINDS if kind != "containers")
    mixed = Mix(seed, WORKSPACES, HOOKS, kinds).steps(1_500)
    stream = [step for step in mixed if step.kind in {Kind.UPSERT, Kind.DELETE}]
    made = world(*stream)
    held: dict[UUID, Held] = {}
    words: dict[UUID, tuple[int, bool, str]] = {}
    for offset, step in enumerate(events(stream)):
        identity = document_id(step.workspace, SOURCES[step.workspace, step.source], step.external_id)
        parsed = Parsed(step.text, "markdown") if step.way is Way.UPLOAD else None
        states = normalize(raw_event(step, held.get(identity)), offset, parsed, Limits())
        assert not isinstance(states, NotADocument)
        decision = decide(states[0], (0, offset), held.get(identity))
        held[identity] = decision.held
        if decision.verdict in {Verdict.PUBLISH, Verdict.AGAIN}:
            version = states[0].version
            words[identity] = (decision.version, version.operation == "delete", version.text)
    assert words.keys() == made.documents.keys()
    for identity, (version, deleted, text) in words.items():
        wanted = made.documents[identity]
        told = wanted.step.external_id
        assert (told, deleted, text) == (told, wanted.deleted, wanted.text)
        assert (told, version) == (told, wanted.version or version)
    assert sum(each.version is not None for each in made.documents.values()) > 100
