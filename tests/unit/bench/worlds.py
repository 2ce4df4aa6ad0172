"""Streams and worlds for the tests of the kill test itself."""

import random
from dataclasses import replace

from bench.kill.kinds.writer import Writer
from bench.kill.model import World
from bench.kill.stream import UPLOADS, Kind, Step, Stream, Way

WORKSPACES = ("mill-1", "mill-2")
HOOKS = ("feed-a", "feed-b")
SOURCES = {(workspace, name): f"src_{workspace}_{name}" for workspace in WORKSPACES for name in (*HOOKS, UPLOADS)}


def steps(count: int = 600, seed: int = 7) -> list[Step]:
    return Stream(seed, WORKSPACES, HOOKS).steps(count)


def hook(number: int, version: int, *, kind: Kind = Kind.UPSERT, text: str = "", delivery: str = "") -> Step:
    return Step(
        number,
        Way.HOOK,
        kind,
        "mill-1",
        "feed-a",
        delivery or f"d{number}",
        external_id="doc",
        version=version,
        text=text or f"text {number}",
        authors=("Ada",),
        canary=f"c0x-{number}" if kind is Kind.UPSERT else "",
    )


def upload(number: int, *, kind: Kind = Kind.UPSERT) -> Step:
    way = Way.REMOVE if kind is Kind.DELETE else Way.UPLOAD
    return Step(number, way, kind, "mill-1", UPLOADS, f"d{number}", external_id="doc.md", text=f"text {number}")


def writer(source: str = "feed-a", seed: int = 1) -> Writer:
    """Return somebody who says the states of a scene; the order in which steps are made counts (`played`)."""
    return Writer(random.Random(seed), "scene", 0, 1, "mill-1", source)


def played(*given: Step) -> World:
    """Return what becomes of a scene whose steps are accepted in this order."""
    return world(*(replace(step, number=number) for number, step in enumerate(given)))


def world(*given: Step) -> World:
    return World.of(list(given), SOURCES)
