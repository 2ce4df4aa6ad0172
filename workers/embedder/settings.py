"""What the embedder can be told."""

from pydantic import Field

from infra.settings import Settings


class EmbedderSettings(Settings):
    """Which index this embedder writes. Another index is another embedder process with its own consumer group."""

    index_id: str = Field(default="main", pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$", alias="MILLRACE_INDEX_ID")
    collection_name: str = Field(default="", alias="MILLRACE_INDEX_COLLECTION")
    """Empty means `millrace_` and the index id."""

    @property
    def collection(self) -> str:
        """Collection of the index."""
        return self.collection_name or f"millrace_{self.index_id}"
