import pytest

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
