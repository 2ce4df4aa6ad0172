"""What one pull of a source brings."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Pulled:
    """The state to remember, and what is to be published: nothing if `delivery` is None."""

    state: dict[str, Any]
    delivery: str | None = None
    """Names what was pulled: its digest, or the source's own name for it. One that comes again after another is a new
    delivery all the same: the schedule numbers them."""
    body: bytes = field(default=b"", repr=False)
    content_type: str = ""
    attributes: dict[str, str] = field(default_factory=dict)
