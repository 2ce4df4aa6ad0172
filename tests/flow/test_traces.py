"""One trace from the webhook to the vector, another from the question to its reply, at a real OTLP receiver."""

from uuid import uuid4

from tests.eventually import eventually
from tests.flow.tenant import Tenant
from tests.live.telemetry.otlp_receiver import Receiver, Span


def connected(spans: list[Span]) -> bool:
    """Say whether every span but one has its parent in the trace."""
    ids = {span.id for span in spans}
    return sum(span.parent not in ids for span in spans) == 1


def workers_of(spans: list[Span]) -> set[str]:
    return {str(span.attributes.get("messaging.consumer.group.name", "")) for span in spans}


async def trace_of(receiver: Receiver, workspace: str, request: str, *workers: str) -> list[Span]:
    """Wait for the whole trace of a request in this workspace that went through all of `workers`."""

    def check() -> list[Span] | None:
        for spans in receiver.traces().values():
            ours = any(span.attributes.get("millrace.workspace") == workspace for span in spans)
            begun = any(span.name.startswith(request) for span in spans)
            if ours and begun and set(workers) <= workers_of(spans) and connected(spans):
                return spans
        return None

    found = await eventually(check, within=30, every=0.2)
    assert found is not None
    return found


async def test_one_trace_spans_webhook_to_vector(tenant: Tenant, receiver: Receiver) -> None:
    sender = await tenant.source("generic")
    page = {"id": "p", "title": "Weir", "text": "The weir is two metres high."}
    event = await tenant.settled(await sender.accepted(page))
    assert event["state"] == "complete"

    spans = await trace_of(
        receiver, tenant.workspace, "POST /v1/hooks", "normalizer", "embedder", "graph_builder", "ledger"
    )
    assert {span.service for span in spans} >= {"millrace.gateway"}
    written = [span for span in spans if "/points" in str(span.attributes.get("http.url", ""))]
    assert written, sorted({span.name for span in spans})
    ids = {span.id: span for span in spans}
    consumed = ids[written[0].parent]
    assert consumed.attributes["messaging.consumer.group.name"] == "embedder"
    delivered = {span.attributes["millrace.event_id"] for span in spans if span.name == "process raw.events"}
    assert delivered == {event["event_id"]}


async def test_one_trace_spans_question_to_reply(tenant: Tenant, receiver: Receiver) -> None:
    await tenant.upload_and_settle("The lock keeper of Thornbury is called Ines.", "lock.md")
    reply = await tenant.post("/v1/chat", {"message": "What is the lock keeper of Thornbury called?"})
    assert "Ines" in reply["answer"]

    spans = await trace_of(receiver, tenant.workspace, "POST /v1/chat", "retriever", "inference", "archivist")
    assert {"process chat.requests", "process chat.prompts"} <= {span.name for span in spans}


async def test_a_callers_trace_goes_on(tenant: Tenant, receiver: Receiver) -> None:
    trace = uuid4().hex
    headers = {"traceparent": f"00-{trace}-00000000000000aa-01"}
    answer = await tenant.client.post("/v1/search", json={"query": "weir"}, headers=headers)
    assert answer.status_code == 200

    def arrived() -> bool:
        return any(span.name == "process chat.requests" for span in receiver.traces().get(trace, []))

    assert await eventually(arrived, within=30, every=0.2)


async def test_no_secret_and_no_text_leaves_in_a_span(tenant: Tenant, receiver: Receiver) -> None:
    secret_text = f"zeugma{uuid4().hex}"
    key = tenant.client.headers["authorization"].removeprefix("Bearer ")
    await tenant.upload_and_settle(f"The word {secret_text} stands here.", "word.md")
    await tenant.passages(f"Where is {secret_text}?")
    await trace_of(receiver, tenant.workspace, "POST /v1/search", "retriever")
    everything = "\n".join(str(span.attributes) for span in receiver.spans())
    assert tenant.workspace in everything
    assert secret_text not in everything
    assert key not in everything
