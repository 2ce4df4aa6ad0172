from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.eventually import block
from workers.normalizer import language
from workers.normalizer.language import language_of


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("The wheel must move within half a minute after the sluice was opened.", "en"),
        ("Das Wehr wird erst geöffnet, wenn niemand mehr auf dem Mahlboden steht.", "de"),
        ("La roue doit tourner une demi-minute après l'ouverture de la vanne.", "fr"),
        (
            "水車は水門を開けてから三十秒以内に動かなければなりません。そうでなければ水門を閉じて流木を探してください。",
            "ja",
        ),
    ],
)
def test_languages(text: str, code: str) -> None:
    assert language_of(text) == code


@pytest.mark.parametrize("text", ["", "ok", "v1.2.3", "1234567890 " * 50, "Hello world"])
def test_too_little_to_tell(text: str) -> None:
    assert language_of(text) == ""


def test_threads_that_begin_at_once_load_one_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each model takes 80 MB: a worker that began with four of them stood at twice its memory."""
    loads: list[str] = []

    class Model:
        @classmethod
        def from_model_file(cls, name: str, norm_probs: bool) -> "Model":
            loads.append(name)
            block(0.2)
            return cls()

        def classify(self, text: str) -> tuple[str, float]:
            return "en", 1.0

    text = "The wheel turns, the stones grind and the flour falls."
    monkeypatch.setattr(language, "LanguageIdentifier", Model)
    language._loaded.cache_clear()
    try:
        with ThreadPoolExecutor(4) as threads:
            assert list(threads.map(language_of, [text] * 4)) == ["en"] * 4
    finally:
        language._loaded.cache_clear()
    assert len(loads) == 1
