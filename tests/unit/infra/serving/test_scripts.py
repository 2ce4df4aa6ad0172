"""The scripts that start model servers, with stand-ins that print what they were started with."""

import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[4] / "infra" / "serving"


@pytest.fixture
def started(tmp_path: Path) -> "dict[str, str]":
    """An environment in which every server is a program that shows its arguments and variables."""
    for name in ("vllm", "max"):
        program = tmp_path / name
        program.write_text('#!/bin/sh\necho "$@"\nenv\n')
        program.chmod(0o755)
    return {"PATH": f"{tmp_path}:/usr/bin:/bin"}


def run(script: str, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["/bin/sh", str(SCRIPTS / script), *arguments], env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("which", "wanted"),
    [
        (
            "coder",
            (
                "Qwen/Qwen2.5-Coder-7B-Instruct",
                "--port 8001",
                "--enable-lora",
                "LORA_UPDATING=True",
                "--enable-auto-tool-choice --tool-call-parser hermes",
            ),
        ),
        ("reasoning", ("DeepSeek-R1-Distill-Qwen-7B", "--port 8002", "--reasoning-parser deepseek_r1")),
    ],
)
def test_vllm_serves_what_was_named_on_loopback(started: "dict[str, str]", which: str, wanted: tuple[str, ...]) -> None:
    done = run("vllm.sh", which, "--dtype", "half", VLLM_API_KEY="hidden", **started)
    assert done.returncode == 0, done.stderr
    arguments = done.stdout.splitlines()[0]
    assert all(word in done.stdout for word in (*wanted, "--host 127.0.0.1", f"--served-model-name {which}"))
    assert arguments.endswith("--dtype half")
    assert "hidden" not in arguments
    assert "VLLM_API_KEY=hidden" in done.stdout


def test_max_listens_on_loopback(started: "dict[str, str]") -> None:
    done = run("max.sh", "--devices", "cpu", **started)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("serve --model meta-llama/Llama-3.1-8B-Instruct")
    assert "MAX_SERVE_HOST=127.0.0.1" in done.stdout


def test_max_keeps_to_formats_where_it_can(started: "dict[str, str]") -> None:
    assert "--enable-structured-output" in run("max.sh", **started).stdout
    assert "--enable-structured-output" not in run("max.sh", "--devices", "cpu", **started).stdout


@pytest.mark.parametrize("there", [True, False])
def test_ollama_pulls_only_what_is_not_there(tmp_path: Path, *, there: bool) -> None:
    """With a stand-in whose server ends by itself once a model is there."""
    program, log = tmp_path / "ollama", tmp_path / "log"
    served, shown = tmp_path / "served", tmp_path / "shown"
    program.write_text(
        f"""#!/bin/sh
echo "$@" >>{log}
case $1 in
  serve) : >{served}; until [ -e {shown} ]; do :; done ;;
  list) [ -e {served} ] ;;
  show) [ {int(there)} = 1 ] && : >{shown} ;;
  pull) : >{shown} ;;
esac
"""
    )
    program.chmod(0o755)
    done = run("ollama.sh", MODEL="own", PATH=f"{tmp_path}:/usr/bin:/bin")
    assert done.returncode == 0, done.stderr
    called = log.read_text().splitlines()
    assert ("pull own" in called) is not there
    assert "show own" in called


@pytest.mark.parametrize(
    ("script", "arguments", "fault"),
    [
        ("vllm.sh", (), "usage:"),
        ("vllm.sh", ("coder",), "VLLM_API_KEY is not set"),
        ("vllm.sh", ("poet",), "VLLM_API_KEY is not set"),
        ("ollama.sh", (), "no ollama on the PATH"),
    ],
)
def test_what_is_missing_is_said(
    started: "dict[str, str]", script: str, arguments: tuple[str, ...], fault: str
) -> None:
    done = run(script, *arguments, **started)
    assert done.returncode == 2
    assert fault in done.stderr


def test_without_the_program_it_says_so() -> None:
    for script, arguments in (("vllm.sh", ("coder",)), ("max.sh", ()), ("ollama.sh", ())):
        done = run(script, *arguments, PATH="/usr/bin:/bin")
        assert done.returncode == 2
        assert "on the PATH" in done.stderr
