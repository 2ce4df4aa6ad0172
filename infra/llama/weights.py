"""Which weights can be served: the pinned small model by its name, or any GGUF file."""

from pathlib import Path

SMOLLM2 = "smollm2"
"""SmolLM2-135M-Instruct in 4 bits, 98 MB. It writes real sentences and invents much: for trying and testing."""
PINNED = {SMOLLM2: "SmolLM2-135M-Instruct"}
"""Names in `artifacts.lock`, by what users call them."""
_MAGIC = b"GGUF"
"""The first bytes of such a file (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md)."""


class WeightsError(ValueError):
    """These are no weights that can be served; the message says what may be given."""


def checked(given: str | Path) -> Path:
    """Return the absolute path of a GGUF file. Raises WeightsError if it is none."""
    path = Path(given).expanduser().absolute()
    try:
        with path.open("rb") as file:
            begins = file.read(len(_MAGIC))
    except OSError as fault:
        raise WeightsError(f"{path}: {fault.strerror}; give the path of a GGUF file, or {SMOLLM2}") from fault
    if begins != _MAGIC:
        raise WeightsError(f"{path} is no GGUF file: its first bytes are not {_MAGIC.decode()}")
    return path


def called(model: str) -> str:
    """Return what a model is called: a pinned one by its own name, a file by its name without the ending."""
    return model if model in PINNED else Path(model).stem
