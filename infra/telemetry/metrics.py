"""The one vocabulary of metrics: name, kind, unit, labels, meaning. `docs/metrics.md` is generated from it.

Only `Metric` members may be recorded, so a dashboard can trust that a name means one thing everywhere. Labels are
bounded sets (never a document, a path or a message): unbounded labels would eat the memory of whoever scrapes.
"""

from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

Kind = Literal["counter", "gauge", "histogram"]

REGISTRY = CollectorRegistry(auto_describe=True)

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


@dataclass(frozen=True, slots=True)
class Definition:
    """What one metric means."""

    kind: Kind
    unit: str
    meaning: str
    labels: tuple[str, ...] = ()


class Metric(Enum):
    """Every metric; the member's name in lower case, after `millrace_`, is its exported name."""

    RECORDS_TOTAL = Definition("counter", "records", "records finished, by outcome", ("worker", "topic", "outcome"))
    RETRIES_TOTAL = Definition("counter", "retries", "tries again after a transient failure", ("worker", "dependency"))
    DEAD_LETTERS_TOTAL = Definition("counter", "records", "records dead-lettered", ("worker", "topic", "reason"))
    HANDLE_SECONDS = Definition("histogram", "seconds", "time of one handler call", ("worker", "topic"))
    IN_FLIGHT = Definition("gauge", "records", "records fetched and not yet finished", ("worker",))
    PAUSED_PARTITIONS = Definition("gauge", "partitions", "partitions not fully read, by cause", ("worker", "cause"))
    LAG = Definition("gauge", "records", "records behind the end of the log", ("worker", "topic"))
    RECORDS_LOST_TOTAL = Definition("counter", "records", "records deleted before they were read", ("worker", "topic"))
    COMMITS_TOTAL = Definition("counter", "commits", "offset commits, by outcome", ("worker", "outcome"))
    PUBLISHED_TOTAL = Definition("counter", "records", "records acknowledged by the broker", ("topic",))
    PUBLISH_SECONDS = Definition("histogram", "seconds", "time until the broker acknowledged", ("topic",))
    LOOP_LAG_SECONDS = Definition("gauge", "seconds", "how late the event loop woke last", ())
    HTTP_REQUESTS_TOTAL = Definition("counter", "requests", "requests answered", ("route", "method", "status"))
    HTTP_SECONDS = Definition("histogram", "seconds", "time to answer a request", ("route", "method"))
    WEBHOOKS_REFUSED_TOTAL = Definition("counter", "requests", "webhooks refused at the door", ("connector", "code"))
    PULLS_TOTAL = Definition("counter", "pulls", "scheduled pulls of sources, by outcome", ("connector", "outcome"))
    STREAMS_OPEN = Definition("gauge", "streams", "answers being told as they are written", ())
    CHATS_TAKEN_UP_TOTAL = Definition("counter", "requests", "chat requests that a client came back to", ("outcome",))
    CHATS_CANCELLED_TOTAL = Definition("counter", "requests", "cancels told to the workers, by cause", ("cause",))
    CHATS_REFUSED_TOTAL = Definition("counter", "requests", "chat requests refused at the door, by cause", ("cause",))
    ADMISSION_WAIT_SECONDS = Definition("histogram", "seconds", "wait for a slot estimated at the door", ())
    REPLIES_DROPPED_TOTAL = Definition("counter", "replies", "chat replies nobody here waits for", ("cause",))
    SEARCHABLE_SECONDS = Definition("histogram", "seconds", "from acceptance to searchable", ("connector",))
    ENCODE_TEXTS_TOTAL = Definition("counter", "texts", "texts encoded", ("model", "use"))
    ENCODE_SECONDS = Definition("histogram", "seconds", "time of one encoder call", ("model", "use"))
    QUERY_VECTORS_TOTAL = Definition("counter", "questions", "question vectors wanted, by cache outcome", ("outcome",))
    SEARCH_SECONDS = Definition("histogram", "seconds", "time of one retrieval", ())
    RETRIEVER_QUEUE_DEPTH = Definition("gauge", "turns", "what waits for its turn in this process", ("work",))
    RETRIEVER_ESTIMATED_WAIT_SECONDS = Definition("gauge", "seconds", "wait of what came last now", ("work",))
    RETRIEVER_WAITED_SECONDS = Definition("histogram", "seconds", "time that a turn was waited for", ("work",))
    TURN_QUEUE_DEPTH = Definition("gauge", "turns", "what waits for its turn at indexing in this process", ("work",))
    TURN_ESTIMATED_WAIT_SECONDS = Definition("gauge", "seconds", "wait of what came last now, at indexing", ("work",))
    TURN_WAITED_SECONDS = Definition("histogram", "seconds", "time that a turn at indexing was waited for", ("work",))
    ANSWERS_TOTAL = Definition("counter", "answers", "answers, by backend and outcome", ("backend", "outcome"))
    INFERENCE_QUEUE_DEPTH = Definition("gauge", "questions", "questions that wait for a slot in this process", ())
    INFERENCE_ESTIMATED_WAIT_SECONDS = Definition("gauge", "seconds", "wait of a question that came last now", ())
    INFERENCE_WAITED_SECONDS = Definition("histogram", "seconds", "time that a question waited for its slot", ())
    BACKEND_BEGIN_SECONDS = Definition("histogram", "seconds", "time to the first piece of an answer", ("backend",))
    BACKEND_BREAKER = Definition("gauge", "state", "0 closed, 1 half-open, 2 open: the backend is rested", ("backend",))
    FALLBACKS_TOTAL = Definition("counter", "answers", "answers by another backend", ("wanted", "served_by"))
    ROUTED_TOTAL = Definition(
        "counter",
        "answers",
        "ends of questions, by who was meant and by intent",
        ("backend", "model", "intent", "outcome"),
    )
    ROUTED_FALLBACKS_TOTAL = Definition(
        "counter", "answers", "of these, not answered by who was meant", ("backend", "model", "intent")
    )
    ROUTED_SECONDS = Definition(
        "histogram", "seconds", "from taking a question up to its end", ("backend", "model", "intent")
    )
    ROUTED_TOKENS_TOTAL = Definition(
        "counter", "tokens", "tokens as counted by who answered", ("backend", "model", "intent", "kind")
    )
    EARLIER_ANSWERS_TOTAL = Definition("counter", "answers", "answers kept, looked for and found again", ("outcome",))
    BACKEND_AT_WORK = Definition("gauge", "answers", "answers being written by a backend", ("backend",))
    ROUTING_RELOADS_TOTAL = Definition("counter", "files", "changed routing files read, by outcome", ("outcome",))
    ROUTING_CURRENT = Definition("gauge", "state", "1: the routing file is in force as it stands, 0: refused", ())

    @property
    def export_name(self) -> str:
        """Name under which Prometheus scrapes it."""
        return f"millrace_{self.name.lower()}"


def _make(metric: Metric) -> Counter | Gauge | Histogram:
    definition = metric.value
    arguments = (metric.export_name, definition.meaning, definition.labels)
    if definition.kind == "counter":
        return Counter(*arguments, registry=REGISTRY)
    if definition.kind == "gauge":
        return Gauge(*arguments, registry=REGISTRY)
    return Histogram(*arguments, registry=REGISTRY, buckets=SECONDS)


_INSTRUMENTS = {metric: _make(metric) for metric in Metric}


@lru_cache(maxsize=4_096)
def _labelled(metric: Metric, labels: tuple[str, ...]) -> Counter | Gauge | Histogram:
    """Return the series of `labels`: the client's own look-up takes a lock and a copy, four times per record."""
    instrument = _INSTRUMENTS[metric]
    return instrument.labels(*labels) if labels else instrument


def count(metric: Metric, *labels: str, by: float = 1) -> None:
    """Add to a counter. `labels` in the order of the definition. Raises TypeError for another kind of metric."""
    instrument = _labelled(metric, labels)
    if not isinstance(instrument, Counter):
        raise TypeError(f"{metric.name} is a {metric.value.kind}")
    instrument.inc(by)


def observe(metric: Metric, value: float, *labels: str) -> None:
    """Record a value in a histogram. Raises TypeError for another kind of metric."""
    instrument = _labelled(metric, labels)
    if not isinstance(instrument, Histogram):
        raise TypeError(f"{metric.name} is a {metric.value.kind}")
    instrument.observe(value)


def gauge(metric: Metric, value: float, *labels: str) -> None:
    """Set a gauge. Raises TypeError for another kind of metric."""
    instrument = _labelled(metric, labels)
    if not isinstance(instrument, Gauge):
        raise TypeError(f"{metric.name} is a {metric.value.kind}")
    instrument.set(value)
