"""What a workspace may put on the log, without a server that counts."""

import pytest
from pydantic import ValidationError

from gateway.admitting import Admission
from gateway.problems import Problem
from gateway.settings import GatewaySettings
from infra.errors import Transient
from infra.redis.rates import Rate
from tests.unit.gateway.conftest import OTHER_KEY, Door, assert_problem
from tests.unit.gateway.test_hooks import BODY, github, post

UPLOAD = {"text": "A text.", "source": "src_files"}


class Counter:
    """Stands where Redis stands: admits all, or is away."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.away = False

    async def take(self, name: str, count: int = 1) -> float:
        self.asked.append(name)
        if self.away:
            raise Transient("redis", "away")
        return 0


def test_a_burst_less_than_its_rate_is_refused_at_the_start() -> None:
    with pytest.raises(ValidationError, match="burst"):
        GatewaySettings.model_validate({"MILLRACE_EVENTS_PER_S": 10, "MILLRACE_EVENTS_BURST": 9})


@pytest.mark.parametrize(("rate", "limit", "window"), [((5, 5), 5, 1), ((2, 5), 6, 3), ((500, 5_000), 5_000, 10)])
def test_a_window_holds_the_burst_and_keeps_the_rate(rate: tuple[int, int], limit: int, window: int) -> None:
    found = Rate(*rate)
    assert (found.limit.amount, found.limit.get_expiry()) == (limit, window)
    assert limit == rate[0] * window


async def test_one_event_too_many_is_a_429_that_says_when_to_come_back(door: Door) -> None:
    door.connections.admission = Admission(Rate(1, 3))
    answers = [await door.client.post("/v1/documents", json=UPLOAD) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [202, 202, 202, 429]
    assert_problem(answers[3], 429, "too_many_events")
    assert 1 <= int(answers[3].headers["retry-after"]) <= 6
    assert len(door.log.bodies) == 3
    other = {"authorization": f"Bearer {OTHER_KEY}"}
    answer = await door.client.post("/v1/documents", json={"text": "A text.", "source": "src_foreign"}, headers=other)
    assert answer.status_code == 202, "another workspace feels it"


async def test_a_webhook_counts_only_behind_its_signature(door: Door) -> None:
    door.connections.admission = Admission(Rate(0.001, 1))
    for _ in range(5):
        forged = await post(door, "github/src_github", BODY, github(secret="another"))
        assert_problem(forged, 401, "invalid_signature")
    assert (await post(door, "github/src_github", BODY, github())).status_code == 202
    assert_problem(await post(door, "github/src_github", BODY, github()), 429, "too_many_events")
    # The sender's other ways count too.
    assert (await door.client.post("/v1/documents", json=UPLOAD)).status_code == 429


async def test_without_redis_each_gateway_counts_for_itself_and_leaves_it_in_peace() -> None:
    shared = Counter()
    admission = Admission(Rate(0.001, 2), shared)
    for _ in range(5):
        await admission.admit("acme")
    assert shared.asked == ["acme"] * 5
    shared.away = True
    await admission.admit("acme")
    await admission.admit("acme")
    with pytest.raises(Problem):
        await admission.admit("acme")
    assert len(shared.asked) == 6, "asked again at once"


async def test_redis_is_asked_again_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.admitting.AWAY_S", 0.0)
    shared = Counter()
    shared.away = True
    admission = Admission(Rate(1, 1), shared)
    await admission.admit("acme")
    shared.away = False
    await admission.admit("acme")
    await admission.admit("acme")
    assert len(shared.asked) == 3
