"""Writes the steps of one scene: states of a few documents, said in every form that a sender may choose."""

import random
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from bench.kill.kinds import prose
from bench.kill.kinds.prose import PEOPLE
from bench.kill.stream import UPLOADS, Kind, Step, Trait, Way

EPOCH = datetime(2030, 1, 1, tzinfo=UTC)
"""Dates are counted from here, in seconds."""


@dataclass
class Writer:
    """Says states of documents of one source; every step has a delivery id, and every text a mark, of its own.

    The steps' numbers are given when scenes are woven into a stream (`bench.kill.kinds.mix`).
    """

    chance: random.Random
    scene: str
    """Unique in the stream: ids and marks are made of it."""
    serial: int
    index: int
    """Counts the scenes of a kind in one source: names are made of it, so that other sources have the same ones."""
    workspace: str
    source: str
    crowd: int = 0
    """Place of the workspace among all of them; stands in the mark."""
    said: int = 0
    act: int = 0
    """Of the steps from now on; they are said once all of earlier acts have come to their end."""

    def say(
        self,
        external_id: str,
        *,
        version: int | None = None,
        dated: int | None = None,
        parents: tuple[str, ...] = (),
        trait: Trait | None = None,
        in_turn: bool = False,
    ) -> Step:
        """Say a state that nobody has said before."""
        step = self._blank(external_id, trait, in_turn=in_turn)
        canary = f"c{self.crowd}x-{1_000_000 * (self.serial + 1) + self.said}"
        links = prose.links(self.chance)
        step = replace(
            step,
            version=version,
            dated=dated,
            parents=parents,
            canary=canary,
            title=f"{external_id} state {self.said} of {self.scene}",
            authors=tuple(self.chance.sample(PEOPLE, self.chance.randint(1, 2))) if step.way is Way.HOOK else (),
            links=links,
            text=prose.text(self.chance, canary, links),
        )
        return replace(step, body=self._body(step)) if step.way is Way.HOOK else step

    def delete(
        self,
        external_id: str,
        *,
        version: int | None = None,
        dated: int | None = None,
        trait: Trait | None = None,
        in_turn: bool = False,
    ) -> Step:
        """Delete by the source's word."""
        step = replace(self._blank(external_id, trait, in_turn=in_turn), kind=Kind.DELETE, version=version, dated=dated)
        return replace(step, body=self._body(step))

    def remove(self, known: Step, *, contents: bool = False, trait: Trait | None = None) -> Step:
        """Delete by a user's word, who has seen `known`."""
        step = self._blank(known.external_id, trait, in_turn=True)
        return replace(step, way=Way.REMOVE, kind=Kind.DELETE, sees=known.canary, contents=contents)

    def again(self, known: Step, *, trait: Trait | None = Trait.SAID_AGAIN) -> Step:
        """Say a known state under a new delivery id."""
        blank = self._blank(known.external_id, trait, in_turn=known.in_turn)
        return replace(known, delivery=blank.delivery, trait=trait, act=self.act)

    def repeat(self, known: Step) -> Step:
        """Deliver again what was delivered: the same id, the same bytes."""
        return replace(known, act=self.act)

    def _blank(self, external_id: str, trait: Trait | None, *, in_turn: bool) -> Step:
        self.said += 1
        way = Way.UPLOAD if self.source == UPLOADS else Way.HOOK
        return Step(
            0,
            way,
            Kind.UPSERT,
            self.workspace,
            self.source,
            f"{self.scene}-{self.said}",
            external_id=external_id,
            trait=trait,
            scene=self.scene,
            act=self.act,
            in_turn=in_turn,
        )

    def _body(self, step: Step) -> bytes:
        deleted = step.kind is Kind.DELETE
        described: dict[str, Any] = {} if step.version is None else {"version": step.version}
        if step.dated is not None:
            described["updated_at"] = (EPOCH + timedelta(seconds=step.dated)).isoformat()
        if not deleted:
            described |= {"title": step.title, "text": step.text, "authors": list(step.authors), **self._under(step)}
        if self.chance.random() < 0.3:
            event = {"specversion": "1.0", "id": step.delivery, "source": "/bench"}
            kind = "org.example.document." + ("deleted" if deleted else "updated")
            return orjson.dumps({**event, "type": kind, "subject": step.external_id, "data": described})
        return orjson.dumps({"id": step.external_id, **described, **({"deleted": True} if deleted else {})})

    def _under(self, step: Step) -> dict[str, Any]:
        """Name the containers, outermost first, in one of the forms that are understood."""
        if not step.parents:
            return {}
        *outer, innermost = step.parents
        if self.chance.random() < 0.5:
            return {"parents": list(step.parents)}
        return {"parent": innermost, **({"parents": outer} if outer else {})}
