"""What llama.cpp is told, and what is said of weights and settings that cannot be served."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra.llama.__main__ import _parameters
from infra.llama.settings import LlamaSettings

MODEL = b"GGUF" + bytes(60)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "mine-1b.gguf"
    path.write_bytes(MODEL)
    return path


def told(weights: Path, **fields: object) -> LlamaSettings:
    return LlamaSettings.model_validate({"MILLRACE_LLM_MODEL": weights, "MILLRACE_LLM_API_KEY": "hidden", **fields})


def test_the_context_is_that_of_each_slot(weights: Path) -> None:
    wanted = _parameters(told(weights, MILLRACE_LLM_CONTEXT=1_000, MILLRACE_LLM_SLOTS=3))
    assert (wanted.n_parallel, wanted.n_ctx) == (3, 3_000)


def test_nobody_gets_in_without_the_key_and_no_page_from_elsewhere(weights: Path) -> None:
    wanted = _parameters(told(weights))
    assert wanted.api_keys == ["hidden"]
    assert wanted.hostnames == ["127.0.0.1"]
    assert wanted.cors_origins == ""
    assert wanted.ui is False


def test_threads_are_those_that_the_process_has_unless_told(weights: Path) -> None:
    cores = len(os.sched_getaffinity(0))
    for given, threads in ((0, cores), (3, 3)):
        wanted = _parameters(told(weights, MILLRACE_LLM_THREADS=given))
        assert (wanted.cpuparams.n_threads, wanted.cpuparams_batch.n_threads) == (threads, threads)


def test_the_model_is_called_after_its_file_unless_named(weights: Path) -> None:
    assert _parameters(told(weights)).model_alias == {"mine-1b"}
    assert _parameters(told(weights, MILLRACE_LLM_NAME="small")).model_alias == {"small"}


def serve(**environment: str) -> "subprocess.CompletedProcess[str]":
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MILLRACE_LLM_")}
    return subprocess.run(
        [sys.executable, "-m", "infra.llama"],
        env=clean | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_settings_that_are_missing_are_named(weights: Path) -> None:
    done = serve(MILLRACE_LLM_MODEL=str(weights), MILLRACE_LLM_API_KEY="")
    assert (done.returncode, "MILLRACE_LLM_API_KEY" in done.stderr) == (2, True)


def test_a_file_that_is_no_model_is_told_from_one_that_cannot_be_loaded(weights: Path, tmp_path: Path) -> None:
    done = serve(MILLRACE_LLM_MODEL=str(weights), MILLRACE_LLM_API_KEY="hidden")
    assert (done.returncode, "cannot be served" in done.stderr) == (1, True)
    assert "hidden" not in done.stderr
    weights.write_text("<html>")
    done = serve(MILLRACE_LLM_MODEL=str(weights), MILLRACE_LLM_API_KEY="hidden")
    assert (done.returncode, "is no GGUF file" in done.stderr) == (2, True)
