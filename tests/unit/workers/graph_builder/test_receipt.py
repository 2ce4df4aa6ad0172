from schemas.documents import Entity, Relation
from tests.events import document
from workers.graph_builder.plan import plan
from workers.graph_builder.worker import receipt, worker


def test_what_was_written_is_applied_and_what_was_overtaken_is_stale() -> None:
    relation = Relation(subject="person:x:a", predicate="AUTHORED", object="issue:x:1")
    old, new = (
        document(version=1),
        document(version=2, relations=(relation,), entities=(Entity(key="k", kind="k", name="n"),)),
    )
    written = {plan(new).node: plan(new)}
    assert (receipt(new, written).outcome, receipt(new, written).parts) == ("applied", 1)
    assert (receipt(old, written).outcome, receipt(old, written).parts) == ("stale", 0)
    assert receipt(new, {}).outcome == "stale"
    assert receipt(old, written).sink == "graph_builder"
    assert (receipt(old, written).document_id, receipt(old, written).version) == (old.document_id, 1)


def test_the_worker_names_itself_as_its_sink() -> None:
    assert worker.name == "graph_builder"
