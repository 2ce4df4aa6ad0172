"""Scenes of one document whose numbers, or dates, or texts say less than they should."""

from collections.abc import Callable, Iterator

from bench.kill.kinds.writer import Writer
from bench.kill.stream import UPLOADS, Kind, Step, Trait


def equal(writer: Writer) -> Iterator[Step]:
    """Say several texts under one number, or one date; half of the scenes leave their order to the senders."""
    chance, name = writer.chance, f"twin-{writer.index:05}"
    dated = chance.random() < 0.3
    trait = Trait.EQUAL_DATE if dated else Trait.EQUAL_VERSION
    number, in_turn = chance.randint(2, 50), chance.random() < 0.5

    def say(at: int, trait: Trait | None = None) -> Step:
        version, date = (None, at) if dated else (at, None)
        return writer.say(name, version=version, dated=date, trait=trait, in_turn=in_turn)

    def delete(at: int) -> Step:
        version, date = (None, at) if dated else (at, None)
        return writer.delete(name, version=version, dated=date, trait=trait, in_turn=in_turn)

    said = [say(number), say(number, trait)]
    yield from said
    # What comes next meets the numbers that the texts before were moved on to.
    for _ in range(chance.randint(1, 5)):
        further: tuple[Callable[[], Step], ...] = (
            lambda: say(number, trait),
            lambda: say(number + 1, trait),
            lambda: say(number - 1),
            lambda: say(number + chance.randint(2, 9)),
            lambda: writer.again(chance.choice(said)),
            lambda: writer.repeat(chance.choice(said)),
            lambda: delete(number),
        )
        step = chance.choices(further, (5, 3, 1, 2, 3, 2, 2))[0]()
        said.append(step)
        yield step
        if step.kind is Kind.DELETE and chance.random() < 0.5:
            yield writer.again(step)


def back(writer: Writer) -> Iterator[Step]:
    """Say A, B and A again, each once more under a new delivery id now and then."""
    chance, name = writer.chance, f"turn-{writer.index:05}" + (".md" if writer.source == UPLOADS else "")
    number, dated, at = None, None, chance.randint(1, 50)
    if writer.source != UPLOADS:
        number, dated = chance.choice(((at, None), (None, at), (None, None)))
    in_turn = chance.random() < 0.7
    first = writer.say(name, version=number, dated=dated, in_turn=in_turn)
    second = writer.say(name, version=number, dated=dated, in_turn=in_turn)
    yield first
    for time in range(chance.randint(1, 2)):
        yield from _perhaps_again(writer, first)
        yield writer.again(second, trait=None) if time else second
        yield from _perhaps_again(writer, second)
        yield writer.again(first, trait=Trait.WAY_BACK)
    yield from _perhaps_again(writer, first)


def _perhaps_again(writer: Writer, known: Step) -> Iterator[Step]:
    if writer.chance.random() < 0.4:
        yield writer.again(known)
    if writer.chance.random() < 0.2:
        yield writer.repeat(known)


def deleted(writer: Writer) -> Iterator[Step]:
    """A user deletes a document that stands at a version of its own; its source goes on, in vain or with a newer one.

    The number right after the deleted one is left out: the deletion has it, and of equal numbers a deletion counts.
    """
    chance, name = writer.chance, f"shift-{writer.index:05}"
    number = chance.randint(3, 50)
    for _ in range(chance.randint(1, 3)):
        yield writer.say(name, version=number, in_turn=True)
    last = writer.say(name, version=number, in_turn=True)
    yield last
    writer.act += 1
    yield writer.remove(last, trait=Trait.USER_DELETION)
    writer.act += 1
    yield writer.repeat(last)
    yield writer.again(last, trait=None)
    yield writer.say(name, version=number, in_turn=True)
    if chance.random() < 0.5:
        yield writer.say(name, version=number + chance.randint(2, 9), in_turn=True)
