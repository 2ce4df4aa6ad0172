"""A language model on this machine: llama.cpp's server with the pinned small model or a user's own GGUF file.

Only where `millrace up --llm` asked for one. Its answers are the model's, not checked by anybody: the extractive
answerer stays behind it and answers where it cannot.
"""

import asyncio
import os
import sys
from importlib.util import find_spec
from pathlib import Path

from infra.llama.settings import REQUIREMENT
from infra.llama.weights import PINNED, WeightsError, called, checked
from infra.local.artifacts import model, verified
from infra.local.http import answers
from infra.local.program import LOOPBACK, Program, Site, StartError, Tell

INSTALL = f"{sys.executable} -m pip install '{REQUIREMENT}'"
"""The command that brings what the extra `llama` names, for messages."""
LOADED_WITHIN_S = 600
"""A model of some gigabytes from a slow disk."""
TUNED = ("MILLRACE_LLM_CONTEXT", "MILLRACE_LLM_SLOTS", "MILLRACE_LLM_THREADS")
ASK_EVERY_S, SILENT_S = 5.0, 30.0
"""Native code that hangs does not end: it is asked now and then, and replaced when it has not answered for so long."""


class Llm:
    """The model server. Nothing of it is kept but its log."""

    name = "llm"

    def __init__(self, site: Site) -> None:
        self._site = site
        self._model = site.record.llm

    @property
    def artifacts(self) -> tuple[str, ...]:
        """The pinned weights, unless a file was given."""
        return (PINNED[self._model],) if self._model in PINNED else ()

    async def prepare(self, tell: Tell) -> None:
        """Check package and weights."""
        if find_spec("xllamacpp") is None:
            raise StartError(f"no llama.cpp, which `--llm` needs: `{INSTALL}`")
        tell("checking the weights")
        try:
            await asyncio.to_thread(self._weights)
        except WeightsError as fault:
            raise StartError(str(fault)) from fault

    def program(self) -> Program:
        """Return the server. Its key goes by the environment, not by the command line."""
        port, key = self._site.port(self.name), self._site.secrets.llm
        weights = self._path()
        return Program(
            name=self.name,
            command=(sys.executable, "-m", "infra.llama"),
            environment={
                "MILLRACE_LLM_MODEL": str(weights),
                "MILLRACE_LLM_NAME": called(self._model),
                "MILLRACE_LLM_HOST": LOOPBACK,
                "MILLRACE_LLM_PORT": str(port),
                "MILLRACE_LLM_API_KEY": key,
            }
            # Part of what makes it what it is: `up` with another value replaces the process.
            | {name: os.environ[name] for name in TUNED if name in os.environ},
            port=port,
            # Behind the key, unlike /health, and 503 while the model loads.
            ready=lambda: answers(LOOPBACK, port, "/v1/models", {"Authorization": f"Bearer {key}"}),
            start_within_s=LOADED_WITHIN_S,
            stop_within_s=5,
            ask_every_s=ASK_EVERY_S,
            silent_s=SILENT_S,
        )

    def _path(self) -> Path:
        if self._model in PINNED:
            return self._site.cache / model(PINNED[self._model]).files[0].path
        return Path(self._model)

    def _weights(self) -> None:
        if self._model in PINNED:
            verified(model(PINNED[self._model]).files, self._site.cache)
        checked(self._path())
