import getpass
from datetime import UTC, datetime, timedelta

import pytest

from infra.cli.operating import moment, operator
from infra.cli.terminal import CommandError


def test_times_are_given_or_ago() -> None:
    assert moment(None, "--since") is None
    assert moment("2026-01-31T12:00:00", "--since") == datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert moment("2026-01-31T12:00:00+02:00", "--since") == datetime(2026, 1, 31, 10, tzinfo=UTC)
    for text, length in (("90s", timedelta(seconds=90)), ("2h", timedelta(hours=2)), ("7d", timedelta(days=7))):
        found = moment(text, "--since")
        assert found is not None
        assert abs(datetime.now(UTC) - length - found) < timedelta(seconds=5)


@pytest.mark.parametrize("text", ["yesterday", "h", "-2h", "2w", "1" * 12 + "d"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(CommandError, match="--until"):
        moment(text, "--until")


def test_a_user_without_a_name_is_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("uid not found: 1234")

    monkeypatch.setattr(getpass, "getuser", nameless)
    assert operator() == "cli"
