"""The language model of the local stack, as far as that needs no model."""

import tomllib
from pathlib import Path

import pytest

from infra.llama.settings import REQUIREMENT
from infra.llama.weights import WeightsError, called, checked
from infra.local import artifacts
from infra.local.program import Site, StartError
from infra.local.record import StackRecord
from infra.local.servers import llm
from infra.local.state import Home, Secrets
from infra.local.table import LLM, units

REPOSITORY = Path(__file__).parents[4]


def site_of(folder: Path, model: str) -> Site:
    home = Home(folder / "home")
    home.create()
    return Site(home, Secrets.ensure(home), StackRecord(llm=model), folder / "cache")


def gguf(path: Path) -> Path:
    path.write_bytes(b"GGUF" + bytes(20))
    return path


def test_it_is_in_the_table_only_where_it_was_asked_for(tmp_path: Path) -> None:
    assert LLM not in units(site_of(tmp_path, ""))
    unit = units(site_of(tmp_path, "smollm2"))[LLM]
    assert unit.program is not None
    assert unit.stops > units(site_of(tmp_path, ""))["models"].stops


def test_its_key_stands_on_no_command_line_and_its_settings_are_part_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = site_of(tmp_path, str(gguf(tmp_path / "mine-7b.gguf")))
    program = llm.Llm(site).program()
    assert site.secrets.llm not in " ".join(program.command)
    assert program.environment["MILLRACE_LLM_API_KEY"] == site.secrets.llm
    assert program.environment["MILLRACE_LLM_NAME"] == "mine-7b"
    assert program.environment["MILLRACE_LLM_HOST"] == "127.0.0.1"
    monkeypatch.setenv("MILLRACE_LLM_CONTEXT", "8192")
    assert llm.Llm(site).program().fingerprint != program.fingerprint


async def test_the_pinned_weights_are_checked_at_each_start(tmp_path: Path) -> None:
    site = site_of(tmp_path, "smollm2")
    server = llm.Llm(site)
    assert server.artifacts == ("SmolLM2-135M-Instruct",)
    (file,) = artifacts.model("SmolLM2-135M-Instruct").files
    place = site.cache / file.path
    place.parent.mkdir(parents=True)
    place.write_bytes(b"GGUF" + bytes(20))
    with pytest.raises(artifacts.ArtifactError, match=r"artifacts\.lock"):
        await server.prepare(lambda detail: None)


async def test_a_file_that_has_gone_is_told(tmp_path: Path) -> None:
    path = gguf(tmp_path / "mine.gguf")
    server = llm.Llm(site_of(tmp_path, str(path)))
    await server.prepare(lambda detail: None)
    assert server.artifacts == ()
    path.unlink()
    with pytest.raises(StartError, match=r"mine\.gguf"):
        await server.prepare(lambda detail: None)


async def test_without_its_package_it_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llm, "find_spec", lambda name: None)
    with pytest.raises(StartError, match=r"-m pip install 'xllamacpp==[\d.]+'"):
        await llm.Llm(site_of(tmp_path, "smollm2")).prepare(lambda detail: None)


def test_the_extra_is_what_the_message_says() -> None:
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert extras["llama"] == [REQUIREMENT]


def test_only_a_gguf_file_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gguf(tmp_path / "a.gguf")
    monkeypatch.chdir(tmp_path)
    assert checked("a.gguf") == tmp_path / "a.gguf"
    (tmp_path / "b.gguf").write_text("<html>not found</html>")
    with pytest.raises(WeightsError, match="no GGUF file"):
        checked("b.gguf")
    with pytest.raises(WeightsError, match="smollm2"):
        checked("missing.gguf")
    assert [called(name) for name in ("smollm2", "/models/Qwen2.5-7B.Q4_K_M.gguf")] == ["smollm2", "Qwen2.5-7B.Q4_K_M"]
