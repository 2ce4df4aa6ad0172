"""How long a question would wait, and who is refused for it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.queueing import Known, Queue, estimated_wait_s
from infra.redis.load import Load, Posted, Queued
from tests.chats import request
from tests.unit.gateway.conftest import KEY, OTHER_KEY, Door, assert_problem
from tests.unit.gateway.test_asking import answering

ASK = {"message": "Who?"}
COMPLETE = {"model": "millrace", "messages": [{"role": "user", "content": "Who?"}]}


def posted(
    slots: int = 4, service_s: float | None = 2.0, age_s: float = 0.1, at_work: int | None = None, **waiting: int
) -> Posted:
    queues = {name: Queued(number, 0) for name, number in waiting.items()}
    queues["busy"] = Queued(0, slots if at_work is None else at_work)
    return Posted(Load(slots, service_s, queues), age_s)


def wait_s(workspace: str, *posts: Posted, **unheard: int) -> float:
    known = Known.of(posts)
    assert known is not None
    return estimated_wait_s(known, workspace, unheard)


def test_a_free_slot_is_taken_at_once() -> None:
    assert wait_s("acme", posted(at_work=3)) == 0
    assert wait_s("acme", posted(at_work=3), globex=1) == pytest.approx(0.5)


def test_with_all_slots_busy_the_next_that_falls_free_is_waited_for() -> None:
    assert wait_s("acme", posted()) == pytest.approx(2.0 / 4)


def test_ones_own_queue_is_waited_for_and_of_a_flood_one_turn() -> None:
    flood = posted(flood=1_000)
    assert wait_s("flood", flood) == pytest.approx(1_001 * 2.0 / 4)
    assert wait_s("acme", flood) == pytest.approx(2 * 2.0 / 4)
    # The third question of ours waits for our two, and three turns of the flood.
    assert wait_s("acme", posted(flood=1_000, acme=2)) == pytest.approx((2 + 3 + 1) * 2.0 / 4)


def test_a_share_of_three_has_three_turns_for_each_of_the_others() -> None:
    load = Load(4, 2.0, {"heavy": Queued(100, 4, 3.0), "light": Queued(100, 0)})
    known = Known.of([Posted(load, 0)])
    assert known is not None
    assert estimated_wait_s(known, "light", {}) == pytest.approx((100 + 100 + 1) * 0.5)
    assert estimated_wait_s(known, "heavy", {}) == pytest.approx((100 + 34 + 1) * 0.5)
    assert estimated_wait_s(known, "new", {}) == pytest.approx((3 + 1 + 1) * 0.5)


def test_processes_are_added_up_each_at_its_own_pace() -> None:
    # 4 slots of 2 s and 1 slot of 0.5 s: two answers a second each.
    quick = Posted(Load(1, 0.5, {"acme": Queued(6, 1)}), 0)
    assert wait_s("acme", posted(acme=1), quick) == pytest.approx((7 + 1) / 4)


def test_one_that_has_measured_nothing_leaves_the_pace_to_the_others() -> None:
    assert Known.of([posted(service_s=None)]) is None
    assert Known.of([]) is None
    assert wait_s("acme", posted(), posted(service_s=None)) == pytest.approx(2.0 / 8)


@given(
    st.dictionaries(st.sampled_from("abcd"), st.integers(0, 50)),
    st.dictionaries(st.sampled_from("abcd"), st.integers(0, 50)),
    st.integers(0, 4),
)
def test_nobody_waits_longer_than_for_all_and_more_ahead_is_never_quicker(
    waiting: dict[str, int], unheard: dict[str, int], at_work: int
) -> None:
    post = posted(at_work=at_work, **waiting)
    found = wait_s("a", post, **unheard)
    everybody = sum(waiting.values()) + sum(unheard.values())
    assert 0 <= found <= (everybody + 1) * 0.5
    assert wait_s("a", post, **{**unheard, "a": unheard.get("a", 0) + 1}) >= found


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_what_was_sent_since_the_workers_told_is_counted_until_it_ends() -> None:
    clock, posts = Clock(), [posted(age_s=0.3)]
    queue = Queue(lambda: posts, clock=clock)
    before = queue.wait_s("acme")
    with queue.entered(request()), queue.entered(request()):
        assert before == pytest.approx(0.5)
        assert queue.wait_s("acme") == pytest.approx(1.5)
        # The workers know of both by now, and of one more: nothing is counted twice.
        clock.now += 1
        posts[:] = [posted(acme=3)]
        assert queue.wait_s("acme") == pytest.approx(2.0)
        # What they have not told of although it is long under way waits on the log: it counts too.
        posts[:] = [posted()]
        assert queue.wait_s("acme") == pytest.approx(1.5)
        assert queue.wait_s("globex") == pytest.approx(1.0)
    assert queue.wait_s("acme") == before


@pytest.mark.parametrize("path", ["/v1/chat", "/v1/rag/query", "/v1/chat/completions"])
async def test_a_flood_is_told_when_to_come_back_and_another_workspace_is_answered(door: Door, path: str) -> None:
    answering(door, text="Yes.", served_by="extractive", model="extractive")
    door.connections.queue = Queue(lambda: [posted(acme=200)])
    body = {"/v1/chat": ASK, "/v1/rag/query": {"query": "Who?"}}.get(path, COMPLETE)
    refused = await door.client.post(path, json=body)
    assert refused.status_code == 429
    # (200 + 1) answers of 2 s on 4 slots, 60 s are waited.
    assert int(refused.headers["retry-after"]) == pytest.approx(41, abs=1)
    if path == "/v1/chat/completions":
        error = refused.json()["error"]
        assert (error["type"], error["code"], error["param"]) == ("rate_limit_error", "overloaded", None)
    else:
        assert_problem(refused, 429, "overloaded")
    assert door.log.published == []
    other = {"authorization": f"Bearer {OTHER_KEY}"}
    assert (await door.client.post(path, json=body, headers=other)).status_code == 200


async def test_a_search_waits_for_no_answer_and_a_bare_question_for_no_search(door: Door) -> None:
    answering(door, text="Yes.")
    flood = [posted(acme=10_000)]
    bare = ASK | {"retrieve": False}
    door.connections.queue = Queue(lambda: flood)
    assert (await door.client.post("/v1/search", json={"query": "who?"})).status_code == 200
    assert (await door.client.post("/v1/chat", json=bare)).status_code == 429
    door.connections.queue = Queue(searching=lambda: flood)
    assert_problem(await door.client.post("/v1/search", json={"query": "who?"}), 429, "overloaded")
    assert (await door.client.post("/v1/chat", json=ASK)).status_code == 429
    assert (await door.client.post("/v1/chat", json=bare)).status_code == 200


async def test_the_models_that_workers_serve_are_listed(door: Door) -> None:
    told = [Posted(Load(4, None, models=names), 0.1) for names in (("coder", "org/lora"), ("coder", "millrace"))]
    door.connections.queue = Queue(lambda: told)
    listed = [model["id"] for model in (await door.client.get("/v1/models")).json()["data"]]
    assert listed == ["millrace", "millrace-embeddings", "hash-64", "coder", "org/lora"]
    assert (await door.client.get("/v1/models/org/lora")).json()["id"] == "org/lora"


def test_the_longer_of_the_two_queues_is_waited_for() -> None:
    writing, searching = [posted(acme=3)], [posted(service_s=0.2, acme=100)]
    queue = Queue(lambda: writing, lambda: searching)
    assert queue.wait_s("acme", searched=True) == pytest.approx(101 * 0.2 / 4)
    assert queue.wait_s("acme") == pytest.approx(4 * 2.0 / 4)
    assert queue.wait_s("acme", searched=True, answered=False) == pytest.approx(101 * 0.2 / 4)
    searching[:] = [posted(service_s=0.2, acme=1)]
    assert queue.wait_s("acme", searched=True) == pytest.approx(4 * 2.0 / 4)
    searching.clear()
    assert queue.wait_s("acme", searched=True, answered=False) is None


def test_what_waits_for_its_answer_has_been_searched_for() -> None:
    clock = Clock()
    writing, searching = [posted(acme=2)], [posted(service_s=0.2)]
    queue = Queue(lambda: writing, lambda: searching, clock)
    with queue.entered(request()), queue.entered(request()):
        clock.now += 10
        assert queue.wait_s("acme", searched=True, answered=False) == pytest.approx(0.2 / 4)
        writing[:] = [posted()]
        assert queue.wait_s("acme", searched=True, answered=False) == pytest.approx(3 * 0.2 / 4)
    with queue.entered(request(purpose="search")), queue.entered(request(retrieve=False)):
        assert queue.wait_s("acme") == pytest.approx(2 * 2.0 / 4)
        assert queue.wait_s("acme", searched=True, answered=False) == pytest.approx(2 * 0.2 / 4)


async def test_nothing_known_refuses_nobody(door: Door) -> None:
    answering(door, text="Yes.")
    door.connections.queue = Queue(lambda: [posted(service_s=None, acme=10_000)])
    assert (await door.client.post("/v1/chat", json=ASK)).status_code == 200


async def test_a_refused_key_may_be_used_again(door: Door) -> None:
    answering(door, text="Yes.")
    posts = [posted(acme=10_000)]
    door.connections.queue = Queue(lambda: posts)
    headers = {"idempotency-key": "k-1", "authorization": f"Bearer {KEY}"}
    assert (await door.client.post("/v1/chat", json=ASK, headers=headers)).status_code == 429
    posts.clear()
    first = await door.client.post("/v1/chat", json=ASK, headers=headers)
    assert first.status_code == 200
    # What is answered already is told again, however busy the workers are by then.
    posts.append(posted(acme=10_000))
    again = await door.client.post("/v1/chat", json=ASK, headers=headers)
    assert (again.status_code, again.json()) == (200, first.json())
    assert len(door.log.published) == 1


async def test_an_answered_question_stands_in_nobodys_way(door: Door) -> None:
    answering(door, text="Yes.")
    clock = Clock()
    queue = door.connections.queue = Queue(lambda: [posted()], clock=clock)
    for _ in range(3):
        assert (await door.client.post("/v1/chat", json=ASK)).status_code == 200
    assert queue.wait_s("acme") == pytest.approx(0.5)
