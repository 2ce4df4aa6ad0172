"""What was said of one answer, over all attempts at it.

Whoever reads along cannot unread. An attempt that failed half-way may be made again: as long as the new one repeats
what was said, which a model at temperature 0 does, it goes on from there; where it differs, the answer ends.
"""

from workers.inference.backends.backend import Say


class Diverged(Exception):  # noqa: N818 - an event, as its handler reads it
    """Another attempt says something else than what was said already."""


class Telling:
    """Passes pieces of an answer on, each once. Without `pass_on` nobody reads along and nothing binds."""

    def __init__(self, pass_on: Say | None = None) -> None:
        self._pass_on = pass_on
        self.said = ""

    def attempt(self) -> "Attempt":
        """Begin to say the answer from its start."""
        return Attempt(self)

    def say_on(self, at: int, piece: str) -> None:
        """Say `piece`, which stands at code point `at` of the answer. Raises Diverged."""
        if self._pass_on is None:
            return
        known = self.said[at : at + len(piece)]
        if not piece.startswith(known):
            raise Diverged
        fresh = piece[len(known) :]
        if fresh:
            self.said += fresh
            self._pass_on(fresh)

    def complete(self, text: str) -> None:
        """Say what is still to be said of `text`, if it is what was begun."""
        if text.startswith(self.said):
            self.say_on(len(self.said), text[len(self.said) :])


class Attempt:
    """One attempt; to be called with each piece."""

    def __init__(self, telling: Telling) -> None:
        self._telling = telling
        self._at = 0
        self.heard = False

    def __call__(self, piece: str) -> None:
        """Say the next piece. Raises Diverged."""
        self.heard = True
        self._telling.say_on(self._at, piece)
        self._at += len(piece)
