"""Which files of a folder are documents."""

import os
from pathlib import Path

import pytest

from infra.cli.files import Found, Left, Selection, find, sha256_of

ALL = Selection()


def write(root: Path, *names: str, content: bytes = b"text\n") -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def found(root: Path, selection: Selection = ALL) -> list[str]:
    return [each.external_id for each in find(root, selection) if isinstance(each, Found)]


def left(root: Path) -> list[tuple[str, str, bool]]:
    return [(each.name, each.reason, each.failed) for each in find(root, ALL) if isinstance(each, Left)]


def test_a_folder_is_read_in_order_with_paths_relative_to_it(tmp_path: Path) -> None:
    write(tmp_path, "b.md", "a/z.txt", "a/b/c.py", "über.md")
    assert found(tmp_path) == ["b.md", "über.md", "a/z.txt", "a/b/c.py"]


def test_hidden_and_derived_folders_are_passed_over(tmp_path: Path) -> None:
    write(tmp_path, ".git/config", ".env", "node_modules/x.js", "a/__pycache__/y.txt", "a/.venv/z.txt", "a/kept.md")
    assert found(tmp_path) == ["a/kept.md"]
    assert left(tmp_path) == []


def test_suffixes_and_patterns_select(tmp_path: Path) -> None:
    write(tmp_path, "a.md", "B.MD", "c.txt", "drafts/d.md", "e.md.bak")
    assert found(tmp_path, Selection.of(["md"], [])) == ["B.MD", "a.md", "drafts/d.md"]
    assert found(tmp_path, Selection.of([".MD"], ["drafts/*", "B*"])) == ["a.md"]


def test_binary_and_empty_files_are_left_out_with_their_reason(tmp_path: Path) -> None:
    write(tmp_path, "a.png", content=b"\x89PNG\0\0")
    write(tmp_path, "b.pdf", "c.DOCX", content=b"%PDF\0")
    write(tmp_path, "d.txt", content="wide".encode("utf-16"))
    write(tmp_path, "e.md", content=b"")
    write(tmp_path, "f", content=b"\0")
    assert found(tmp_path) == ["b.pdf", "c.DOCX", "d.txt"]
    assert left(tmp_path) == [
        ("a.png", "unsupported: binary .png", False),
        ("e.md", "empty", False),
        ("f", "unsupported: binary file", False),
    ]


def test_a_file_that_was_named_must_be_good(tmp_path: Path) -> None:
    write(tmp_path, "a.png", content=b"\0")
    assert list(find(tmp_path / "a.png", ALL)) == [Left("a.png", "unsupported: binary .png", failed=True)]
    assert list(find(tmp_path / "none", ALL)) == [Left(str(tmp_path / "none"), "does not exist", failed=True)]
    write(tmp_path, "good.md")
    assert list(find(tmp_path / "good.md", ALL)) == [Found(tmp_path / "good.md", "good.md", 5)]


def test_what_cannot_be_read_is_a_failure_and_the_rest_goes_on(tmp_path: Path) -> None:
    write(tmp_path, "a.md")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "broken.md").symlink_to(tmp_path / "gone.md")
    assert found(tmp_path) == ["a.md"]
    assert left(tmp_path) == [
        ("broken.md", "not a regular file", False),
        ("pipe", "not a regular file", False),
    ]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_closed_file_is_a_failure(tmp_path: Path) -> None:
    write(tmp_path, "a.md", "b/c.md")
    (tmp_path / "a.md").chmod(0)
    (tmp_path / "b").chmod(0)
    try:
        assert [(reason, failed) for _, reason, failed in left(tmp_path)] == [("Permission denied", True)] * 2
    finally:
        (tmp_path / "b").chmod(0o700)


def test_a_link_that_leaves_the_folder_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, "outside/secret.txt", "root/a.md")
    (tmp_path / "root" / "link.txt").symlink_to(tmp_path / "outside" / "secret.txt")
    (tmp_path / "root" / "inside.md").symlink_to(tmp_path / "root" / "a.md")
    (tmp_path / "root" / "folder").symlink_to(tmp_path / "outside")
    assert found(tmp_path / "root") == ["a.md", "inside.md"]
    assert left(tmp_path / "root") == [("link.txt", "a link that leaves the folder", False)]


def test_the_hash_is_that_of_the_bytes(tmp_path: Path) -> None:
    write(tmp_path, "a", content=b"abc")
    assert sha256_of(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
