"""Imports run one way, and workers know nothing of each other."""

import subprocess
import sys
from pathlib import Path

import grimp
import pytest

from tests.contract.code import PACKAGES, REPOSITORY


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph(*PACKAGES, cache_dir=None)


def test_imports_run_one_way() -> None:
    # A process of its own: its set-up of logging disables every logger that is there, for all tests that follow.
    command = (Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo")
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_worker_imports_another(graph: grimp.ImportGraph) -> None:
    folders = [module for module in graph.find_children("workers") if graph.find_children(module)]
    assert len(folders) > 5
    crossing = [
        f"{importer} -> {imported}"
        for folder in folders
        for importer in (folder, *graph.find_descendants(folder))
        for imported in graph.find_modules_directly_imported_by(importer)
        for other in folders
        if other != folder and (imported == other or imported.startswith(f"{other}."))
    ]
    assert crossing == []


@pytest.mark.parametrize("package", ["infra", "gateway"])
def test_nothing_below_or_beside_imports_a_worker(graph: grimp.ImportGraph, package: str) -> None:
    """Among others: a command starts processes and talks HTTP, it never runs a worker in its own process."""
    assert not graph.direct_import_exists(importer=package, imported="workers", as_packages=True)


def test_schemas_need_pydantic_only() -> None:
    graph = grimp.build_graph("schemas", include_external_packages=True, cache_dir=None)
    modules = {"schemas", *graph.find_descendants("schemas")}
    outside = {imported for module in modules for imported in graph.find_modules_directly_imported_by(module)} - modules
    assert outside - sys.stdlib_module_names == {"pydantic"}
