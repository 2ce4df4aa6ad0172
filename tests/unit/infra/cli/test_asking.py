"""ask, search, events, graph, sources: what is sent, what is shown, how it ends."""

import json
from typing import Any

import pytest

from tests.unit.infra.cli.conftest import KEY, Door, Millrace

EVENT = "11111111-1111-1111-1111-111111111111"
LETTER = "33333333-3333-3333-3333-333333333333"
CITATION = {
    "number": 1,
    "document_id": "22222222-2222-2222-2222-222222222222",
    "version": 3,
    "start": 10,
    "end": 31,
    "quote": "Five days\nmay be [carried] over.",
    "title": "Leave",
    "url": "https://handbook.example/leave",
}
ANSWER = {"answer": "Five days [1].", "citations": [CITATION], "conversation_id": "c-1", "abstained": False}
SOURCE = {
    "source_id": "src_1",
    "name": "docs",
    "connector": "files",
    "enabled": True,
    "hook_path": "",
    "config": {},
    "completeness": {"fetched": 3, "normalised": 2, "embedded": 2, "graphed": 2, "dead_lettered": 1, "complete": True},
}


def event(state: str, **more: Any) -> dict[str, Any]:
    return {
        "event_id": EVENT,
        "state": state,
        "source": "src_1",
        "connector": "files",
        "accepted_at": "2026-01-01T00:00:00Z",
        "stages": [{"stage": "accepted", "at": "2026-01-01T00:00:00Z", "detail": ""}],
        "documents": [{"document_id": "d-1", "version": 2, "operation": "upsert"}],
        "dead_letters": [],
        **more,
    }


async def test_an_answer_is_shown_with_its_citations(millrace: Millrace, door: Door) -> None:
    door.answer("POST", "/v1/chat", (200, ANSWER))
    result = await millrace(
        "ask", "How many days?", "-k", "3", "--source", "src_1", "--kind", "file", "--author", "ada"
    )
    assert result.exit_code == 0
    assert "Five days [1]." in result.stdout
    assert "[1] Leave" in result.stdout
    assert "document 22222222-2222-2222-2222-222222222222  10-31" in result.stdout
    assert "“Five days may be [carried] over.”" in result.stdout
    assert "https://handbook.example/leave" in result.stdout
    (asked,) = door.of("POST", "/v1/chat")
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    filters = {"sources": ["src_1"], "kinds": ["file"], "authors": ["ada"]}
    assert asked.json == {"message": "How many days?", "top_k": 3, "filters": filters}


async def test_a_conversation_goes_on(millrace: Millrace, door: Door) -> None:
    door.answer("POST", "/v1/chat", (200, ANSWER))
    result = await millrace("ask", "And then?", "--conversation", "c-1", "--json")
    assert json.loads(result.stdout) == ANSWER
    assert door.asked[0].json["conversation_id"] == "c-1"


async def test_the_least_support_goes_along(millrace: Millrace, door: Door) -> None:
    door.answer("POST", "/v1/chat", (200, ANSWER))
    assert (await millrace("ask", "And then?", "--support", "0.75")).exit_code == 0
    assert door.asked[0].json["min_support"] == 0.75
    assert (await millrace("ask", "And then?", "--support", "1.5")).exit_code == 2
    assert len(door.asked) == 1


async def test_passages_are_shown(millrace: Millrace, door: Door) -> None:
    passage = {**CITATION, "text": "Five days may be carried over.", "score": 0.834}
    found = {"passages": [passage, {**passage, "number": 2, "title": "", "url": ""}], "took_ms": 12.3}
    door.answer("POST", "/v1/search", (200, found))
    result = await millrace("search", "carry over")
    assert "[1] Leave  0.834" in result.stdout
    assert "[2] 22222222-2222-2222-2222-222222222222  0.834" in result.stdout
    assert "2 passages in 12 ms" in result.stdout
    assert json.loads((await millrace("search", "carry over", "--json")).stdout) == found
    assert door.asked[0].json == {"query": "carry over", "top_k": 5, "filters": {}}
    where = ("--where", "team=weir", "--where", "team=mill", "--where", "year>=2031", "--where", "due<2031-04-01")
    await millrace("search", "carry over", *where, "--updated-to", "2031-01-05", "--per-document", "2")
    assert door.asked[-1].json == {
        "query": "carry over",
        "top_k": 5,
        "filters": {
            "updated_to": "2031-01-05",
            "metadata": {"team": ["weir", "mill"], "year": {"gte": 2031}, "due": {"lt": "2031-04-01"}},
        },
        "group_by": "document",
        "group_size": 2,
    }
    assert (await millrace("search", "carry over", "--where", "team")).exit_code == 2


async def test_an_event_is_followed_to_its_end(millrace: Millrace, door: Door) -> None:
    path = f"/v1/events/{EVENT}"
    door.answer("GET", path, *[(200, event(state)) for state in ("accepted", "accepted", "searchable", "complete")])
    result = await millrace("events", EVENT, "--follow")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[:3] == ["accepted", "searchable", "complete"]
    assert "document d-1  version 2  upsert" in result.stdout


async def test_a_dead_event_ends_with_its_reason(millrace: Millrace, door: Door) -> None:
    letter = {"letter_id": LETTER, "state": "open", "worker": "normalizer"}
    letters = [{**letter, "reason": "invalid_json", "detail": "unexpected end"}]
    door.answer("GET", f"/v1/events/{EVENT}", (200, event("dead_lettered", dead_letters=letters)))
    result = await millrace("events", EVENT)
    assert result.exit_code == 1
    assert "dead letter: invalid_json: unexpected end" in result.stdout
    assert f"letter {LETTER}  open, of normalizer" in result.stdout, "what a redrive is given"
    assert json.loads((await millrace("events", EVENT, "--json")).stdout)["state"] == "dead_lettered"


async def test_an_event_that_does_not_end_is_not_waited_for_for_ever(millrace: Millrace, door: Door) -> None:
    door.answer("GET", f"/v1/events/{EVENT}", (200, event("accepted")))
    result = await millrace("events", EVENT, "--follow", "--timeout", "0.3", "--json")
    assert result.exit_code == 1
    assert "still accepted" in json.loads(result.stderr)["error"]["message"]


async def test_neighbours_are_shown_with_their_direction(millrace: Millrace, door: Door) -> None:
    found = {
        "entity": {"key": "person:github:a/b", "kind": "person", "name": "Ada"},
        "neighbors": [
            {
                "predicate": "AUTHORED",
                "direction": "out",
                "entity": {"key": "k1", "name": "Issue"},
                "documents": ["d"],
            },
            {"predicate": "MENTIONS", "direction": "in", "entity": {"key": "k2", "name": "Note"}, "documents": []},
        ],
    }
    door.answer("GET", "/v1/graph/neighbors/person%3Agithub%3Aa%2Fb", (200, found))
    result = await millrace("graph", "person:github:a/b", "--limit", "2")
    assert "  -[AUTHORED]-> Issue (k1)  1 document\n" in result.stdout
    assert "  <-[MENTIONS]- Note (k2)  0 documents\n" in result.stdout
    assert door.asked[0].query == "limit=2"
    assert json.loads((await millrace("graph", "person:github:a/b", "--json")).stdout) == found


async def test_sources_are_listed_and_shown(millrace: Millrace, door: Door) -> None:
    door.answer("GET", "/v1/sources", (200, {"sources": [SOURCE]}))
    listed = await millrace("sources", "list")
    assert "docs" in listed.stdout
    assert "yes" in listed.stdout
    assert json.loads((await millrace("sources", "list", "--json")).stdout) == [SOURCE]
    for name in ("docs", "src_1"):
        assert json.loads((await millrace("sources", "show", name, "--json")).stdout) == SOURCE
    shown = await millrace("sources", "show", "docs")
    assert "connector   files" in shown.stdout
    missing = await millrace("sources", "show", "nothing")
    assert missing.exit_code == 1
    assert "see `millrace sources list`" in missing.stderr


async def test_a_source_is_added_and_its_secret_shown_once(
    millrace: Millrace, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = {**SOURCE, "connector": "github", "hook_path": "/v1/hooks/github/src_1", "secret": "s" * 32}
    door.answer("POST", "/v1/sources", (201, made), (200, SOURCE))
    added = await millrace("sources", "add", "repo", "--connector", "github", "--config", '{"a": 1}')
    assert added.stdout.splitlines() == ["src_1", "hook    /v1/hooks/github/src_1", f"secret  {'s' * 32}"]
    assert "shown only now" in added.stderr
    assert door.asked[0].json == {"name": "repo", "connector": "github", "config": {"a": 1}}
    monkeypatch.setenv("MILLRACE_SOURCE_SECRET", "t" * 32)
    again = await millrace("sources", "add", "repo", "--connector", "github", "--json")
    assert json.loads(again.stdout) == SOURCE
    assert door.asked[1].json["secret"] == "t" * 32


@pytest.mark.parametrize("config", ["nonsense", "[1]"])
async def test_settings_of_a_source_are_an_object(config: str, millrace: Millrace, door: Door) -> None:
    result = await millrace("sources", "add", "x", "--connector", "feed", "--config", config)
    assert result.exit_code == 2
    assert door.asked == []
