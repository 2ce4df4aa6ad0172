"""What a comparison finds, by kind and sink."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from enum import StrEnum

EXAMPLES = 10


class Fault(StrEnum):
    """How a sink can differ from the serial run."""

    LOST = "lost"
    DUPLICATED = "duplicated"
    STALE = "stale"
    CROSSED = "crossed"
    AMBIGUOUS = "ambiguous"
    DEAD_LETTER = "unexpected dead letter"
    REFUSED = "refused"
    UNSETTLED = "unsettled"


@dataclass
class Findings:
    """Counts per fault and sink, with a few examples of each."""

    counts: Counter[tuple[Fault, str]] = field(default_factory=Counter)
    examples: dict[tuple[Fault, str], list[str]] = field(default_factory=lambda: defaultdict(list))
    checked: Counter[str] = field(default_factory=Counter)
    """How many things were compared, by what they are: a comparison of nothing must not pass."""

    def add(self, fault: Fault, sink: str, example: str) -> None:
        """Note one difference."""
        self.counts[fault, sink] += 1
        if len(self.examples[fault, sink]) < EXAMPLES:
            self.examples[fault, sink].append(example)

    def total(self, fault: Fault) -> int:
        """Return how often `fault` was found, in all sinks."""
        return sum(count for (found, _), count in self.counts.items() if found is fault)

    @property
    def clean(self) -> bool:
        """Whether nothing differs."""
        return not self.counts
