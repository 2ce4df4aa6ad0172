"""Settings of the normalizer."""

from typing import Self

from pydantic import Field, model_validator

from infra.queueing.weights import Weights
from infra.settings import Settings
from workers.normalizer.chunk import MOST, OVERLAP, SIZE
from workers.normalizer.parse.parsed import Limits

_MIB = 1024 * 1024


class NormalizerSettings(Settings):
    """What one document may cost, and how it is cut."""

    parse_processes: int = Field(default=3, ge=1, le=64, alias="MILLRACE_PARSE_PROCESSES")
    """Parser children, started with the first file. One workspace has all but one of them: its slow documents leave
    that to the others."""
    weights: Weights = Field(default_factory=dict, alias="INFERENCE_WEIGHTS")
    """Shares of the workspaces in the turns at parsing: as `acme=3,other=0.5`; 1 for each that is not named."""
    parse_seconds: int = Field(default=20, ge=1, le=3_600, alias="MILLRACE_PARSE_SECONDS")
    parse_memory_mb: int = Field(default=1_024, ge=256, alias="MILLRACE_PARSE_MEMORY_MB")
    """Address space of one parser child, in MiB."""
    parse_idle_seconds: float = Field(default=60, gt=0, alias="MILLRACE_PARSE_IDLE_SECONDS")
    """Children without work for so long end, and give their memory back."""
    text_chars: int = Field(default=20_000_000, ge=1_000, alias="MILLRACE_TEXT_CHARS")
    """A longer text is refused. How much of a text is found by search, `chunks_most` bounds."""
    expansion_mb: int = Field(default=200, ge=1, alias="MILLRACE_EXPANSION_MB")
    """Unpacked size of a container file, in MiB."""
    chunk_chars: int = Field(default=SIZE, ge=100, le=100_000, alias="MILLRACE_CHUNK_CHARS")
    chunk_overlap: int = Field(default=OVERLAP, ge=0, alias="MILLRACE_CHUNK_OVERLAP")

    chunks_most: int = Field(default=MOST, ge=1, le=1_000_000, alias="MILLRACE_DOCUMENT_CHUNKS")
    """What of a text lies behind so many chunks is kept and shown, and not found: the document says how much."""

    @model_validator(mode="after")
    def _overlap_within_chunk(self) -> Self:
        if self.chunk_overlap >= self.chunk_chars:
            raise ValueError("MILLRACE_CHUNK_OVERLAP must be smaller than MILLRACE_CHUNK_CHARS")
        return self

    @property
    def limits(self) -> Limits:
        """The limits that travel with a job."""
        return Limits(chars=self.text_chars, expansion=self.expansion_mb * _MIB)
