"""Imports OpenVINO without its telemetry.

`import openvino` imports its model converter, which reports the import to Google Analytics and leaves a client id in
`~/intel` unless asked not to beforehand (openvino 2026.4, `openvino/tools/ovc/__init__.py`). A self-hosted platform
reports nothing to anyone. A module that is None in `sys.modules` raises ImportError when imported, and OpenVINO then
goes without the converter, which nothing here uses, and takes its own stub in place of the telemetry.

Whatever needs OpenVINO takes `ov` and `op` from here; a test sees to it that nobody reports.
"""

import sys
from typing import Any

_CONVERTER = "openvino.tools.ovc"


def _without_telemetry() -> tuple[Any, Any]:
    # Any: mypy knows no module that is None, which is what the import system asks for.
    modules: Any = sys.modules
    modules.setdefault("openvino_telemetry", None)
    block = _CONVERTER not in modules
    if block:
        modules[_CONVERTER] = None
    try:
        import openvino  # type: ignore[import-untyped]  # ships no types
        from openvino import opset13
    finally:
        if block:
            del modules[_CONVERTER]
    return openvino, opset13


ov, op = _without_telemetry()
