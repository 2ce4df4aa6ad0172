"""Settings of the retriever."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from infra.queueing.weights import Weights
from infra.settings import Settings
from schemas.chat import LONGEST_PATIENCE_S

ENCODED_AT_ONCE = 2
"""Slices of embedding requests that are encoded at once."""
ROUNDING = 1e-6
MOST_SYSTEM = 0.5
DEFAULT_SHARES: Mapping[str, float] = {"system": 0.25, "memory": 0.0, "retrieved": 0.75, "history": 0.25}
"""How a prompt's budget of tokens is shared: `system` is of the whole and bounds what the asking application adds to
the policy; the others are of what policy and question leave, and are 1 together. Nothing fills `memory` yet."""


class RetrieverSettings(Settings):
    """How candidates are found, fused and shown to a language model. Defaults as measured in decision 0005."""

    concurrency: int = Field(default=8, ge=1, le=256, alias="RETRIEVER_CONCURRENCY")
    """Questions that are searched for at once."""
    weights: Weights = Field(default_factory=dict, alias="INFERENCE_WEIGHTS")
    """Shares of the workspaces in these turns too: as `acme=3,other=0.5`; 1 for each that is not named."""
    cancels_remembered_s: float = Field(
        default=LONGEST_PATIENCE_S, ge=LONGEST_PATIENCE_S, alias="INFERENCE_CANCELS_REMEMBERED_S"
    )
    """At least the longest deadline: a cancel can come before its question."""
    candidates: int = Field(default=100, ge=1, le=1_000, alias="RETRIEVER_CANDIDATES")
    """Length of the dense and of the sparse list that are fused."""
    dense_weight: float = Field(default=0.5, ge=0, le=1, alias="RETRIEVER_DENSE_WEIGHT")
    """Share of the dense list in the fused score; the sparse list has the rest."""
    word_dense_weight: float = Field(default=0.05, ge=0, le=1, alias="RETRIEVER_WORD_DENSE_WEIGHT")
    """The same for a question of one word, or one identifier, that fewer than `candidates` chunks hold."""
    author_bonus: float = Field(default=0.1, ge=0, le=1, alias="RETRIEVER_AUTHOR_BONUS")
    """Added to a candidate whose author the question names."""
    index_ttl_s: float = Field(default=5, ge=0, alias="RETRIEVER_INDEX_TTL_S")
    """Seconds for which the live index row is believed: how long a switch of the live index takes to be seen."""
    further_encoders: Annotated[tuple[str, ...], NoDecode] = Field(default=(), alias="RETRIEVER_FURTHER_ENCODERS")
    """Encoders opened beside MILLRACE_ENCODER, in its syntax, comma-separated: with both the old and the new model of a
    migration here, a switch of the live index leaves no gap."""
    query_vector_ttl_s: int = Field(default=3_600, ge=1, alias="RETRIEVER_QUERY_VECTOR_TTL_S")
    """Life of a question's vector in the cache, where REDIS_URL names one."""
    prompt_tokens: int = Field(default=3_000, ge=256, alias="RETRIEVER_PROMPT_TOKENS")
    """Budget of the messages for a language model, its answer not counted."""
    characters_per_token: float = Field(default=3.5, gt=0, alias="RETRIEVER_CHARACTERS_PER_TOKEN")
    """How tokens are estimated: English prose has about 4 characters per token, code and other languages fewer."""
    prompt_shares: Annotated[Mapping[str, float], NoDecode] = Field(
        default=DEFAULT_SHARES, alias="RETRIEVER_PROMPT_SHARES"
    )
    """As `retrieved=0.6,history=0.4`: those that are named replace the defaults of `DEFAULT_SHARES`."""

    @field_validator("further_encoders", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("prompt_shares", mode="before")
    @classmethod
    def _shares(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        parts = [part.partition("=") for part in value.split(",") if part.strip()]
        return {**DEFAULT_SHARES, **{name.strip(): share.strip() for name, _, share in parts}}

    @field_validator("prompt_shares")
    @classmethod
    def _whole(cls, value: Mapping[str, float]) -> Mapping[str, float]:
        if unknown := sorted(set(value) - set(DEFAULT_SHARES)):
            raise ValueError(f"no part of a prompt: {', '.join(unknown)}; there are {', '.join(DEFAULT_SHARES)}")
        if any(not 0 <= share <= 1 for share in value.values()):
            raise ValueError("a share is a number from 0 to 1")
        rest = sum(share for part, share in value.items() if part != "system")
        if abs(rest - 1) > ROUNDING:
            raise ValueError(f"memory, retrieved and history are 1 together, not {rest:g}")
        if value["system"] > MOST_SYSTEM:
            raise ValueError(f"system is at most {MOST_SYSTEM:g}: the question needs room")
        return value
