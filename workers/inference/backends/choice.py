"""Opens the backends that the settings name."""

from infra.settings import SettingsError, load
from workers.inference.backends.backend import Backend
from workers.inference.backends.extractive import ExtractiveBackend
from workers.inference.backends.openai import OpenAIBackend
from workers.inference.settings import ExtractiveSettings, InferenceSettings, OpenAISettings, SecondSettings


def open_backends(settings: InferenceSettings) -> list[Backend]:
    """Return the backends: first the default one, then the others from the best to the last resort.

    Raises SettingsError if the default one, or the one that a second would stand in for, has no address. The
    extractive one is always there: it needs nothing.
    """
    backends: list[Backend] = []
    if settings.url:
        main = load(OpenAISettings)
        backends.append(OpenAIBackend(main))
        if settings.second_url:
            second = load(SecondSettings)
            given = {"url": second.url, "model": second.model, "models": (), "api_key": second.api_key}
            backends.append(OpenAIBackend(main.model_copy(update=given), name="second"))
    elif settings.second_url:
        raise SettingsError("bad settings: INFERENCE_URL: a second server stands in for a first one")
    backends.append(ExtractiveBackend(load(ExtractiveSettings)))
    wanted = settings.backend or backends[0].name
    if wanted == "openai" and not settings.url:
        raise SettingsError("bad settings: INFERENCE_URL: the backend openai needs the address of its server")
    return sorted(backends, key=lambda backend: backend.name != wanted)
