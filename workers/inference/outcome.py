"""What became of a question."""

from dataclasses import dataclass, field

from schemas.chat import Intent, ReplyError
from workers.inference.backends.backend import Answer


@dataclass(frozen=True, slots=True)
class Outcome:
    """An answer or an error, and who gave it."""

    result: Answer | ReplyError
    model: str = ""
    served_by: str = ""
    degraded: bool = False
    intent: Intent | None = None
    """What the question was taken for; None where that was not asked."""
    wanted: str = field(default="", compare=False)
    """Backend that was meant."""
    wanted_model: str = field(default="", compare=False)
