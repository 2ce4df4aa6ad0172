"""What the documents of a stream say: seeded texts, each with the mark of its state."""

import random

WORDS = (
    "water wheel stone grain flour sluice race pond gear shaft cog beam loft sack chute hopper bell rope sieve bin "
    "miller keeper tide river bank weir gate axle brake sail tower barn cart horse market harvest summer winter "
    "ledger price weight measure toll guild letter order repair carpenter smith iron oak brick mortar roof"
)
PEOPLE = ("Ada Quill", "Bo Weir", "Cy Loom", "Dee Stone", "Eli Sluice", "Fay Gear", "Gus Oak", "Hal Mortar")


def text(chance: random.Random, canary: str, links: tuple[str, ...]) -> str:
    """Return a text of one to eleven paragraphs that holds `canary` and `links`."""
    length = chance.choice((40, 60, 80, 80, 100, 400))
    words = chance.choices(WORDS.split(), k=length)
    lines = [" ".join(words[at : at + 40]).capitalize() + "." for at in range(0, length, 40)]
    return "\n\n".join(
        ["The mark of this state is " + canary + ".", *lines, *(f"See {link} for more." for link in links)]
    )


def links(chance: random.Random) -> tuple[str, ...]:
    """Return an address that a document links to, in three of ten."""
    return (f"https://example.org/page/{chance.randrange(40)}",) if chance.random() < 0.3 else ()
