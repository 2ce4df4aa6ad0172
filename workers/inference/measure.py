"""Counts how questions ended, by who was meant and by what kind of question it was."""

from infra.telemetry.metrics import Metric, count, observe
from schemas.chat import ReplyError
from workers.inference.backends.backend import Answer
from workers.inference.outcome import Outcome

UNKNOWN = "none"


def label_of(result: Answer | ReplyError) -> str:
    """Return how it ended, in a word."""
    if isinstance(result, ReplyError):
        return result.code
    return "abstained" if result.abstained else "answered"


def measured(outcome: Outcome, seconds: float) -> None:
    """Record one end. Models are those that a backend serves: a name that nobody serves is no label."""
    meant = outcome.wanted or UNKNOWN, outcome.wanted_model or UNKNOWN, outcome.intent or UNKNOWN
    count(Metric.ROUTED_TOTAL, *meant, label_of(outcome.result))
    observe(Metric.ROUTED_SECONDS, seconds, *meant)
    if outcome.degraded:
        count(Metric.ROUTED_FALLBACKS_TOTAL, *meant)
    if isinstance(outcome.result, Answer):
        answered = outcome.served_by or UNKNOWN, outcome.model or UNKNOWN, meant[2]
        usage = outcome.result.usage
        for kind, tokens in (("prompt", usage.prompt_tokens), ("completion", usage.completion_tokens)):
            if tokens:
                count(Metric.ROUTED_TOKENS_TOTAL, *answered, kind, by=tokens)
