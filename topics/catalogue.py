"""Every topic, declared once: what flows, under which key, for how long, from whom to whom.

No topic name is spelled anywhere else. The README's flow diagram and `millrace topics` are made from this file, and a
contract test compares it with the workers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, TypeVar

from schemas.chat import ChatPrompt, ChatReply, ChatRequest
from schemas.chat_cancel import ChatCancel
from schemas.conversations import ConversationChange
from schemas.dead_letters import DeadLetter, LetterMark
from schemas.documents import DocumentVersion
from schemas.embedding import EmbeddingRequest
from schemas.event import Event
from schemas.feedback import Feedback
from schemas.interactions import Interaction
from schemas.raw import RawEvent
from schemas.receipts import Receipt

Body = TypeVar("Body", bound=Event)
KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True)
class Topic(Generic[Body]):
    """One topic. `max_bytes` bounds a record's body; a larger body goes to the object store and leaves a reference."""

    name: str
    body: type[Body]
    key: Callable[[Body], str]
    partitions: int
    retention: timedelta | None
    """None keeps records for ever."""
    compacted: bool
    max_bytes: int
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    purpose: str
    fixed_partitions: str = ""
    """Why the number of partitions is fixed for the life of the topic: more of them are refused with these words. Empty
    where a key may move to another partition."""
    outlives: tuple[str, ...] = ()
    """Topics whose records this one's speak of: kept at least as long, or a replay of those would miss them."""

    def __hash__(self) -> int:
        return hash(self.name)


def _raw_key(event: RawEvent) -> str:
    return f"{event.workspace}/{event.source}/{event.subject}"


def _document_key(version: DocumentVersion) -> str:
    return f"{version.workspace}/{version.document_id}"


def _receipt_key(receipt: Receipt) -> str:
    return f"{receipt.workspace}/{receipt.event_id}"


def _conversation_key(event: ChatRequest | Interaction | ConversationChange) -> str:
    return f"{event.workspace}/{event.conversation_id}"


RAW_EVENTS = Topic(
    name="raw.events",
    body=RawEvent,
    key=_raw_key,
    partitions=6,
    retention=timedelta(days=30),
    compacted=False,
    max_bytes=768 * KIB,
    producers=("gateway", "connectors"),
    consumers=("normalizer", "ledger"),
    purpose="accepted deliveries, bytes unchanged",
    fixed_partitions="a document without a revision of its own takes its version from its offset here: more partitions "
    "would move its key to another sequence",
)

DOCUMENTS = Topic(
    name="documents",
    body=DocumentVersion,
    key=_document_key,
    partitions=6,
    retention=None,
    compacted=True,
    max_bytes=768 * KIB,
    producers=("normalizer",),
    consumers=("embedder", "graph_builder", "ledger"),
    purpose="present state of the corpus, one record per document version",
    fixed_partitions="it is compacted: a key would keep a stale last value in its old partition for ever",
)

RECEIPTS = Topic(
    name="receipts",
    body=Receipt,
    key=_receipt_key,
    partitions=3,
    retention=timedelta(days=30),
    compacted=False,
    max_bytes=256 * KIB,
    producers=("normalizer", "embedder", "graph_builder", "archivist", "ledger", "forgetter"),
    consumers=("ledger", "forgetter"),
    purpose="what each sink did with each document version",
    outlives=(RAW_EVENTS.name,),
)

DEAD_LETTERS = Topic(
    name="dead.letters",
    body=DeadLetter,
    key=lambda letter: f"{letter.workspace}/{letter.letter_id}",
    partitions=3,
    retention=timedelta(days=90),
    compacted=False,
    max_bytes=768 * KIB,
    producers=(
        "normalizer",
        "embedder",
        "graph_builder",
        "retriever",
        "inference",
        "archivist",
        "ledger",
        "forgetter",
    ),
    consumers=("ledger",),
    purpose="records given up on, whole, with a typed reason",
    outlives=(RAW_EVENTS.name,),
)

LETTER_MARKS = Topic(
    name="letter.marks",
    body=LetterMark,
    key=lambda mark: f"{mark.workspace}/{mark.letter_id}",
    partitions=3,
    retention=timedelta(days=90),
    compacted=False,
    max_bytes=64 * KIB,
    producers=("gateway",),
    consumers=("ledger",),
    purpose="dead letters redriven or discarded by whoever answers for them",
    outlives=(DEAD_LETTERS.name,),
)

CHAT_REQUESTS = Topic(
    name="chat.requests",
    body=ChatRequest,
    key=_conversation_key,
    partitions=6,
    retention=timedelta(days=7),
    compacted=False,
    max_bytes=768 * KIB,
    producers=("gateway",),
    consumers=("retriever",),
    purpose="questions",
)

CHAT_PROMPTS = Topic(
    name="chat.prompts",
    body=ChatPrompt,
    key=lambda prompt: _conversation_key(prompt.request),
    partitions=6,
    retention=timedelta(days=30),
    compacted=False,
    max_bytes=768 * KIB,
    producers=("retriever",),
    consumers=("inference",),
    purpose="questions with their sources, replayable against another model",
)

CHAT_REPLIES = Topic(
    name="chat.replies",
    body=ChatReply,
    key=lambda reply: str(reply.request_id),
    partitions=6,
    retention=timedelta(days=1),
    compacted=False,
    max_bytes=768 * KIB,
    producers=("retriever", "inference"),
    consumers=("gateway",),
    purpose="answers and vectors, in the partition that the asking gateway reads",
)

CHAT_CANCELS = Topic(
    name="chat.cancels",
    body=ChatCancel,
    key=lambda cancel: str(cancel.request_id),
    # Every such process reads all of it, by manual assignment: which of them has the question is not known.
    partitions=1,
    retention=timedelta(days=1),
    compacted=False,
    max_bytes=64 * KIB,
    producers=("gateway",),
    consumers=("retriever", "inference"),
    purpose="questions whose asker has gone or said stop",
)

EMBEDDING_REQUESTS = Topic(
    name="embedding.requests",
    body=EmbeddingRequest,
    key=lambda request: f"{request.workspace}/{request.request_id}",
    # Apart from the questions, which must not wait behind somebody's thousand texts.
    partitions=3,
    retention=timedelta(days=1),
    compacted=False,
    max_bytes=768 * KIB,
    producers=("gateway",),
    consumers=("retriever",),
    purpose="texts that somebody wants the vectors of",
)

INTERACTIONS = Topic(
    name="interactions",
    body=Interaction,
    key=_conversation_key,
    partitions=3,
    retention=timedelta(days=90),
    compacted=False,
    max_bytes=768 * KIB,
    producers=("retriever", "inference"),
    consumers=("archivist",),
    purpose="finished questions and answers",
)

CONVERSATION_CHANGES = Topic(
    name="conversation.changes",
    body=ConversationChange,
    key=_conversation_key,
    partitions=3,
    # Longer than what it outlives: a replay that brings a conversation back brings its deletion too.
    retention=timedelta(days=120),
    compacted=False,
    max_bytes=64 * KIB,
    producers=("gateway", "archivist"),
    consumers=("archivist",),
    purpose="conversations renamed, archived, deleted",
    fixed_partitions="a change's version is its offset here: more partitions would move its conversation to another "
    "sequence",
    outlives=(INTERACTIONS.name, "feedback"),
)

FEEDBACK = Topic(
    name="feedback",
    body=Feedback,
    key=lambda given: f"{given.workspace}/{given.request_id}",
    partitions=3,
    retention=timedelta(days=90),
    compacted=False,
    max_bytes=64 * KIB,
    producers=("gateway",),
    consumers=("archivist",),
    purpose="what people think of answers",
    outlives=(INTERACTIONS.name,),
)

CATALOGUE: tuple[Topic[Event], ...] = (  # type: ignore[assignment]
    RAW_EVENTS,
    DOCUMENTS,
    RECEIPTS,
    DEAD_LETTERS,
    LETTER_MARKS,
    CHAT_REQUESTS,
    CHAT_PROMPTS,
    CHAT_REPLIES,
    CHAT_CANCELS,
    EMBEDDING_REQUESTS,
    INTERACTIONS,
    CONVERSATION_CHANGES,
    FEEDBACK,
)
"""All topics. Keys take each topic's own body, so the tuple is not assignable without the ignore."""


def by_name(name: str) -> Topic[Event]:
    """Return the topic called `name`. Raises KeyError."""
    for topic in CATALOGUE:
        if topic.name == name:
            return topic
    raise KeyError(name)
