"""A chat on the whole platform: read along, taken up again, sent again, and found in the archive."""

import json
from typing import Any

from tests.eventually import eventually
from tests.flow.tenant import Tenant

QUESTION = "How high is the weir at Nether Mill?"


async def told(tenant: Tenant, method: str, path: str, **request: Any) -> list[tuple[str, str, Any]]:
    """Return the events of a stream: name, id, data."""
    answer = await tenant.client.request(method, path, **request)
    assert answer.status_code == 200, answer.text
    found = []
    for block in answer.text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields:
            found.append((fields["event"], fields["id"], json.loads(fields["data"])))
    return found


async def test_a_streamed_answer_is_the_archived_one_and_is_told_again_from_anywhere(tenant: Tenant) -> None:
    await tenant.upload_and_settle("The weir at Nether Mill is two metres high. It was rebuilt in 1987.", "weir.md")
    turn = {"message": QUESTION, "stream": True}
    events = await told(tenant, "POST", "/v1/chat", json=turn, headers={"idempotency-key": "weir-1"})
    assert [events[0][0], events[-1][0]] == ["accepted", "final"]
    answer = events[-1][2]
    text = "".join(data["text"] for name, _, data in events if name == "delta")
    assert text == answer["answer"]
    assert "two metres" in text
    assert answer["citations"]

    path = f"/v1/chat/{answer['request_id']}"
    again = await told(tenant, "GET", f"{path}/events", headers={"last-event-id": "7"})
    assert "".join(data["text"] for name, _, data in again if name == "delta") == text[7:]
    assert again[-1] == events[-1]

    async def archived() -> dict[str, Any] | None:
        state: dict[str, Any] = await tenant.get(path)
        # What comes from the archive has no passages.
        return state if state["answer"]["passages"] == [] else None

    state = await eventually(archived, within=30)
    assert (state["state"], state["answer"]["answer"]) == ("finished", text)
    assert state["answer"]["citations"] == answer["citations"]

    repeated = await tenant.client.post("/v1/chat", json={"message": QUESTION}, headers={"idempotency-key": "weir-1"})
    assert repeated.json() == answer

    follow_up = await tenant.post(
        "/v1/chat", {"message": "When was it rebuilt?", "conversation_id": answer["conversation_id"]}
    )
    assert follow_up["conversation_id"] == answer["conversation_id"]
    assert "1987" in follow_up["answer"]
