"""What the graph builder can be told."""

from pydantic import Field

from infra.settings import Settings


class GraphBuilderSettings(Settings):
    """Bounds of the gazetteer: which known names are looked for in new texts, and how fresh the list is."""

    gazetteer_refresh_s: float = Field(default=2.0, gt=0, alias="GRAPH_GAZETTEER_REFRESH_S")
    """Least age of a workspace's names before they are read again. Reading them never takes over 5 % of the time."""
    gazetteer_names: int = Field(default=50_000, ge=1, alias="GRAPH_GAZETTEER_NAMES")
    """Entities per workspace whose names are looked for."""
    gazetteer_total: int = Field(default=200_000, ge=1, alias="GRAPH_GAZETTEER_TOTAL")
    """Names held for all workspaces together; the longest unused workspace is dropped first."""
