"""Settings of the local model server, read from the environment when its process starts."""

from pathlib import Path

from pydantic import Field, SecretStr, field_validator

from infra.settings import Settings

REQUIREMENT = "xllamacpp==2026.10.11549"
"""What the extra `llama` brings. Native code with a release each week: an upgrade is a choice, never a side effect."""


class LlamaSettings(Settings):
    """Which weights are served, to whom, and how many answers are written at once."""

    model: Path = Field(alias="MILLRACE_LLM_MODEL")
    """A GGUF file."""
    name: str = Field(default="", alias="MILLRACE_LLM_NAME")
    """What the server calls its model; empty means the file's name without its ending."""
    host: str = Field(default="127.0.0.1", alias="MILLRACE_LLM_HOST")
    port: int = Field(default=8090, ge=1, le=65_535, alias="MILLRACE_LLM_PORT")
    api_key: SecretStr = Field(alias="MILLRACE_LLM_API_KEY")
    context: int = Field(default=4_096, ge=256, alias="MILLRACE_LLM_CONTEXT")
    """Tokens that one question and its answer may have together. Each slot has so many, and takes memory for them."""
    slots: int = Field(default=4, ge=1, le=256, alias="MILLRACE_LLM_SLOTS")
    """Answers written at once; more wait. INFERENCE_CONCURRENCY should not be more."""
    threads: int = Field(default=0, ge=0, le=1_024, alias="MILLRACE_LLM_THREADS")
    """Threads that compute; 0 means as many as there are cores for this process."""

    @field_validator("api_key")
    @classmethod
    def _not_empty(cls, value: SecretStr) -> SecretStr:
        if not value.get_secret_value():
            raise ValueError("must not be empty: whoever reaches the port could use the model")
        return value

    def secret_values(self) -> dict[str, str]:
        """Return the key."""
        return {"MILLRACE_LLM_API_KEY": self.api_key.get_secret_value()}
