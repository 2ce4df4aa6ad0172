"""OpenAI's list of models."""

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from gateway.auth import NEEDS_KEY
from gateway.completing import DEFAULT_MODEL
from gateway.documenting import AUTHENTICATED, problems
from gateway.problems import MODELS_PATH, Code, Problem

router = APIRouter(tags=["chat"], dependencies=[NEEDS_KEY])


class Model(BaseModel):
    """A name that can be asked for. https://platform.openai.com/docs/api-reference/models/object"""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    """Not known here."""
    owned_by: str = "millrace"


class Models(BaseModel):
    """The names that always answer."""

    object: Literal["list"] = "list"
    data: list[Model]


_DEFAULT = Model(id=DEFAULT_MODEL)


@router.get(MODELS_PATH, response_model=Models, responses=problems(*AUTHENTICATED))
async def models() -> Models:
    """List the models. Which others the workers' backends serve only they know; those can be asked for too."""
    return Models(data=[_DEFAULT])


@router.get(MODELS_PATH + "/{model}", response_model=Model, responses=problems(*AUTHENTICATED, Code.MODEL_NOT_FOUND))
async def model(model: str) -> Model:
    """Return one of the listed models."""
    if model != DEFAULT_MODEL:
        raise Problem(Code.MODEL_NOT_FOUND)
    return _DEFAULT
