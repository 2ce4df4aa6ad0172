"""Ratings of answers: of this workspace's requests only, and on the log before the 202."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from gateway.settings import GatewaySettings
from infra.postgres.answers import Finished
from schemas.event import now
from schemas.feedback import Feedback
from tests.chats import request as question
from tests.unit.gateway.conftest import OTHER_KEY, Door, assert_problem
from tests.unit.gateway.serving import reply
from topics.catalogue import FEEDBACK

KNOWN = 3
"""A partition of the replies."""


@pytest.fixture
def settings() -> GatewaySettings:
    return GatewaySettings()


def known(door: Door, workspace: str = "acme") -> str:
    return str(door.connections.request_ids.issue(workspace, KNOWN, now()))


async def test_a_rating_is_on_the_log_with_who_gave_it(door: Door) -> None:
    request = known(door)
    body = {"request_id": request, "rating": "down", "comment": "  It is three. "}
    response = await door.client.post("/v1/feedback", json=body)
    assert response.status_code == 202
    ((topic, given, envelope),) = door.log.published
    assert isinstance(given, Feedback)
    assert (topic, topic.key(given)) == (FEEDBACK, f"acme/{request}")
    assert (given.workspace, given.rating, given.comment, given.by) == ("acme", "down", "It is three.", "a" * 12)
    assert response.json() == {"event_id": str(given.event_id)}
    assert (envelope.id, envelope.cause, envelope.subject) == (given.event_id, UUID(request), request)


async def test_a_second_rating_is_an_event_of_its_own_that_comes_later(door: Door) -> None:
    request = known(door)
    for rating in ("up", "down", "up"):
        await door.client.post("/v1/feedback", json={"request_id": request, "rating": rating})
    assert [given.rating for given in door.log.bodies] == ["up", "down", "up"]
    assert len({given.event_id for given in door.log.bodies}) == 3
    assert sorted(door.log.bodies, key=lambda given: given.given_at) == door.log.bodies


async def test_only_an_answer_of_the_workspace_is_rated(door: Door) -> None:
    ours = known(door)
    foreign = {"authorization": f"Bearer {OTHER_KEY}"}
    for request, headers in ((str(uuid4()), {}), (known(door, "globex"), {}), (ours, foreign)):
        response = await door.client.post("/v1/feedback", json={"request_id": request, "rating": "up"}, headers=headers)
        assert_problem(response, 404, "request_not_found")
    assert door.log.published == []


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"rating": "sideways"}, "/rating"),
        ({"rating": None}, "/rating"),
        ({"request_id": "7"}, "/request_id"),
        ({"comment": "x" * 2_001}, "/comment"),
        ({"comment": 7}, "/comment"),
        ({"stars": 5}, "/stars"),
    ],
)
async def test_what_is_wrong_is_pointed_at(door: Door, change: dict[str, Any], pointer: str) -> None:
    body = {"request_id": known(door), "rating": "up", **change}
    response = await door.client.post("/v1/feedback", json=body)
    assert [error["pointer"] for error in assert_problem(response, 422, "invalid_request")["errors"]] == [pointer]


async def test_without_the_log_nothing_is_accepted(door: Door) -> None:
    door.log.down = True
    response = await door.client.post("/v1/feedback", json={"request_id": known(door), "rating": "up"})
    assert_problem(response, 503, "broker_unavailable")


async def test_without_the_memory_of_requests_the_archive_is_asked(door: Door) -> None:
    door.memory.down = True
    answered, unknown = uuid4(), uuid4()
    final = reply(question(request_id=answered), "final", text="Yes.")
    door.archive["acme", answered] = Finished("is it?", final, now())
    response = await door.client.post("/v1/feedback", json={"request_id": str(answered), "rating": "up"})
    assert response.status_code == 202
    response = await door.client.post("/v1/feedback", json={"request_id": str(unknown), "rating": "up"})
    assert_problem(response, 503, "dependency_unavailable")
