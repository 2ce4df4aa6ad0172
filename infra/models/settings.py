"""Which encoder a process uses."""

from typing import Literal

from pydantic import Field, SecretStr

from infra.settings import Settings


class EncoderSettings(Settings):
    """`MILLRACE_ENCODER` names the encoder; embedders and retrievers of one index must name the same.

    - `minilm` (default): all-MiniLM-L6-v2 on the CPU, weights from the cache of pinned artifacts;
    - a folder: a BERT sentence encoder in sentence-transformers' layout, on the CPU;
    - `openai:URL#MODEL`: any server of `/v1/embeddings`;
    - `sentence-transformers:NAME_OR_FOLDER`: on torch, with the extra `gpu`;
    - `hash`: no model, for tests of delivery.
    """

    encoder: str = Field(default="minilm", min_length=1, alias="MILLRACE_ENCODER")
    api_key: SecretStr | None = Field(default=None, alias="MILLRACE_ENCODER_API_KEY")
    batch_tokens: int = Field(default=512, ge=64, alias="MILLRACE_ENCODER_BATCH_TOKENS")
    """Padded tokens per batch on the CPU; `python -m bench.encoder` shows what suits a machine."""
    max_tokens: int = Field(default=512, ge=8, alias="MILLRACE_ENCODER_MAX_TOKENS")
    """Longest text that a served model takes; a server refuses a longer one or cuts it itself."""
    timeout_s: float = Field(default=30, gt=0, alias="MILLRACE_ENCODER_TIMEOUT_S")
    device: Literal["", "cpu", "cuda", "mps"] = Field(default="", alias="MILLRACE_ENCODER_DEVICE")
    """Only for sentence-transformers; empty lets torch choose."""
