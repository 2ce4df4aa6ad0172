import hashlib
import re
from pathlib import Path

import pytest

from infra.local import artifacts
from infra.local.artifacts import Artifact, ArtifactError


def artifact(path: str, content: bytes) -> Artifact:
    return Artifact(path, len(content), hashlib.sha256(content).hexdigest(), "here")


@pytest.fixture
def pair(tmp_path: Path) -> list[Artifact]:
    """Two files, as the lock would name them, in the cache `tmp_path`."""
    for name, content in (("one", b"first"), ("two", b"second")):
        (tmp_path / name).write_bytes(content)
    return [artifact("one", b"first"), artifact("two", b"second")]


def test_intact_files_are_verified_in_the_order_asked_for(tmp_path: Path, pair: list[Artifact]) -> None:
    assert artifacts.verified(reversed(pair), tmp_path) == [tmp_path / "two", tmp_path / "one"]


def test_an_altered_file_of_the_same_size_is_refused_by_name(tmp_path: Path, pair: list[Artifact]) -> None:
    (tmp_path / "two").write_bytes(b"secone")
    assert artifacts.absent(pair, tmp_path) == []
    assert artifacts.unfit(pair, tmp_path) == [pair[1]]
    with pytest.raises(ArtifactError, match=r"two: .*python -m infra\.local\.fetch"):
        artifacts.verified(pair, tmp_path)


def test_a_missing_and_a_short_file_are_to_be_fetched(tmp_path: Path, pair: list[Artifact]) -> None:
    (tmp_path / "one").unlink()
    (tmp_path / "two").write_bytes(b"sec")
    assert artifacts.absent(pair, tmp_path) == pair
    with pytest.raises(ArtifactError, match="and 1 more"):
        artifacts.verified(pair, tmp_path)


def test_the_lock_names_every_file_once_with_size_and_hash() -> None:
    for name in (*artifacts.programs(), *artifacts.models()):
        files = artifacts.named(name)
        assert len({one.path for one in files}) == len(files) > 0
        assert all(re.fullmatch(r"[0-9a-f]{64}", one.sha256) and one.size > 0 for one in files)


def test_the_lock_names_no_host() -> None:
    assert "://" not in artifacts.LOCK.read_text()


def test_a_jar_stands_below_the_repository_where_its_coordinates_say() -> None:
    kafka = next(one for one in artifacts.jars("kafka") if "/kafka_2.13-" in one.path)
    folder, _, file = kafka.source.rpartition("/")
    assert folder.startswith("org/apache/kafka/kafka_2.13/")
    assert kafka.path == f"jars/org.apache.kafka/{file}"


def test_a_classifier_is_part_of_the_file_name() -> None:
    natives = [one.source for one in artifacts.jars("neo4j") if "netty-transport-native-epoll" in one.source]
    assert any(re.search(r"/netty-transport-native-epoll-[\d.]+Final-linux-x86_64\.jar$", one) for one in natives)


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MILLRACE_CACHE", str(tmp_path / "cache"))
    assert artifacts.cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("MILLRACE_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert artifacts.cache_folder() == tmp_path / ".cache" / "millrace"


def test_a_model_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError):
        artifacts.model_folder("all-MiniLM-L6-v2", tmp_path)
