"""The catalogue file: read back as written, replaced whole, owned by one process."""

import os
from pathlib import Path

import orjson
import pytest

from infra.qdrant.door import catalogue as catalogues
from infra.qdrant.door.catalogue import Catalogue, Entry, Occupied, Unreadable

ONE = Catalogue({"one": Entry("f1", {"vectors": {}})}, {"live": "one"})


def test_a_new_folder_has_an_empty_catalogue(tmp_path: Path) -> None:
    assert catalogues.read(tmp_path) == Catalogue({}, {})


def test_it_is_read_back_as_written(tmp_path: Path) -> None:
    catalogues.write(tmp_path, ONE)
    assert catalogues.read(tmp_path) == ONE


def test_a_crash_before_the_rename_leaves_the_old_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalogues.write(tmp_path, ONE)

    def crash(_: Path, __: Path) -> None:
        raise OSError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", crash)
        with pytest.raises(OSError, match="power cut"):
            catalogues.write(tmp_path, ONE.without_collection("one"))
    assert catalogues.read(tmp_path) == ONE


def test_the_file_is_synced_before_it_is_renamed_and_the_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    sync, rename = os.fsync, Path.replace

    def synced(handle: int) -> None:
        done.append("sync")
        sync(handle)

    def renamed(path: Path, target: Path) -> Path:
        done.append("rename")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", renamed)
    catalogues.write(tmp_path, ONE)
    assert done == ["sync", "rename", "sync"]


def test_another_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "catalogue.json").write_bytes(orjson.dumps({"format": 99}))
    with pytest.raises(Unreadable, match="format 99"):
        catalogues.read(tmp_path)


def test_a_collection_takes_its_aliases_along() -> None:
    two = ONE.with_collection("two", Entry("f2", {})).with_aliases({"live": "one", "next": "two"})
    assert two.without_collection("one") == Catalogue({"two": Entry("f2", {})}, {"next": "two"})


def test_a_folder_is_locked_until_it_is_let_go(tmp_path: Path) -> None:
    held = catalogues.lock(tmp_path)
    with pytest.raises(Occupied):
        catalogues.lock(tmp_path)
    os.close(held)
    os.close(catalogues.lock(tmp_path))


def test_a_file_that_is_renamed_under_the_look_is_synced_by_its_new_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wal").mkdir()
    (tmp_path / "wal" / "tmp-1").write_bytes(b"a segment")
    opened: list[str] = []
    really = os.open

    def renaming(path: os.PathLike[str], flags: int) -> int:
        if Path(path).name == "tmp-1":
            Path(path).rename(tmp_path / "wal" / "open-1")
        opened.append(Path(path).name)
        return really(path, flags)

    monkeypatch.setattr(os, "open", renaming)
    catalogues.sync_tree(tmp_path)
    assert "open-1" in opened


def test_what_vanishes_at_every_look_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(path: object, flags: int) -> int:
        raise FileNotFoundError

    monkeypatch.setattr(os, "open", missing)
    with pytest.raises(FileNotFoundError):
        catalogues.sync_tree(tmp_path)
