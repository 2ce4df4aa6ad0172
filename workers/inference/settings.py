"""Settings of the inference worker."""

from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from infra.queueing.weights import Weights
from infra.redis.kept_answers import LONGEST_TTL_S
from infra.settings import Settings
from schemas.chat import LONGEST_PATIENCE_S


class InferenceSettings(Settings):
    """Which backend answers, and how many answers at once."""

    backend: Literal["", "extractive", "openai"] = Field(default="", alias="INFERENCE_BACKEND")
    """Who answers if the request names no model; empty means `openai` where INFERENCE_URL is set, else `extractive`."""
    url: str = Field(default="", alias="INFERENCE_URL")
    """Address of an OpenAI-compatible server; empty means that there is none."""
    second_url: str = Field(default="", alias="INFERENCE_SECOND_URL")
    """Address of the server that answers where the first one cannot; empty means that there is none."""
    routing: str = Field(default="", alias="INFERENCE_ROUTING")
    """Path of a routing.yaml; empty means the packaged one, which sends every question to the default backend."""
    routing_every_s: float = Field(default=2, gt=0, alias="INFERENCE_ROUTING_EVERY_S")
    """How often that file is looked at."""
    concurrency: int = Field(default=4, ge=1, le=256, alias="INFERENCE_CONCURRENCY")
    weights: Weights = Field(default_factory=dict, alias="INFERENCE_WEIGHTS")
    """Shares of the workspaces in the slots, as `acme=3,other=0.5`; 1 for each that is not named."""
    attempts: int = Field(default=3, ge=1, le=20, alias="INFERENCE_ATTEMPTS")
    """Tries of one prompt at one backend, all before its deadline."""
    reply_margin_s: float = Field(default=0.25, ge=0, alias="INFERENCE_REPLY_MARGIN_S")
    """Answering stops this long before the deadline, so that the asker still hears of it."""
    fallback_reserve_s: float = Field(default=0.5, ge=0, alias="INFERENCE_FALLBACK_RESERVE_S")
    """A backend is left this much earlier where another one can still answer."""
    breaker_failures: int = Field(default=3, ge=1, alias="INFERENCE_BREAKER_FAILURES")
    """A backend whose attempts fail so many times in a row is left alone."""
    breaker_silence_s: float = Field(default=5, gt=0, alias="INFERENCE_BREAKER_SILENCE_S")
    """An attempt given up after so long without a sign of life counts as failed."""
    breaker_rest_s: float = Field(default=30, gt=0, alias="INFERENCE_BREAKER_REST_S")
    """Then one attempt is let through again."""
    delta_every_s: float = Field(default=0.05, ge=0, le=5, alias="INFERENCE_DELTA_EVERY_S")
    delta_characters: int = Field(default=200, ge=1, alias="INFERENCE_DELTA_CHARACTERS")
    """A delta is published when so many characters are together, or so many seconds after the last one."""
    cancels_remembered_s: float = Field(
        default=LONGEST_PATIENCE_S, ge=LONGEST_PATIENCE_S, alias="INFERENCE_CANCELS_REMEMBERED_S"
    )
    """At least the longest deadline: a cancel can come before its prompt."""


class OpenAISettings(Settings):
    """An OpenAI-compatible server: vLLM, Ollama, llama.cpp, MAX, or a hosted one."""

    url: str = Field(alias="INFERENCE_URL")
    """Up to and including the version, `http://host:port/v1`; an address without a path gets `/v1`."""
    model: str = Field(default="", alias="INFERENCE_MODEL")
    """Model to ask for; empty means the first that the server lists."""
    models: Annotated[tuple[str, ...], NoDecode] = Field(default=(), alias="INFERENCE_MODELS")
    """Further names that requests may ask for, such as LoRA adapters, comma-separated. Those that the server lists need
    not stand here."""
    api_key: SecretStr | None = Field(default=None, alias="INFERENCE_API_KEY")
    max_tokens: int = Field(default=512, ge=1, alias="INFERENCE_MAX_TOKENS")
    """Length of an answer where the request sets none."""
    temperature: float = Field(default=0.0, ge=0, le=2, alias="INFERENCE_TEMPERATURE")
    reasoning: bool = Field(default=False, alias="INFERENCE_REASONING")
    """The model's answers begin within its thinking: its chat template has put `<think>` into the prompt."""
    timeout_s: float = Field(default=120, gt=0, alias="INFERENCE_TIMEOUT_S")
    """Upper bound of one attempt; the request's deadline may be nearer."""
    first_timeout_s: float = Field(default=20, gt=0, alias="INFERENCE_FIRST_TIMEOUT_S")
    """Until the first piece of an answer: a long prompt on a CPU takes its time."""
    chunk_timeout_s: float = Field(default=5, gt=0, alias="INFERENCE_CHUNK_TIMEOUT_S")
    """Silence within an answer after which it counts as broken off."""

    @field_validator("models", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


class SecondSettings(Settings):
    """The server that answers where the first one cannot. What is not named here is as for the first one."""

    url: str = Field(alias="INFERENCE_SECOND_URL")
    model: str = Field(default="", alias="INFERENCE_SECOND_MODEL")
    api_key: SecretStr | None = Field(default=None, alias="INFERENCE_SECOND_API_KEY")


class EarlierSettings(Settings):
    """Earlier answers that stand in while no model answers; they are kept in Redis, where REDIS_URL names one."""

    on: bool = Field(default=True, alias="INFERENCE_CACHE")
    similarity: float = Field(default=0.95, ge=0.5, le=1, alias="INFERENCE_CACHE_SIMILARITY")
    """Least cosine of two questions that may have one answer (decision 0014)."""
    ttl_s: int = Field(default=3_600, ge=1, le=LONGEST_TTL_S, alias="INFERENCE_CACHE_TTL_S")
    entries: int = Field(default=200, ge=1, le=2_000, alias="INFERENCE_CACHE_ENTRIES")
    """Per workspace; the oldest make room. An entry is 3 kB as a rule and 64 KiB at most."""


class ExtractiveSettings(Settings):
    """Constants of the extractive answerer, beside the weights in `backends/signals.py` (docs/quality.md)."""

    passages: int = Field(default=5, ge=1, alias="EXTRACTIVE_PASSAGES")
    """Passages whose sentences are candidates."""
    second_within: float = Field(default=4.5, ge=0, alias="EXTRACTIVE_SECOND_WITHIN")
    """A second sentence is given if its standing is at most so far below the first one's."""
    abstain_below: float = Field(default=0.5, ge=0, le=1, alias="EXTRACTIVE_ABSTAIN_BELOW")
    """Least support of an answer where the request names none (`min_support`); the curve is in docs/quality.md."""
    message_bias: float = Field(default=0.9, alias="EXTRACTIVE_MESSAGE_BIAS")
    """Added to the log odds of support where the best passage is a chat message: short texts cover less of a question
    (set so that as many of LoCoMo's questions are answered as by the rule before)."""
    support_identifier: float = Field(default=3.0, ge=0, alias="EXTRACTIVE_SUPPORT_IDENTIFIER")
    """What a code that is named in the question weighs for a passage that holds it, and against one that does not."""
    message_kinds: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("message", "chat_message"), alias="EXTRACTIVE_MESSAGE_KINDS"
    )
    """Kinds of document that are chat messages: their sentences keep the order of retrieval. Comma-separated."""

    @field_validator("message_kinds", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value
