from collections.abc import AsyncIterator

import pytest

from infra.local.fetch import fetch_model
from infra.models.encoder import Encoder
from infra.models.opening import MINILM, open_encoder
from infra.models.settings import EncoderSettings


@pytest.fixture(scope="session")
async def minilm() -> AsyncIterator[Encoder]:
    """The default encoder with its real weights."""
    await fetch_model(MINILM)
    async with open_encoder(EncoderSettings(encoder="minilm")) as encoder:
        yield encoder
