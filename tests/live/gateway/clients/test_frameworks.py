"""LangChain and LlamaIndex, in an environment of their own: they hold another release of OpenAI's client."""

import re
import sys
from pathlib import Path

import pytest

from tests.live.gateway.clients.programs import ran

FRAMEWORKS = Path(__file__).parents[3] / "frameworks"

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
async def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with the frameworks, as the lock file has them."""
    folder = tmp_path_factory.mktemp("frameworks")
    own = folder / "venv" / "bin" / "python"
    lock = FRAMEWORKS / "requirements.lock"
    for command in (
        (sys.executable, "-m", "uv", "venv", "--quiet", "--python", sys.executable, folder / "venv"),
        (sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", own, "-r", lock),
    ):
        code, output = await ran(folder, *command)
        assert code == 0, output
    return own


async def test_the_frameworks(checked: str, key: str, python: Path, tmp_path: Path) -> None:
    suite = FRAMEWORKS / "suite.py"
    # Neither may ask the network for anything but the gateway.
    told = {"MILLRACE_URL": checked, "MILLRACE_KEY": key, "LANGSMITH_TRACING": "false", "PYTHONWARNINGS": "ignore"}
    code, output = await ran(tmp_path, python, suite, **told)
    assert code == 0, output
    declared = len(re.findall(r"^@case$", suite.read_text(encoding="utf-8"), re.MULTILINE))
    assert len(re.findall(r"^ok ", output, re.MULTILINE)) == declared > 0, output
