"""What a command says, and how it ends, when something is not there or says no."""

import json
import os
from pathlib import Path

import pytest

from infra.cli import gateway
from infra.cli.main import run
from infra.cli.surroundings import adopt_local_stack, local_api_key
from infra.cli.terminal import CommandError, Status, command
from infra.errors import Permanent, Transient
from infra.local.state import Home
from infra.settings import SettingsError
from schemas.dead_letters import Reason
from tests.unit.infra.cli.conftest import KEY, Door, Millrace

PROBLEM = {"type": "about:blank", "title": "Bad", "status": 422, "code": "invalid_filter", "detail": "no such filter"}


@pytest.mark.parametrize(
    ("status", "exit_code"), [(400, 4), (401, 4), (403, 4), (404, 1), (409, 4), (413, 4), (422, 4), (500, 1)]
)
async def test_a_refusal_is_told_with_its_code(status: int, exit_code: int, millrace: Millrace, door: Door) -> None:
    door.answer("POST", "/v1/search", (status, PROBLEM))
    result = await millrace("search", "x", "--json")
    assert result.exit_code == exit_code
    assert result.stdout == ""
    error = json.loads(result.stderr)["error"]
    assert (error["code"], error["message"]) == ("invalid_filter", "no such filter")
    assert ("millrace keys create" in error["next"]) == (status in {401, 403})


@pytest.mark.parametrize("body", [b"<html>proxy</html>", b"[]", b""])
async def test_an_answer_of_something_in_between_is_told(body: bytes, millrace: Millrace, door: Door) -> None:
    door.answer("POST", "/v1/search", (418, body))
    result = await millrace("search", "x")
    assert result.exit_code == 4
    assert "answered 418" in result.stderr


async def test_a_question_is_not_asked_twice(millrace: Millrace, door: Door) -> None:
    door.answer("POST", "/v1/chat", (503, PROBLEM))
    assert (await millrace("ask", "x")).exit_code == 3
    assert len(door.asked) == 1


async def test_a_reading_is_tried_again_as_the_gateway_asks(millrace: Millrace, door: Door) -> None:
    door.answer("GET", "/v1/sources", (503, PROBLEM, {"retry-after": "0"}), (429, PROBLEM), (200, {"sources": []}))
    assert (await millrace("sources", "list", "--json")).exit_code == 0
    assert len(door.asked) == 3


async def test_a_gateway_that_is_not_there_is_named(
    millrace: Millrace, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MILLRACE_GATEWAY_URL", "http://127.0.0.1:1")
    result = await millrace("search", "x")
    assert result.exit_code == 3
    assert "no gateway at http://127.0.0.1:1" in result.stderr
    assert "millrace up" in result.stderr


@pytest.mark.parametrize("arguments", [("search", "x"), ("topics", "plan"), ("keys", "list")])
async def test_without_a_stack_the_next_step_is_named(
    arguments: tuple[str, ...], millrace: Millrace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MILLRACE_GATEWAY_URL")
    result = await millrace(*arguments)
    assert result.exit_code in {2, 3}
    assert "millrace up" in result.stderr


async def test_a_broker_that_is_not_there_is_unreachable(millrace: Millrace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    result = await millrace("topics", "plan", "--json")
    assert result.exit_code == 3
    assert json.loads(result.stderr)["error"]["message"].startswith("kafka does not answer")


async def test_a_database_that_is_not_there_is_unreachable(millrace: Millrace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTGRES_DSN", "postgresql://u:s3cret@127.0.0.1:1/d")
    for arguments in (["keys", "list"], ["keys", "create"], ["keys", "revoke", KEY]):
        result = await millrace(*arguments)
        assert result.exit_code == 3
        assert "s3cret" not in result.output
        assert "a" * 64 not in result.output


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (CommandError(Status.FAILED, "m"), 1),
        (SettingsError("bad settings: X"), 2),
        (Transient("neo4j", "away"), 3),
        (Permanent(Reason.REFUSED_BY_SINK, "no"), 4),
    ],
)
def test_every_kind_of_failure_has_its_status(
    error: Exception, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    import typer

    @command
    def failing() -> None:
        raise error

    with pytest.raises(typer.Exit) as ended:
        failing()
    assert ended.value.exit_code == status
    assert capsys.readouterr().err.startswith("error: ")


def test_a_command_ends_with_the_status_it_returns() -> None:
    import typer

    @command
    def no() -> Status:
        return Status.REFUSED

    @command
    def yes() -> Status:
        return Status.OK

    yes()
    with pytest.raises(typer.Exit) as ended:
        no()
    assert ended.value.exit_code == 4


async def test_a_wrong_option_is_a_usage_error(millrace: Millrace) -> None:
    assert (await millrace("search", "x", "-k", "0")).exit_code == 2
    assert (await millrace("nothing")).exit_code == 2


def test_the_program_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["millrace", "--help"])
    with pytest.raises(SystemExit) as ended:
        run()
    assert ended.value.code == 0
    assert "ingest" in capsys.readouterr().out


def test_the_local_stacks_key_is_used_where_it_may_be_read(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert local_api_key(home) == ""
    home.api_key.write_text(f"{KEY}\n")
    assert local_api_key(home) == KEY


def test_the_real_environment_wins_over_the_state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_HOME", str(tmp_path))
    monkeypatch.setenv("QDRANT_URL", "http://elsewhere:6333")
    assert adopt_local_stack().root == tmp_path
    assert os.environ["QDRANT_URL"] == "http://elsewhere:6333"


def test_a_state_folder_of_another_version_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_HOME", str(tmp_path))
    (tmp_path / "stack.json").write_text('{"version": 999}')
    with pytest.raises(CommandError, match="another version"):
        adopt_local_stack()


def test_retry_after_is_honoured_up_to_a_limit() -> None:
    assert gateway._wait(ValueError()) is False
    assert gateway._wait(gateway.Away("x")) is True
    assert gateway._wait(gateway.Away("x", 2.0)) == 2.0
    assert gateway._wait(gateway.Away("x", 9_999.0)) == gateway.PATIENCE_SECONDS
