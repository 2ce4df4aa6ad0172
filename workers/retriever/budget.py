"""Counts tokens where no tokenizer is at hand, and says how a prompt's budget is shared."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from workers.retriever.settings import DEFAULT_SHARES

MESSAGE_TOKENS = 4
"""Added per message for the marks of a chat template."""
CUT = "\n[…]\n"
_WIDE = re.compile("[\u2e80-\uffff\U00010000-\U0010ffff]")
"""CJK, kana, Hangul, emoji: tokenizers spend about a token on each such character, or more."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Tokens that the messages may take together, estimated; see `cost`."""

    tokens: int = 3_000
    characters_per_token: float = 3.5
    shares: Mapping[str, float] = field(default_factory=lambda: DEFAULT_SHARES)
    """Of the whole budget: `system`. Of what system and question leave: `memory`, `retrieved`, `history`."""

    def cost(self, text: str) -> int:
        """Tokens that a message of `text` is taken to have.

        One for each wide character, and one for every `characters_per_token` of the others. English prose has about 4
        characters a token with the tokenizers of today's models (GPT-4, Llama 3, Qwen 2.5); 3.5 leaves an eighth for
        safety, and code and other languages have fewer.
        """
        wide = 0 if text.isascii() else len(_WIDE.findall(text))
        return math.ceil((len(text) - wide) / self.characters_per_token) + wide + MESSAGE_TOKENS

    def fit(self, text: str, tokens: int) -> str:
        """Return `text`, its middle cut out where it costs more than `tokens`: both ends tell what it is about."""
        if self.cost(text) <= tokens:
            return text
        room = max(0, tokens - MESSAGE_TOKENS - math.ceil(len(CUT) / self.characters_per_token))
        # Halves of equal cost, not of equal length: a text may be wide at one end only.
        head = self._reach(text, room // 2)
        tail = self._reach(text[::-1], room // 2)
        return text[:head] + CUT + text[len(text) - tail :]

    def _reach(self, text: str, tokens: int) -> int:
        """Return how many characters of `text` `tokens` pay for, at least one."""
        low, high = 1, max(1, int(tokens * self.characters_per_token))
        while low < high:
            middle = (low + high + 1) // 2
            if self.cost(text[:middle]) - MESSAGE_TOKENS <= tokens:
                low = middle
            else:
                high = middle - 1
        return low

    def rooms(self, left: int, wanted: Mapping[str, int]) -> dict[str, int]:
        """Share `left` tokens among the parts that want some of them; what one does not want the others may have.

        Each part is sure of its share. What is over goes to those that want more, in proportion to their shares.
        """
        rooms = dict.fromkeys(wanted, 0)
        open_parts = {part for part in wanted if wanted[part] > 0}
        left = max(0, left)
        while open_parts and left > 0:
            whole = sum(self.shares[part] for part in open_parts)
            given = {part: int(left * self.shares[part] / whole) if whole else 0 for part in open_parts}
            satisfied = {part for part in open_parts if rooms[part] + given[part] >= wanted[part]}
            if not satisfied:
                for part in open_parts:
                    rooms[part] += given[part]
                break
            for part in satisfied:
                left -= wanted[part] - rooms[part]
                rooms[part] = wanted[part]
            open_parts -= satisfied
        return rooms
