"""From a death on the real log to the command line and back: the same event, the same letter, its effect once."""

from collections.abc import Awaitable, Callable

import asyncpg

from infra.kafka.codec import new_envelope
from schemas.dead_letters import UNKNOWN_WORKSPACE, Reason
from schemas.ids import deterministic_id
from tests.events import raw_event
from tests.eventually import eventually
from tests.live.dead_letters.conftest import Accept, Mill, Millrace, identity, letters_of, one_letter


async def test_a_redriven_record_is_the_same_event_and_its_effect_is_had_once(
    mill: Mill, accept: Accept, millrace: Millrace, pool: asyncpg.Pool, workspace: str
) -> None:
    mill.refuses.add("d1")
    event = await accept("d1", workspace)
    letter = await one_letter(pool, workspace)
    assert (letter.event_id, letter.reason, letter.topic) == (event.event_id, "refused_by_sink", "raw.events")
    held = await pool.fetchval("select source from dead_letters where letter_id = $1", letter.letter_id)
    assert held == event.source, "who put the record on the log is not where the event came from"
    dry = await millrace("dead-letters", "redrive", "--workspace", workspace, "--dry-run", "--json")
    assert (dry.status, dry.json["redriven"], dry.json["dry_run"]) == (0, 1, True), dry.err
    assert (await one_letter(pool, workspace)).state == "open"
    mill.refuses.discard("d1")
    mill.origins.clear()
    mill.first.clear()
    answer = await millrace("dead-letters", "redrive", "--workspace", workspace, "--json")
    assert (answer.status, answer.json["redriven"], answer.json["refused"]) == (0, 1, []), answer.err
    await eventually(lambda: mill.done["d1"] == 1, within=20)
    assert mill.origins == [("raw.events", letter.partition, letter.offset)]
    assert mill.first == [True]
    marked = await one_letter(pool, workspace, state="redriven")
    assert identity(marked) == identity(letter)
    shown = (await millrace("dead-letters", "show", str(letter.letter_id), "--json")).json
    assert [mark["state"] for mark in shown["marks"]] == ["redriven"]
    # Once more, by its id: the same coordinates again, so the inbox takes it for the same record.
    assert (await millrace("dead-letters", "redrive", str(letter.letter_id))).status == 0
    await eventually(lambda: mill.done["d1"] == 2, within=20)
    assert mill.first == [True, True]
    assert len(set(mill.origins)) == 1


async def test_what_dies_again_opens_its_letter_and_tries_add_up(
    mill: Mill, accept: Accept, millrace: Millrace, pool: asyncpg.Pool, workspace: str
) -> None:
    mill.refuses.add("d2")
    await accept("d2", workspace)
    first = await one_letter(pool, workspace)
    for attempts in (2, 3):
        assert (await millrace("dead-letters", "redrive", str(first.letter_id))).status == 0
        again = await one_letter(pool, workspace, attempts=attempts)
        assert identity(again) == identity(first)
        assert again.letter_offset > first.letter_offset
        assert again.first_at == first.first_at < again.last_at
    assert len(await letters_of(pool, workspace)) == 1


async def test_the_original_bytes_are_shown_and_sent(
    mill: Mill,
    millrace: Millrace,
    pool: asyncpg.Pool,
    workspace: str,
    produce: Callable[..., Awaitable[None]],
) -> None:
    body = raw_event("d3", workspace=workspace)
    headers = new_envelope(body, id=body.event_id, source="src_a").headers()
    poison = b"\xff\xfe" + b"x" * 5_000
    await produce(value=poison, key=b"\x80k", headers=headers)
    letter = await one_letter(pool, workspace)
    assert letter.reason == Reason.INVALID_JSON
    short = (await millrace("dead-letters", "show", str(letter.letter_id), "--json")).json["record"]
    assert (short["encoding"], short["bytes"], short["cut"], len(short["value"])) == ("base64", 5_002, True, 5_464)
    whole = (await millrace("dead-letters", "show", str(letter.letter_id), "--full", "--json")).json["record"]
    assert (whole["cut"], whole["key"]) == (False, "gGs=")
    assert {header["name"]: header["value"] for header in whole["headers"]}["workspace"] == workspace
    text = await millrace("dead-letters", "show", str(letter.letter_id))
    assert "invalid_json" in text.out
    assert "cut short" in text.out
    assert (await millrace("dead-letters", "redrive", str(letter.letter_id))).status == 0
    again = await one_letter(pool, workspace, attempts=2)
    back = (await millrace("dead-letters", "show", str(again.letter_id), "--full", "--json")).json["record"]
    assert (back["value"], back["key"]) == (whole["value"], whole["key"])
    sent = {header["name"]: header["value"] for header in back["headers"]}
    assert sent["ce_id"] == str(body.event_id)
    assert sent["origin"] == f"raw.events:{letter.partition}:{letter.offset}"


async def test_broken_headers_need_the_operator(
    mill: Mill,
    millrace: Millrace,
    pool: asyncpg.Pool,
    workspace: str,
    produce: Callable[..., Awaitable[None]],
) -> None:
    body = raw_event("d4", workspace=workspace)
    whole = new_envelope(body, id=body.event_id, source="src_a").headers()
    headers = [(name, value) for name, value in whole if name != "ce_id"]
    await produce(value=body.model_dump_json().encode(), headers=[*headers, ("x", None)])
    letter = await one_letter(pool, workspace)
    assert letter.reason == Reason.INVALID_HEADERS
    refused = await millrace("dead-letters", "redrive", str(letter.letter_id), "--json")
    assert refused.status == 1
    assert "header 'x' is null" in refused.json["refused"][0]["cause"]
    assert (await one_letter(pool, workspace)).state == "open"
    mended = ("--set-header", "x=", "--set-header", f"ce_id={body.event_id}")
    answer = await millrace("dead-letters", "redrive", str(letter.letter_id), *mended)
    assert answer.status == 0, answer.err
    await eventually(lambda: mill.done["d4"] == 1, within=20)
    assert (await one_letter(pool, workspace, state="redriven")).letter_id == letter.letter_id


async def test_a_record_of_no_workspace_is_seen_by_operators_only(
    mill: Mill, millrace: Millrace, pool: asyncpg.Pool, workspace: str, produce: Callable[..., Awaitable[None]]
) -> None:
    body = raw_event("d5", workspace=workspace)
    await produce(value=body.model_dump_json().encode(), key=workspace.encode(), headers=[])

    async def found() -> str:
        listed = (await millrace("dead-letters", "list", "-w", UNKNOWN_WORKSPACE, "--since", "10m", "--json")).json
        for letter in listed["letters"]:
            shown = (await millrace("dead-letters", "show", letter["letter_id"], "--json")).json
            if shown["record"]["key"] == workspace:
                return str(letter["letter_id"])
        return ""

    letter_id = await eventually(found, within=30)
    assert await letters_of(pool, workspace) == []
    sent = [f"--set-header={n}={v.decode()}" for n, v in new_envelope(body, id=body.event_id, source="s").headers()]
    assert (await millrace("dead-letters", "redrive", letter_id, *sent)).status == 0
    await eventually(lambda: mill.done["d5"] == 1, within=20)


async def test_large_bodies_travel_by_reference(
    mill: Mill, accept: Accept, millrace: Millrace, pool: asyncpg.Pool, workspace: str
) -> None:
    mill.refuses.add("d6")
    content = b"large " * 300_000
    event = await accept("d6", workspace, body=content)
    letter = await one_letter(pool, workspace)
    record = (await millrace("dead-letters", "show", str(letter.letter_id), "--json")).json["record"]
    assert (record["bytes"], record["reference"][:7]) == (0, "sha256:")
    mill.refuses.discard("d6")
    assert (await millrace("dead-letters", "redrive", str(letter.letter_id))).status == 0
    await eventually(lambda: mill.done["d6"] == 1, within=20)
    assert event.event_id == letter.event_id


async def test_filters_choose_and_two_workspaces_stay_apart(
    mill: Mill, accept: Accept, millrace: Millrace, pool: asyncpg.Pool, workspace: str
) -> None:
    other = f"{workspace}-b"
    mill.workspaces.add(other)
    for name in (workspace, other):
        for number in range(3):
            mill.refuses.add(f"{name}-{number}")
            await accept(f"{name}-{number}", name)
        await eventually(lambda name=name: has(pool, name, 3), within=20)
    bare = await millrace("dead-letters", "redrive")
    assert (bare.status, "every letter" in bare.err) == (2, True)
    listed = (await millrace("dead-letters", "list", "-w", workspace, "--limit", "2", "--json")).json
    assert (listed["total"], len(listed["letters"])) == (3, 2)
    assert {letter["workspace"] for letter in listed["letters"]} == {workspace}
    assert listed["counts"] == [
        {"state": "open", "topic": "raw.events", "reason": "refused_by_sink", "letters": 3},
    ]
    nothing = await millrace("dead-letters", "list", "-w", workspace, "--reason", "oversize", "--json")
    assert nothing.json["total"] == 0
    later = await millrace("dead-letters", "list", "-w", workspace, "--until", "1h", "--json")
    assert later.json["total"] == 0
    gone = await millrace("dead-letters", "discard", "-w", workspace, "--json")
    assert (gone.status, gone.json["discarded"]) == (0, 3), gone.err
    await eventually(lambda: has(pool, workspace, 3, state="discarded"), within=20)
    assert len(await letters_of(pool, other, state="open")) == 3
    assert not any(mill.done[f"{name}-{number}"] for name in (workspace, other) for number in range(3))
    mill.refuses.clear()
    answer = await millrace(
        "dead-letters", "redrive", "-w", workspace, "--state", "discarded", "--rate", "100", "--json"
    )
    assert (answer.status, answer.json["by_topic"]) == (0, {"raw.events": 3}), answer.err
    await eventually(lambda: all(mill.done[f"{workspace}-{number}"] == 1 for number in range(3)), within=20)
    assert not any(mill.done[f"{other}-{number}"] for number in range(3))


async def has(pool: asyncpg.Pool, workspace: str, count: int, **fields: str) -> bool:
    return len(await letters_of(pool, workspace, **fields)) == count


async def test_what_is_not_there_is_said(millrace: Millrace, mill: Mill, pool: asyncpg.Pool, workspace: str) -> None:
    unknown = str(deterministic_id("letter", workspace))
    assert (await millrace("dead-letters", "show", unknown)).status == 1
    answer = await millrace("dead-letters", "discard", unknown, "--json")
    assert (answer.status, answer.json["refused"][0]["letter_id"]) == (1, unknown)
    await pool.execute(
        """insert into dead_letters (letter_id, workspace, reason, detail, worker, attempts, topic, partition, "offset",
               letter_partition, letter_offset, first_at, last_at)
           values ($1, $2, 'oversize', 'd', 'w', 1, 'raw.events', 0, 0, 0, -1, now(), now())""",
        unknown,
        workspace,
    )
    answer = await millrace("dead-letters", "redrive", unknown, "--json")
    assert answer.status == 1
    assert answer.json["refused"][0]["cause"].startswith("gone:")
    shown = (await millrace("dead-letters", "show", unknown, "--json")).json
    assert "gone" in shown["record"]


async def test_bad_calls_are_usage(millrace: Millrace) -> None:
    assert (await millrace("dead-letters", "list", "--since", "yesterday")).status == 2
    assert (await millrace("dead-letters", "redrive", "--all", "--set-header", "nothing")).status == 2
