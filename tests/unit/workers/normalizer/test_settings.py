import pytest

from infra.settings import SettingsError, load
from workers.normalizer.settings import NormalizerSettings


def test_an_overlap_as_large_as_the_chunk_is_refused_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_CHUNK_CHARS", "200")
    monkeypatch.setenv("MILLRACE_CHUNK_OVERLAP", "200")
    with pytest.raises(SettingsError, match="MILLRACE_CHUNK_OVERLAP"):
        load(NormalizerSettings)


def test_limits_are_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_EXPANSION_MB", "3")
    monkeypatch.setenv("MILLRACE_TEXT_CHARS", "5000")
    limits = load(NormalizerSettings).limits
    assert (limits.expansion, limits.chars) == (3 * 1024 * 1024, 5_000)
