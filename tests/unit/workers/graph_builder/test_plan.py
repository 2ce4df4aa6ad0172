from schemas.documents import Entity, Relation
from tests.events import document
from workers.graph_builder.mention import Mention
from workers.graph_builder.plan import LINKS_LIMIT, newest, plan
from workers.graph_builder.store import latest_names

ANN = Entity(key="person:github:ann", kind="person", name="Ann Lee", aliases=("ann",), url="https://GitHub.com/ann/")
ISSUE = Entity(key="issue:github:o/r#1", kind="issue", name="Broken")
WROTE = Relation(subject=ANN.key, predicate="AUTHORED", object=ISSUE.key)


def test_a_version_is_its_entities_relations_links_and_mentions() -> None:
    version = document(
        version=7,
        entities=(ANN, ISSUE),
        relations=(WROTE, WROTE),
        url="https://example.org/a",
        links=("https://example.org/b#part", "mailto:x@example.org", "https://EXAMPLE.org/a/"),
    )
    planned = plan(version, [Mention(ANN.key, 0, 1, 1), Mention("person:github:bob", 2, 5, 4)])
    assert [(row["key"], row["name"], row["place"]) for row in planned.states] == [
        (ISSUE.key, "Broken", None),
        (ANN.key, "Ann Lee", "acme/https://github.com/ann"),
    ]
    assert [(row["subject"], row["predicate"], row["object"]) for row in planned.relations] == [
        (f"acme/{ANN.key}", "AUTHORED", f"acme/{ISSUE.key}")
    ]
    assert planned.pages == ("acme/https://example.org/b", "acme/https://example.org/b#part")
    assert [(row["entity"], row["start"], row["end"], row["count"]) for row in planned.mentions] == [
        ("acme/person:github:bob", 2, 5, 4)
    ]
    everything = [*planned.states, *planned.relations, *planned.mentions]
    assert {(row["document"], row["version"]) for row in everything} == {(planned.node, 7)}
    assert planned.properties["place"] == "acme/https://example.org/a"


def test_a_relation_brings_the_entities_that_the_source_forgot_to_list() -> None:
    (issue, person) = plan(document(entities=(ISSUE,), relations=(WROTE,))).states
    assert (issue["name"], person["kind"], person["name"]) == ("Broken", "person", "ann")


def test_a_deletion_is_a_bare_tombstone() -> None:
    planned = plan(document("", version=3, title="secret", url="https://example.org/a", entities=(ANN,)))
    assert (planned.states, planned.relations, planned.pages, planned.mentions) == ((), (), (), ())
    assert planned.properties["deleted"] is True
    assert planned.properties["version"] == 3
    assert not {"title", "url", "place"} & set(planned.properties)


def test_links_are_bounded() -> None:
    links = tuple(f"https://example.org/{number}" for number in range(LINKS_LIMIT + 50))
    assert len(plan(document(links=links)).pages) == LINKS_LIMIT


def test_a_batch_is_reduced_to_the_newest_of_each_document_in_the_order_of_locks() -> None:
    first, second = document("b1", version=1, external_id="b"), document("b2", version=2, external_id="b")
    other, again = document("a1", version=1, external_id="a"), document("again", version=2, external_id="b")
    chosen = newest([second, first, other, again])
    assert sorted(version.text for version in chosen) == ["a1", "again"]
    assert [plan(version).node for version in chosen] == sorted(plan(version).node for version in chosen)


def test_workspaces_never_share_a_node() -> None:
    ours, theirs = plan(document(entities=(ANN,))), plan(document(entities=(ANN,), workspace="other"))
    assert ours.node.startswith("acme/")
    assert theirs.node.startswith("other/")
    assert ours.states[0]["entity"] != theirs.states[0]["entity"]


def test_the_highest_version_names_an_entity_whatever_the_order() -> None:
    old = plan(document(version=1, external_id="1", entities=(ANN,))).states[0]
    new = plan(document(version=2, external_id="2", entities=(ANN.model_copy(update={"name": "Ann Li"}),))).states[0]
    assert [row["name"] for row in latest_names([old, new])] == ["Ann Li"]
    assert latest_names([new, old]) == latest_names([old, new])
