"""What is broken on purpose: the mutations of `bench.mutations`, each with the tests that must notice."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

COMMITS = "tests/faults/test_commits.py::"
MESSAGES = "tests/faults/test_messages.py::"
NOT_COMMITTED = COMMITS + "test_what_is_fetched_and_not_handled_is_not_committed"
LEDGER = COMMITS + "test_the_ledger_keeps_the_newest_state_of_a_document"
ANY_ORDER = MESSAGES + "test_versions_in_any_order_end_at_the_newest"
DELETED = MESSAGES + "test_a_delete_before_its_create_and_a_late_update_stay_deleted"


class NotFoundError(Exception):
    """The text to replace does not occur exactly once: the source has changed, and the mutation with it."""


@dataclass(frozen=True, slots=True)
class Change:
    """Replaces `find`, which occurs once in the file `path` of the repository, by `put`."""

    path: str
    find: str
    put: str

    def applied_to(self, text: str) -> str:
        """Return `text` changed. Raises NotFoundError."""
        if (times := text.count(self.find)) != 1:
            raise NotFoundError(f"{self.path}: {times} times {self.find!r}")
        return text.replace(self.find, self.put)


@dataclass(frozen=True, slots=True)
class Mutation:
    """One promise broken. Several changes where one guard stands behind another: any one alone changes nothing."""

    name: str
    says: str
    changes: tuple[Change, ...]
    tests: tuple[str, ...]

    @contextmanager
    def applied(self, folder: Path) -> Iterator[None]:
        """Change the files under `folder` for as long as the context lasts. Raises NotFoundError."""
        before = {change.path: (folder / change.path).read_text(encoding="utf-8") for change in self.changes}
        after = dict(before)
        for change in self.changes:
            after[change.path] = change.applied_to(after[change.path])
        try:
            for path, text in after.items():
                (folder / path).write_text(text, encoding="utf-8")
            yield
        finally:
            for path, text in before.items():
                (folder / path).write_text(text, encoding="utf-8")


def _delivery() -> Iterator[Mutation]:
    yield Mutation(
        "finish-before-effects",
        "a batch counts as finished, and is committed, while its effects are still to come",
        (
            Change(
                "infra/kafka/lane.py",
                "await self._handling.settle(records, self._subscription)",
                "self._early = asyncio.create_task(self._handling.settle(records, self._subscription))",
            ),
        ),
        (NOT_COMMITTED,),
    )
    yield Mutation(
        "plain-ack",
        "the commit names no offsets, as a framework's plain ack() does: everything fetched counts as done",
        (
            Change(
                "infra/kafka/runtime.py",
                ".consumer.commit(offsets)",
                ".consumer.commit()",
            ),
        ),
        (NOT_COMMITTED,),
    )
    yield Mutation(
        "commit-highest",
        "the highest finished offset is committed, not the contiguous finished prefix",
        (
            Change(
                "infra/kafka/progress.py",
                "return self._committable\n",
                "return max((offset + 1 for offset in self._finished), default=self._committable)\n",
            ),
        ),
        (COMMITS + "test_a_record_that_is_overtaken_is_not_committed",),
    )
    yield Mutation(
        "no-acknowledgement",
        "a publication does not wait for the replicas: acks=0, not idempotent",
        (
            Change(
                "infra/kafka/producer.py",
                'acks="all",\n                    enable_idempotence=True,',
                "acks=0,\n                    enable_idempotence=False,",
            ),
        ),
        (
            "tests/faults/test_cluster.py::"
            "test_below_the_least_replicas_nothing_is_accepted_and_nothing_accepted_is_lost",
        ),
    )
    yield Mutation(
        "no-dead-letter",
        "what can never be processed is counted and forgotten: its letter is not published",
        (
            Change(
                "infra/kafka/handling.py",
                "await self._publisher.publish(DEAD_LETTERS, letter, envelope)",
                "pass",
            ),
        ),
        (MESSAGES + "test_poison_is_buried_once_and_its_neighbours_pass",),
    )
    yield Mutation(
        "transient-is-done",
        "a dependency that is down counts as success",
        (
            Change(
                "infra/kafka/handling.py",
                'isolate = isinstance(outcome, Dead) or outcome.dependency == "handler"',
                "if isinstance(error, Transient):\n                    return\n                "
                'isolate = isinstance(outcome, Dead) or outcome.dependency == "handler"',
            ),
        ),
        ("tests/faults/test_sinks.py::test_a_qdrant_that_is_down_pauses_the_embedder_alone",),
    )


def _identity() -> Iterator[Mutation]:
    yield Mutation(
        "random-event-id",
        "what a worker publishes gets a new id each time: a redelivery is another event",
        (
            Change(
                "infra/kafka/handling.py",
                "id=derived_event_id(",
                'id=(lambda *_: __import__("uuid").uuid4())(',
            ),
        ),
        (COMMITS + "test_what_is_published_again_is_the_same_event",),
    )
    yield Mutation(
        "random-delivery-id",
        "the gateway gives each delivery of a webhook a new event id: a sender's repetition is another event",
        (
            Change(
                "gateway/routes/hooks.py",
                "event_id(registered.workspace, registered.source_id, arrival.delivery)",
                '__import__("uuid").uuid4()',
            ),
        ),
        (COMMITS + "test_a_webhook_repeated_side_by_side_is_one_event",),
    )
    yield Mutation(
        "no-inbox",
        "the normalizer takes every delivery for new",
        (
            Change(
                "workers/normalizer/worker.py",
                "new = await first_seen(tools.pool, deliveries)",
                "new = [True for _ in await first_seen(tools.pool, deliveries)]",
            ),
        ),
        (MESSAGES + "test_a_hundred_deliveries_of_one_event_have_one_effect",),
    )
    yield Mutation(
        "no-workspace-in-search",
        "a search is not bound to the asker's workspace, nor are the points that it reads",
        (
            Change(
                "workers/retriever/filters.py",
                "return chunks_of(workspace, *_conditions(filters))",
                'return models.Filter(must=[one_of(Key.PART, ["chunk"]), *_conditions(filters)])',
            ),
            Change(
                "workers/retriever/store.py",
                "if payload.get(Key.WORKSPACE) == workspace}",
                "}",
            ),
        ),
        ("tests/faults/test_gateway.py::test_no_read_crosses_between_workspaces",),
    )


def _gates() -> Iterator[Mutation]:
    yield Mutation(
        "no-gate-normalizer",
        "an older state of a document follows a newer one into the log, where compaction keeps the last",
        (
            Change(
                "workers/normalizer/decide.py",
                "return (number, deleted) > (held.number, held.deleted)",
                "return True",
            ),
        ),
        ("tests/faults/test_last_word.py::test_an_older_state_behind_a_newer_one_is_not_the_last_word",),
    )
    yield Mutation(
        "no-gate-vectors",
        "the index takes any version, older ones too",
        (
            Change("workers/embedder/decide.py", "if head is None or _rank(", "if True or _rank("),
            Change(
                "workers/embedder/store.py",
                "return belongs_to(version.workspace, document, older)",
                "return belongs_to(version.workspace, document)",
            ),
        ),
        (ANY_ORDER,),
    )
    yield Mutation(
        "no-gate-graph",
        "the graph takes any version, older ones too",
        (Change("workers/graph_builder/store.py", "if stored[plan.node] <= plan.rank]", "]"),),
        (ANY_ORDER,),
    )
    yield Mutation(
        "no-gate-ledger",
        "the table of documents takes any version, older ones too",
        (
            Change(
                "workers/ledger/store.py",
                "and (held.version, held.deleted) <= (excluded.version, excluded.deleted)",
                "",
            ),
        ),
        (LEDGER,),
    )
    yield Mutation(
        "no-tombstone-vectors",
        "the index forgets what was deleted: an older create brings it back",
        (
            Change(
                "workers/embedder/decide.py", "if head is None or _rank(", "if head is None or head.deleted or _rank("
            ),
            Change(
                "workers/embedder/store.py",
                "return belongs_to(version.workspace, document, older)",
                "return belongs_to(\n"
                "        version.workspace, document, models.Filter(should=[older, equals(Key.DELETED, True)])\n    )",
            ),
        ),
        (DELETED,),
    )
    yield Mutation(
        "no-tombstone-graph",
        "the graph forgets what was deleted: an older create brings it back",
        (
            Change(
                "workers/graph_builder/store.py",
                "RETURN d.id AS id, d.version AS version,",
                "RETURN d.id AS id, CASE WHEN coalesce(d.deleted, false) THEN 0 ELSE d.version END AS version,",
            ),
        ),
        (DELETED,),
    )
    yield Mutation(
        "no-tombstone-ledger",
        "the table of documents forgets what was deleted: an older create brings it back",
        (
            Change(
                "workers/ledger/store.py",
                "and (held.version, held.deleted) <= (excluded.version, excluded.deleted)",
                "and (held.deleted or held.version <= excluded.version)",
            ),
        ),
        (LEDGER,),
    )


MUTATIONS: tuple[Mutation, ...] = (*_delivery(), *_identity(), *_gates())
"""All of them, in the order of the table in docs/mutations.md."""
