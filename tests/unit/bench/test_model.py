import random
from uuid import UUID

from bench.kill.stream import Kind, Step, Way
from schemas.event import now
from schemas.ids import document_id, event_id
from schemas.raw import RawEvent
from tests.unit.bench.worlds import SOURCES, WORKSPACES, hook, steps, upload, world
from workers.normalizer.decide import Held, Verdict, decide
from workers.normalizer.normalize import normalize
from workers.normalizer.parse.parsed import Limits, Parsed


def test_the_greatest_number_wins_whatever_came_when() -> None:
    (document,) = world(hook(0, 5), hook(1, 9), hook(2, 7)).documents.values()
    assert document.step.number == 1


def test_a_deletion_stays_one_and_a_newer_state_ends_it() -> None:
    gone = hook(1, 9, kind=Kind.DELETE)
    (document,) = world(gone, hook(2, 7)).documents.values()
    assert document.deleted
    assert (document.states, document.relations, document.pages) == (set(), set(), set())
    (document,) = world(gone, hook(2, 7), hook(3, 11)).documents.values()
    assert not document.deleted


def test_without_numbers_whoever_is_accepted_later_wins() -> None:
    (document,) = world(upload(0), upload(1, kind=Kind.DELETE)).documents.values()
    assert document.deleted
    (document,) = world(upload(0), upload(1, kind=Kind.DELETE), upload(2)).documents.values()
    assert (document.deleted, document.step.number) == (False, 2)


def test_a_repeated_delivery_is_one_event() -> None:
    made = world(hook(0, 5), hook(1, 5, delivery="d0"))
    assert len(made.events) == 1


def test_what_is_stated_is_about_the_document_itself() -> None:
    (document,) = world(hook(0, 5)).documents.values()
    own = f"document:{document.document_id}"
    assert document.states == {own, "person:generic:Ada"}
    assert document.relations == {("person:generic:Ada", "AUTHORED", own)}


def test_poison_ends_as_a_dead_letter_and_an_empty_event_as_no_document() -> None:
    stream = steps(1_000)
    made = world(*stream)
    outcomes = {ended.step.kind: ended.outcome for ended in made.events.values()}
    assert outcomes[Kind.EMPTY] == "not_a_document"
    assert {ended.outcome for ended in made.dead()} == {"invalid_json", "schema_violation"}
    assert len(made.events) == len({step.event for step in stream})


def test_the_order_of_arrival_changes_nothing_for_numbered_documents() -> None:
    stream = [step for step in steps(800) if step.chain is None]
    shuffled = random.Random(1).sample(stream, len(stream))
    wanted = {document: (each.step.version, each.deleted) for document, each in world(*stream).documents.items()}
    assert {
        document: (each.step.version, each.deleted) for document, each in world(*shuffled).documents.items()
    } == wanted


def test_equal_names_are_other_documents_in_other_workspaces() -> None:
    made = world(*steps(400))
    assert len({(each.workspace, each.source_id) for each in made.documents.values()}) == len(SOURCES)
    assert all(made.documents[made.canaries[each.step.canary]] is each for each in made.live(WORKSPACES[0]))


def test_only_what_a_newer_state_overtakes_may_be_left_out() -> None:
    made = world(hook(0, 5), hook(1, 9), hook(2, 7), hook(3, 9), upload(4), upload(5))
    left_out = [made.overtaken(ended) for ended in made.events.values()]
    assert left_out == [True, False, True, False, True, False]


def raw_event(step: Step, held: Held | None) -> RawEvent:
    """Return the event that the gateway makes of a step; `held` is what a user who deletes has seen."""
    uploaded = step.way is not Way.HOOK
    return RawEvent(
        workspace=step.workspace,
        event_id=event_id(step.workspace, SOURCES[step.workspace, step.source], step.delivery),
        source=SOURCES[step.workspace, step.source],
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


def test_the_gate_ends_where_the_model_ends() -> None:
    """The whole stream in one partition, each event once: every document's last word is the model's."""
    stream = [step for step in steps(3_000) if step.kind in {Kind.UPSERT, Kind.DELETE}]
    made = world(*stream)
    held: dict[UUID, Held] = {}
    words: dict[UUID, tuple[int, str]] = {}
    seen = set()
    for offset, step in enumerate(step for step in stream if step.event not in seen and not seen.add(step.event)):
        identity = document_id(step.workspace, SOURCES[step.workspace, step.source], step.external_id)
        event = raw_event(step, held.get(identity))
        parsed = Parsed(step.text, "markdown") if step.way is Way.UPLOAD else None
        (state,) = normalize(event, offset, parsed, Limits())  # type: ignore[misc]
        decision = decide(state, (0, offset), held.get(identity))
        held[identity] = decision.held
        if decision.verdict in {Verdict.PUBLISH, Verdict.AGAIN}:
            words[identity] = (decision.version, state.version.text)
    assert {identity: text for identity, (_, text) in words.items()} == {
        identity: each.step.text for identity, each in made.documents.items()
    }
    exact = {identity: each.step.exact_version for identity, each in made.documents.items()}
    assert all(words[identity][0] == version for identity, version in exact.items() if version is not None)
