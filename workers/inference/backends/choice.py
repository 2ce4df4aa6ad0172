"""Opens the backends that the settings name."""

from infra.settings import SettingsError, load
from workers.inference.backends.backend import Backend
from workers.inference.backends.extractive import ExtractiveBackend
from workers.inference.backends.openai import OpenAIBackend
from workers.inference.settings import ExtractiveSettings, InferenceSettings, OpenAISettings


def open_backends(settings: InferenceSettings) -> list[Backend]:
    """Return the backends, the default first. Raises SettingsError if the default one has no address.

    The extractive one is always there: a request may name it.
    """
    backends: list[Backend] = [ExtractiveBackend(load(ExtractiveSettings))]
    if settings.url:
        backends.append(OpenAIBackend(load(OpenAISettings)))
    wanted = settings.backend or ("openai" if settings.url else "extractive")
    if wanted == "openai" and not settings.url:
        raise SettingsError("bad settings: INFERENCE_URL: the backend openai needs the address of its server")
    return sorted(backends, key=lambda backend: backend.name != wanted)
