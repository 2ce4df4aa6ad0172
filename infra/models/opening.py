"""Opens the encoder that the settings name, once per process however many workers ask for it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from infra.models.encoder import Encoder, EncoderError
from infra.models.hashed import HashEncoder
from infra.models.settings import EncoderSettings

MINILM = "all-MiniLM-L6-v2"


@dataclass(slots=True)
class _Shared:
    opening: "asyncio.Task[Encoder]"
    users: int = 0


_shared: dict[EncoderSettings, _Shared] = {}


@asynccontextmanager
async def open_encoder(settings: EncoderSettings) -> AsyncIterator[Encoder]:
    """Yield the encoder, shared with whoever has it open in this process: its weights are in memory once.

    Raises EncoderError where a model is missing or of an unknown kind, Transient where its server is away.
    """
    shared = _shared.get(settings)
    if shared is None:
        shared = _shared[settings] = _Shared(asyncio.create_task(_open(settings)))
    shared.users += 1
    try:
        # Shielded: one worker that is stopped while the model loads must not fail the other one.
        yield await asyncio.shield(shared.opening)
    finally:
        shared.users -= 1
        if not shared.users:
            if _shared.get(settings) is shared:
                del _shared[settings]
            await _close(shared.opening)
        elif shared.opening.done() and _failed(shared.opening) and _shared.get(settings) is shared:
            del _shared[settings]


def _failed(opening: "asyncio.Task[Encoder]") -> bool:
    return opening.cancelled() or opening.exception() is not None


async def _close(opening: "asyncio.Task[Encoder]") -> None:
    if not opening.done():
        opening.cancel()
    await asyncio.wait([opening])
    if not _failed(opening):
        await opening.result().close()


async def _open(settings: EncoderSettings) -> Encoder:
    kind, _, rest = settings.encoder.partition(":")
    if settings.encoder == "hash":
        return HashEncoder()
    if settings.encoder == "minilm":
        return await asyncio.to_thread(_pinned, settings)
    if kind == "openai":
        return await _served(rest, settings)
    if kind == "sentence-transformers":
        from infra.models.sentence_transformers import SentenceTransformersEncoder

        return await asyncio.to_thread(SentenceTransformersEncoder.open, rest, settings.device)
    return await asyncio.to_thread(_given, settings)


def _given(settings: EncoderSettings) -> Encoder:
    folder = Path(settings.encoder).expanduser()
    if not folder.is_dir():
        raise EncoderError(
            f"MILLRACE_ENCODER={settings.encoder}: neither minilm, openai:URL#MODEL, sentence-transformers:NAME, "
            "hash, nor an existing folder"
        )
    return _folder(folder, "", settings)


def _pinned(settings: EncoderSettings) -> Encoder:
    from infra.local.artifacts import ArtifactError, model_folder

    try:
        return _folder(model_folder(MINILM), MINILM, settings)
    except ArtifactError as error:
        raise EncoderError(f"the weights of {MINILM} are not in the cache: {error}") from error


def _folder(folder: Path, model_id: str, settings: EncoderSettings) -> Encoder:
    try:
        from infra.models.openvino import OpenVinoEncoder
    except ImportError as error:
        raise EncoderError("OpenVINO is not installed: install the extra `encoder`") from error
    return OpenVinoEncoder.open(folder, model_id, settings.batch_tokens)


async def _served(address: str, settings: EncoderSettings) -> Encoder:
    from infra.models.openai import OpenAIEncoder

    url, _, model = address.partition("#")
    if not url.startswith(("http://", "https://")) or not model:
        raise EncoderError(f"MILLRACE_ENCODER={settings.encoder}: expected openai:http://HOST:PORT#MODEL")
    key = settings.api_key.get_secret_value() if settings.api_key else ""
    return await OpenAIEncoder.open(url, model, key=key, max_tokens=settings.max_tokens, timeout_s=settings.timeout_s)
