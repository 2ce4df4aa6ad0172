"""Takes out of a model's words what is no part of the answer, while they come."""

import re
from collections.abc import Iterable

REASONING_BEGIN = "<think>"
REASONING_END = "</think>"
"""DeepSeek R1 and its distills think aloud between them, unless the server takes that part away. Some chat templates
put the first of the two into the prompt: then only the second one comes."""

_FENCE = re.compile(r"<<<(?:END )?SOURCE \d+ [0-9a-f]{16}>>>")
"""The lines between which prompts hold their sources: small models repeat them (seen with SmolLM2-135M)."""
_LONGEST_FENCE = 48


class Spoken:
    """Filters one answer. The pieces given out, joined, are the answer's text.

    With `at_once` nothing is given out before the end: nobody reads along, so that even thinking aloud without its
    beginning is recognised. `reasoning` says that the answer begins within the thinking. The answer ends before the
    first of the sequences `stop`: servers are told of them too, but MAX 26.7 streams the sequence and a word more.
    """

    def __init__(self, *, at_once: bool, reasoning: bool = False, stop: Iterable[str] = ()) -> None:
        self.stopped = False
        """Whether one of the sequences has come."""
        self._at_once = at_once
        self._stop = tuple(filter(None, stop))
        self._thinking: bool | None = True if reasoning else None
        """None until the first words show whether the model thinks aloud."""
        self._held = ""
        self._blank = ""
        self._begun = False

    def feed(self, piece: str) -> str:
        """Take what the model said; return what may be said on."""
        if self.stopped:
            return ""
        self._held += piece
        if self._at_once:
            return ""
        if self._thinking is not False and not self._thought():
            return ""
        self._held = self._cut(_FENCE.sub("", self._held))
        ready = self._held if self.stopped else self._held[: min(_safe(self._held), self._unstopped(self._held))]
        self._held = self._held[len(ready) :]
        return self._trimmed(ready)

    def rest(self) -> str:
        """Return what was still held back at the end."""
        if self._at_once:
            _, ended, answer = self._held.rpartition(REASONING_END)
            if not ended and (self._thinking or answer.lstrip().startswith(REASONING_BEGIN)):
                return ""
            return self._cut(_FENCE.sub("", answer)).strip()
        if self._thinking:
            return ""
        return self._trimmed(self._cut(_FENCE.sub("", self._held)))

    def _thought(self) -> bool:
        """Say whether the thinking is over; drop what was thought."""
        if self._thinking is None:
            start = self._held.lstrip()
            if REASONING_BEGIN.startswith(start[: len(REASONING_BEGIN)]):
                if len(start) < len(REASONING_BEGIN):
                    return False
                self._thinking = True
            else:
                self._thinking = False
                return True
        _, end, answer = self._held.partition(REASONING_END)
        if end:
            self._held, self._thinking = answer, False
            return True
        self._held = self._held[-len(REASONING_END) :]
        return False

    def _cut(self, text: str) -> str:
        """Return what stands before the sequence that is complete first: there whoever writes word by word stops."""
        found = [(at + len(sequence), at) for sequence in self._stop if (at := text.find(sequence)) >= 0]
        self.stopped = self.stopped or bool(found)
        return text[: min(found)[1]] if found else text

    def _unstopped(self, text: str) -> int:
        """Return how much of `text` cannot belong to a sequence that is still coming."""
        begun = (size for one in self._stop for size in range(1, len(one)) if text.endswith(one[:size]))
        return len(text) - max(begun, default=0)

    def _trimmed(self, ready: str) -> str:
        """White space at the start is dropped, and at the end kept back until a word follows."""
        ready = self._blank + ready
        if not self._begun:
            ready = ready.lstrip()
        spoken = ready.rstrip()
        self._blank = ready[len(spoken) :]
        self._begun = self._begun or bool(spoken)
        return spoken


def _safe(text: str) -> int:
    """Return how much of `text` cannot belong to a fence that is still coming."""
    at = text.rfind("<<<")
    if at >= 0 and len(text) - at < _LONGEST_FENCE and "\n" not in text[at:]:
        return at
    return len(text) - (2 if text.endswith("<<") else 1 if text.endswith("<") else 0)
