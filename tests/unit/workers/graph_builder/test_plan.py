from schemas.documents import Entity, Relation
from tests.events import document
from workers.graph_builder.mention import Mention
from workers.graph_builder.plan import (
    ENTITIES_LIMIT,
    LINKS_LIMIT,
    MENTIONS_LIMIT,
    RELATIONS_LIMIT,
    newest,
    plan,
)
from workers.graph_builder.store import groups, latest_names

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


def test_a_document_without_a_title_goes_by_the_name_of_its_source() -> None:
    assert plan(document(external_id="readme.md")).properties["title"] == "readme.md"
    assert plan(document(external_id="readme.md", title="Read me")).properties["title"] == "Read me"


def test_a_deletion_is_a_bare_tombstone() -> None:
    planned = plan(document("", version=3, title="secret", url="https://example.org/a", entities=(ANN,)))
    assert (planned.states, planned.relations, planned.pages, planned.mentions) == ((), (), (), ())
    assert planned.properties["deleted"] is True
    assert planned.properties["version"] == 3
    assert not {"title", "url", "place"} & set(planned.properties)


def test_the_edges_of_one_document_are_bounded() -> None:
    people = tuple(Entity(key=f"person:x:{n}", kind="person", name=str(n)) for n in range(9_000))
    relations = tuple(Relation(subject=one.key, predicate="KNOWS", object=ANN.key) for one in people)
    links = tuple(f"https://example.org/{number}" for number in range(9_000))
    mentions = [Mention(f"person:y:{number}", 0, 1, 1) for number in range(9_000)]
    planned = plan(document(links=links, entities=people, relations=relations), mentions)
    assert (len(planned.pages), len(planned.relations)) == (LINKS_LIMIT, RELATIONS_LIMIT)
    assert (len(planned.states), len(planned.mentions)) == (ENTITIES_LIMIT + 1, MENTIONS_LIMIT)
    assert planned.edges == LINKS_LIMIT + RELATIONS_LIMIT + ENTITIES_LIMIT + 1 + MENTIONS_LIMIT


def test_a_transaction_takes_as_many_documents_as_its_edges_allow() -> None:
    plans = [plan(document(external_id=str(n), entities=(ANN, ISSUE))) for n in range(5)]
    assert [len(group) for group in groups(plans, limit=4)] == [2, 2, 1]
    assert [len(group) for group in groups(plans, limit=1)] == [1, 1, 1, 1, 1]
    assert [plan for group in groups(plans, limit=5) for plan in group] == plans
    assert groups([]) == []


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
