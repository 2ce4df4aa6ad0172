"""The documented table of reasons is the closed set."""

import re

from schemas.dead_letters import Reason
from tests.contract.code import REPOSITORY


def test_every_reason_is_explained_once_and_none_is_made_up() -> None:
    text = (REPOSITORY / "docs" / "dead-letters.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z_]+)` \| (.+) \| (.+) \|$", text, re.MULTILINE)
    assert [reason for reason, _, _ in rows] == [str(reason) for reason in Reason]
    assert all(meaning and advice for _, meaning, advice in rows)
