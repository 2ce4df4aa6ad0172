"""`python -m infra.llama`: serve a language model by llama.cpp until SIGTERM.

OpenAI's protocol under `/v1`, on loopback unless told otherwise, behind a key. A process of its own: native code that
crashes takes nobody with it, and whoever keeps the process starts it again.
"""

import os
import signal
import sys
from typing import TYPE_CHECKING

from infra.llama.settings import REQUIREMENT, LlamaSettings
from infra.llama.weights import WeightsError, called, checked
from infra.settings import SettingsError, load

if TYPE_CHECKING:
    import xllamacpp

WARNINGS = 2
"""What llama.cpp says from here up; more of it would be a line per token."""


def run() -> int:
    """Serve; return the exit code: 0 stopped, 1 the model cannot be loaded, 2 bad settings."""
    # Before the server's threads: they inherit the mask, and the signal waits for `sigwait`.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    try:
        settings = load(LlamaSettings)
        checked(settings.model)
    except (SettingsError, WeightsError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    try:
        import xllamacpp
    except ImportError:
        sys.stderr.write(f"no llama.cpp: `{sys.executable} -m pip install '{REQUIREMENT}'`\n")
        return 2
    try:
        server = xllamacpp.Server(_parameters(settings))
    except RuntimeError as error:
        sys.stderr.write(f"{settings.model} cannot be served: {error}\n")
        return 1
    sys.stderr.write(f"serving {settings.model.name} at {server.listening_address}\n")
    sys.stderr.flush()
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    # Not by collecting it: with an answer under way that never ends (seen with 2026.10.11549).
    os._exit(0)


def _parameters(settings: LlamaSettings) -> "xllamacpp.CommonParams":
    """Return the settings in llama.cpp's own terms."""
    import xllamacpp

    wanted = xllamacpp.CommonParams()
    wanted.model.path = str(checked(settings.model))
    wanted.model_alias = {settings.name or called(str(settings.model))}
    wanted.hostnames = [settings.host]
    wanted.port = settings.port
    wanted.api_keys = [settings.api_key.get_secret_value()]
    # Open by default: a page in somebody's browser could ask a server on loopback.
    wanted.cors_origins = ""
    wanted.ui = False
    wanted.n_parallel = settings.slots
    # Of all slots together, divided evenly.
    wanted.n_ctx = settings.context * settings.slots
    threads = settings.threads or len(os.sched_getaffinity(0))
    wanted.cpuparams.n_threads = threads
    wanted.cpuparams_batch.n_threads = threads
    # Prompts that were answered stay in their slots; by default up to 8 GiB of earlier ones would stay as well.
    wanted.cache_ram_mib = 0
    wanted.verbosity = WARNINGS
    return wanted


if __name__ == "__main__":
    sys.exit(run())
