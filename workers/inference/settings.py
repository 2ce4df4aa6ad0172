"""Settings of the inference worker."""

from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from infra.settings import Settings

PARTITION_CONCURRENCY = 16
"""Prompts of one partition that are taken up at once; INFERENCE_CONCURRENCY bounds those that are answered at once."""


class InferenceSettings(Settings):
    """Which backend answers, and how many answers at once."""

    backend: Literal["", "extractive", "openai"] = Field(default="", alias="INFERENCE_BACKEND")
    """Who answers if the request names no model; empty means `openai` where INFERENCE_URL is set, else `extractive`."""
    url: str = Field(default="", alias="INFERENCE_URL")
    """Address of an OpenAI-compatible server; empty means that there is none."""
    concurrency: int = Field(default=4, ge=1, le=256, alias="INFERENCE_CONCURRENCY")
    attempts: int = Field(default=3, ge=1, le=20, alias="INFERENCE_ATTEMPTS")
    """Tries of one prompt, all before its deadline."""
    reply_margin_s: float = Field(default=0.25, ge=0, alias="INFERENCE_REPLY_MARGIN_S")
    """Answering stops this long before the deadline, so that the asker still hears of it."""


class OpenAISettings(Settings):
    """An OpenAI-compatible server: vLLM, Ollama, llama.cpp, MAX, or a hosted one."""

    url: str = Field(alias="INFERENCE_URL")
    """Up to and including the version, `http://host:port/v1`; an address without a path gets `/v1`."""
    model: str = Field(default="", alias="INFERENCE_MODEL")
    """Model to ask for; empty means the first that the server lists."""
    api_key: SecretStr | None = Field(default=None, alias="INFERENCE_API_KEY")
    max_tokens: int = Field(default=512, ge=1, alias="INFERENCE_MAX_TOKENS")
    """Length of an answer where the request sets none."""
    temperature: float = Field(default=0.0, ge=0, le=2, alias="INFERENCE_TEMPERATURE")
    timeout_s: float = Field(default=120, gt=0, alias="INFERENCE_TIMEOUT_S")
    """Upper bound of one attempt; the request's deadline may be nearer."""


class ExtractiveSettings(Settings):
    """Constants of the extractive answerer, as measured on XQuAD (decision 0005). Recalibrate them from feedback."""

    passages: int = Field(default=5, ge=1, alias="EXTRACTIVE_PASSAGES")
    """Passages whose sentences are candidates."""
    coverage_weight: float = Field(default=0.4, ge=0, alias="EXTRACTIVE_COVERAGE_WEIGHT")
    passage_weight: float = Field(default=0.3, ge=0, alias="EXTRACTIVE_PASSAGE_WEIGHT")
    cosine_weight: float = Field(default=0.2, ge=0, alias="EXTRACTIVE_COSINE_WEIGHT")
    type_weight: float = Field(default=0.1, ge=0, alias="EXTRACTIVE_TYPE_WEIGHT")
    second_at_least: float = Field(default=0.85, ge=0, le=1, alias="EXTRACTIVE_SECOND_AT_LEAST")
    """A second sentence is given if its score is at least this share of the first one's."""
    support_cosine: float = Field(default=8.0, alias="EXTRACTIVE_SUPPORT_COSINE")
    support_coverage: float = Field(default=6.0, alias="EXTRACTIVE_SUPPORT_COVERAGE")
    support_bias: float = Field(default=-8.0, alias="EXTRACTIVE_SUPPORT_BIAS")
    abstain_below: float = Field(default=0.3, ge=0, le=1, alias="EXTRACTIVE_ABSTAIN_BELOW")
    message_kinds: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("message", "chat_message"), alias="EXTRACTIVE_MESSAGE_KINDS"
    )
    """Kinds of document that are chat messages: their sentences keep the order of retrieval. Comma-separated."""

    @field_validator("message_kinds", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value
