import asyncio
from pathlib import Path

import pytest

from infra.models.encoder import EncoderError
from infra.models.opening import open_encoder
from infra.models.settings import EncoderSettings
from infra.settings import SettingsError


def named(encoder: str) -> EncoderSettings:
    return EncoderSettings(encoder=encoder)


async def test_workers_of_one_process_share_an_encoder() -> None:
    async with open_encoder(named("hash")) as first, open_encoder(named("hash")) as second:
        assert first is second
    async with open_encoder(named("hash")) as third:
        assert third is not first


@pytest.mark.parametrize(
    ("encoder", "says"),
    [
        ("no-such-folder", "neither minilm"),
        ("openai:http://127.0.0.1:1", "openai:http://HOST:PORT#MODEL"),
        ("openai:ftp://x#m", "openai:http://HOST:PORT#MODEL"),
    ],
)
async def test_a_wrong_name_is_a_setting_to_mend(encoder: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        async with open_encoder(named(encoder)):
            pass


async def test_a_folder_that_is_no_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=str(tmp_path)):
        async with open_encoder(named(str(tmp_path))):
            pass


async def test_weights_that_were_never_fetched_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_CACHE", str(tmp_path))
    # Settings of its own: one with these may be open, and is then shared.
    unshared = EncoderSettings(encoder="minilm", batch_tokens=64)
    with pytest.raises(EncoderError, match="not in the cache"):
        async with open_encoder(unshared):
            pass


async def test_two_that_wait_for_a_failing_encoder_both_hear_of_it_and_a_third_tries_anew() -> None:
    async def attempt() -> None:
        async with open_encoder(named("missing")):
            pass

    results = await asyncio.gather(attempt(), attempt(), return_exceptions=True)
    assert all(isinstance(result, EncoderError) for result in results)
    with pytest.raises(EncoderError):
        await attempt()


async def test_the_extra_is_named_where_it_is_missing() -> None:
    try:
        import sentence_transformers  # type: ignore[import-not-found]  # noqa: F401
    except ImportError:
        with pytest.raises(EncoderError, match="extra `gpu`"):
            async with open_encoder(named("sentence-transformers:any")):
                pass
