"""`millrace up --llm`: the model server as a process of the stack, killed, hung, exchanged and given up."""

import os
import signal
from pathlib import Path

import httpx
import psutil

from infra.local.artifacts import cache_folder, model
from infra.local.state import Secrets
from tests.eventually import eventually
from tests.live.local.conftest import Local, recorded, runs

ASKED = {"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 3}


async def answered(local: Local) -> str:
    """Ask the model of the stack for a few words; return the name under which it answers."""
    told = local.environment
    headers = {"authorization": f"Bearer {told['INFERENCE_API_KEY']}"}
    async with httpx.AsyncClient(base_url=told["INFERENCE_URL"], headers=headers, timeout=60) as client:
        answer = await client.post("/chat/completions", json=ASKED | {"model": told["INFERENCE_MODEL"]})
    assert answer.status_code == 200, answer.text
    assert answer.json()["choices"][0]["message"]["content"]
    return str(answer.json()["model"])


async def test_a_model_runs_beside_the_servers_and_comes_back_when_it_ends(local: Local) -> None:
    local("up", "--only", "valkey", "--llm", "smollm2")
    assert runs(local) == {"valkey", "llm"}
    assert await answered(local) == "smollm2"
    line = local.status()["llm"]
    assert line.pid is not None
    assert 150e6 < (line.pss_bytes or 0) < 900e6, "its memory is in the status"
    secrets = Secrets.read(local.home)
    assert secrets is not None
    assert secrets.llm not in " ".join(psutil.Process(line.pid).cmdline())
    url = local.environment["INFERENCE_URL"]
    async with httpx.AsyncClient(base_url=url) as client:
        for headers in ({}, {"authorization": "Bearer guessed"}):
            assert (await client.post("/chat/completions", json=ASKED, headers=headers)).status_code == 401
        # A page in somebody's browser must not read what the server says.
        assert not (await client.get("/models", headers={"origin": "http://evil.example"})).headers.get(
            "access-control-allow-origin"
        )

    local.kill("llm")
    await eventually(lambda: local.status()["llm"].restarts == 1 and local.status()["llm"].state == "ready", within=60)
    assert await answered(local) == "smollm2"

    pid = local.pids()["llm"]
    os.kill(pid, signal.SIGSTOP)
    await eventually(lambda: local.status()["llm"].restarts == 2 and local.status()["llm"].state == "ready", within=120)
    assert local.pids()["llm"] != pid
    assert await answered(local) == "smollm2"
    assert secrets.llm not in local.said + local("logs", "llm")


async def test_the_model_is_kept_exchanged_and_given_up(local: Local, tmp_path: Path) -> None:
    (pinned,) = model("SmolLM2-135M-Instruct").files
    local("up", "--only", "valkey", "--llm", "smollm2")
    valkey = local.pids()["valkey"]
    mine = tmp_path / "mine.gguf"
    mine.symlink_to(cache_folder() / pinned.path)
    local("up", "--only", "valkey", "--llm", str(mine))
    assert await answered(local) == "mine"
    assert local.pids()["valkey"] == valkey
    local("down")
    local("up", "--only", "valkey")
    assert runs(local) == {"valkey"}, "a part of the stack is just that part"
    assert local.environment["INFERENCE_MODEL"] == "mine"
    local("up", "--only", "valkey", "--llm", str(mine))
    assert await answered(local) == "mine"
    local("up", "--only", "valkey", "--llm", "none")
    assert runs(local) == {"valkey"}
    assert "llm" not in recorded(local).processes
    assert "INFERENCE_URL" not in local.environment
