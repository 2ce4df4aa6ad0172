import asyncio
from pathlib import Path

import pytest

from infra.telemetry.metrics import REGISTRY
from tests.chats import passage, prompt
from tests.eventually import eventually
from tests.unit.workers.inference.test_answer import ANSWER, Scripted
from workers.inference.answer import Answerer
from workers.inference.routing import RoutingError
from workers.inference.settings import InferenceSettings
from workers.inference.watch import Watch, begin


def shown(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"millrace_{name}", labels) or 0.0


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "routing.yaml"
    path.write_text("routes: {code: b}")
    return path


def settings(path: Path | str) -> InferenceSettings:
    return InferenceSettings(routing=str(path), routing_every_s=0.01)


def answerer() -> Answerer:
    return Answerer([Scripted(ANSWER, name="a"), Scripted(ANSWER, name="b")], InferenceSettings())


async def served(found: Answerer) -> str:
    return (await found.outcome(prompt(passages=[passage()], intent="code"))).served_by


async def test_a_changed_file_is_in_force_soon_and_a_wrong_one_never(file: Path) -> None:
    found = answerer()
    watch = await begin(found, settings(file))
    assert (await served(found), shown("routing_current")) == ("b", 1)
    file.write_text("routes: {code: a}")
    await eventually(lambda: found.fleet.routing.routes["code"].to.backend == "a")
    assert await served(found) == "a"
    refused = shown("routing_reloads_total", outcome="refused")
    file.write_text("routes: {code: nobody}")
    await eventually(lambda: shown("routing_current") == 0)
    assert (await served(found), shown("routing_reloads_total", outcome="refused")) == ("a", refused + 1)
    file.unlink()
    await eventually(lambda: shown("routing_reloads_total", outcome="refused") == refused + 2)
    assert await served(found) == "a"
    file.write_text("routes: {code: b}")
    await eventually(lambda: shown("routing_current") == 1)
    assert await served(found) == "b"
    await watch.close()


async def test_a_wrong_file_at_the_start_ends_the_process(file: Path, tmp_path: Path) -> None:
    file.write_text("routes: {code: nobody}")
    with pytest.raises(RoutingError, match=r"routing\.yaml: routes\.code"):
        await begin(answerer(), settings(file))
    with pytest.raises(RoutingError, match="cannot be read"):
        await begin(answerer(), settings(tmp_path / "none.yaml"))


async def test_the_packaged_file_is_read_where_none_is_named() -> None:
    found = answerer()
    watch: Watch = await begin(found, settings(""))
    assert await served(found) == "a"
    await watch.close()


TWO = "backends: {far: {url: 'http://far'}, near: {url: 'http://near'}}"


async def test_backends_that_stay_as_they_were_are_taken_over_and_the_others_closed(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text(TWO)
    found = answerer()
    watch = await begin(found, settings(file))
    far, near = found.fleet.named("far"), found.fleet.named("near")
    near.users += 1
    file.write_text(TWO.replace("http://near", "http://nearer"))
    await watch.look()
    assert found.fleet.named("far") is far
    assert found.fleet.named("near") is not near
    closed: list[str] = []

    async def close() -> None:
        closed.append("near")

    monkeypatch.setattr(near.backend, "close", close)
    # It is given the chance: what closes it would have run by now.
    await watch.look()
    assert not closed
    near.users -= 1
    near.unused.set()
    await eventually(lambda: closed == ["near"])
    await watch.close()
    await asyncio.gather(far.backend.close(), found.fleet.named("near").backend.close())
