"""OpenAI's list of models."""

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from gateway.auth import NEEDS_KEY
from gateway.completing import DEFAULT_MODEL, EMBEDDING_MODEL
from gateway.connections import Connections, Held
from gateway.documenting import AUTHENTICATED, problems
from gateway.problems import MODELS_PATH, Code, Problem
from infra.errors import Transient

router = APIRouter(tags=["chat"], dependencies=[NEEDS_KEY])


class Model(BaseModel):
    """A name that can be asked for. https://platform.openai.com/docs/api-reference/models/object"""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    """Not known here."""
    owned_by: str = "millrace"


class Models(BaseModel):
    """The name that always answers, the encoder, and what the workers' backends serve."""

    object: Literal["list"] = "list"
    data: list[Model]


@router.get(MODELS_PATH, response_model=Models, responses=problems(*AUTHENTICATED))
async def models(held: Held) -> Models:
    """List what can be asked for: `millrace`, which always answers, the encoder, and the models and adapters served."""
    return Models(data=[Model(id=name) for name in await _names(held)])


@router.get(
    MODELS_PATH + "/{model:path}", response_model=Model, responses=problems(*AUTHENTICATED, Code.MODEL_NOT_FOUND)
)
async def model(model: str, held: Held) -> Model:
    """Return one of the listed models."""
    if model not in await _names(held):
        raise Problem(Code.MODEL_NOT_FOUND)
    return Model(id=model)


async def _names(held: Connections) -> list[str]:
    """Return the names of questions and of embeddings that stay, the encoder's own, and those of the models served."""
    try:
        embedding = [EMBEDDING_MODEL, (await held.live_index.get("")).model]
    except Transient:
        # Before the first embedder has started there is nothing to embed with; questions may be answered all the same.
        embedding = []
    return list(dict.fromkeys([DEFAULT_MODEL, *embedding, *held.queue.models()]))
