"""What the embedder can be told."""

from pydantic import Field

from infra.queueing.weights import Weights
from infra.settings import Settings


class EmbedderSettings(Settings):
    """Which index this embedder writes. Another index is another embedder process with its own consumer group."""

    index_id: str = Field(default="main", pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$", alias="MILLRACE_INDEX_ID")
    collection_name: str = Field(default="", alias="MILLRACE_INDEX_COLLECTION")
    """Empty means `millrace_` and the index id."""

    encoded_at_once: int = Field(default=2, ge=1, le=256, alias="MILLRACE_EMBED_AT_ONCE")
    """Slices of texts that are encoded at once: one computes while the next is made ready."""
    weights: Weights = Field(default_factory=dict, alias="INFERENCE_WEIGHTS")
    """Shares of the workspaces in these turns too: as `acme=3,other=0.5`; 1 for each that is not named."""

    @property
    def collection(self) -> str:
        """Collection of the index."""
        return self.collection_name or f"millrace_{self.index_id}"
