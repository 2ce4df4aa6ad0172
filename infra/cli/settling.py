"""Redrives or discards many letters: in batches, at a bounded rate, with bounded memory."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Literal
from uuid import UUID

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from infra.cli.operating import SOURCE, Log
from infra.cli.terminal import err
from infra.errors import Permanent
from infra.kafka.codec import Encoded
from infra.kafka.redrive import GoneError, NotRedrivableError, encoded_mark, mark, redrive, revive
from infra.postgres.letters import Letter, Wanted, pages_by_place
from schemas.dead_letters import LetterMark
from topics.catalogue import DEAD_LETTERS, by_name

if TYPE_CHECKING:
    import asyncpg

BATCH = 100
BATCH_BYTES = 8 * 1024 * 1024
"""Bodies held at once. A record is at most 768 KiB: larger ones are references."""


class Settling:
    """One run over letters. `done` counts them by topic, `refused` holds those left as they are, and why."""

    def __init__(
        self,
        log: Log,
        *,
        state: Literal["redriven", "discarded"],
        by: str,
        headers: Mapping[str, str],
        rate: int,
        dry_run: bool,
    ) -> None:
        self.done: Counter[str] = Counter()
        self.refused: list[tuple[UUID, str]] = []
        self.seen: set[UUID] = set()
        self._log = log
        self._state = state
        self._by = by
        self._headers = headers
        self._rate = rate
        self._dry_run = dry_run
        self._sent = 0
        self._began = monotonic()

    async def over(self, pool: "asyncpg.Pool[asyncpg.Record]", wanted: Wanted, advance: Callable[[int], None]) -> None:
        """Settle every letter that is wanted now. One that dies again meanwhile has a new place and is left alone.

        Raises Transient: what was settled until then stays settled, and a second run goes on with the rest.
        """
        ends = await self._log.records.ends(DEAD_LETTERS)
        async for page in pages_by_place(pool, wanted):
            letters = [each for each in page if each.letter_offset < ends.get(each.letter_partition, 0)]
            self.seen.update(letter.letter_id for letter in letters if wanted.ids)
            if self._state == "discarded":
                await self._discard(letters)
            else:
                await self._redrive(letters)
            advance(len(page))

    async def _discard(self, letters: Sequence[Letter]) -> None:
        marks = [self._mark(letter) for letter in letters]
        if not self._dry_run:
            await self._log.publisher.send([encoded_mark(each, SOURCE) for each in marks])
        self.done.update(letter.topic for letter in letters)

    async def _redrive(self, letters: Sequence[Letter]) -> None:
        batch: list[tuple[Letter, Encoded]] = []
        held = 0
        for letter in letters:
            record = await self._revived(letter)
            if record is None:
                continue
            batch.append((letter, record))
            held += len(record.value or b"")
            if len(batch) >= min(BATCH, self._rate) or held >= BATCH_BYTES:
                await self._send(batch)
                batch, held = [], 0
        await self._send(batch)

    async def _revived(self, letter: Letter) -> Encoded | None:
        try:
            by_name(letter.topic)
            whole = await self._log.letters.read((letter.letter_partition, letter.letter_offset))
            return revive(whole, self._headers)
        except KeyError:
            self.refused.append((letter.letter_id, f"topic {letter.topic} is not in the catalogue"))
        except GoneError as error:
            self.refused.append((letter.letter_id, f"gone: {error}"))
        except NotRedrivableError as error:
            self.refused.append((letter.letter_id, f"{error}: give the header with --set-header NAME=VALUE"))
        except Permanent as error:
            self.refused.append((letter.letter_id, f"the letter cannot be read: {error}"))
        return None

    async def _send(self, batch: Sequence[tuple[Letter, Encoded]]) -> None:
        if batch and not self._dry_run:
            await self._keep_to_rate(len(batch))
            records = [record for _, record in batch]
            await redrive(self._log.publisher, records, [self._mark(letter) for letter, _ in batch], SOURCE)
        self.done.update(letter.topic for letter, _ in batch)

    async def _keep_to_rate(self, records: int) -> None:
        """Wait until `records` more keep the run's average below the rate."""
        due = self._began + self._sent / self._rate
        self._sent += records
        await asyncio.sleep(max(0.0, due - monotonic()))

    def _mark(self, letter: Letter) -> LetterMark:
        place = (letter.letter_partition, letter.letter_offset)
        return mark(letter.workspace, letter.letter_id, place, self._state, self._by)


@contextmanager
def progress_of(total: int, word: str, *, silent: bool) -> Iterator[Callable[[int], None]]:
    """Show a bar on stderr; yield what advances it."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, disable=silent, transient=True) as progress:
        task = progress.add_task(word, total=total)
        yield lambda letters: progress.advance(task, letters)
