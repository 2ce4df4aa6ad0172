"""OpenAI's own JavaScript client, in a Node that came as a wheel."""

import re
import shutil
from pathlib import Path

import pytest

from tests.live.gateway.clients.programs import PROGRAMS, ran

JAVASCRIPT = Path(__file__).parents[3] / "js"

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
async def javascript(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The suite with its client, as the lock file has it."""
    folder = tmp_path_factory.mktemp("js") / "suite"
    shutil.copytree(JAVASCRIPT, folder, ignore=shutil.ignore_patterns("node_modules"))
    code, output = await ran(folder, PROGRAMS / "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
    assert code == 0, output
    return folder


async def test_the_javascript_client(checked: str, key: str, javascript: Path) -> None:
    command = (PROGRAMS / "node", "--test", "--test-reporter=tap", "suite.mjs")
    code, output = await ran(javascript, *command, MILLRACE_URL=checked, MILLRACE_KEY=key)
    assert code == 0, output
    declared = len(re.findall(r"^test\(", (javascript / "suite.mjs").read_text(encoding="utf-8"), re.MULTILINE))
    assert f"# pass {declared}" in output, output
