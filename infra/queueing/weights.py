"""Shares of workspaces, as settings name them."""

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator
from pydantic_settings import NoDecode


def _shares(value: object) -> object:
    if not isinstance(value, str):
        return value
    parts = [part.partition("=") for part in value.split(",") if part.strip()]
    return {name.strip(): share.strip() for name, _, share in parts}


def _positive(value: dict[str, float]) -> dict[str, float]:
    if any(not 0 < share < float("inf") for share in value.values()):
        raise ValueError("a share is a number above 0")
    return value


Weights = Annotated[dict[str, float], NoDecode, BeforeValidator(_shares), AfterValidator(_positive)]
"""As `acme=3,other=0.5`; 1 for each workspace that is not named."""
