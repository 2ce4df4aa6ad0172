import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
import infra.models.openvino
reporting = [name for name in sys.modules if "telemetry" in name and "openvino" in name and sys.modules[name]]
assert not reporting, reporting
from openvino.tools.ovc.telemetry_utils import tm
assert tm.__name__.endswith("stub"), tm
"""


def test_openvino_reports_nothing_and_leaves_nothing_at_home(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "intel").exists()
