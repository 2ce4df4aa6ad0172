"""docs/adding-a-connector.md says what works."""

import hashlib
import hmac
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.problems import Code
from infra.errors import Permanent
from tests.unit.workers.normalizer.arrivals import only, raw, read, relations
from workers.connectors.fetch import Fetched, Fetcher, Validators
from workers.connectors.store import Due
from workers.normalizer.sources.draft import NotADocument
from workers.normalizer.sources.registry import MAPPINGS

GUIDE = Path(__file__).parents[4] / "docs" / "adding-a-connector.md"
BLOCKS = dict(re.findall(r"^```(?:python|json) (\w+)\n(.*?)^```$", GUIDE.read_text(), re.M | re.S))
PAYLOAD = BLOCKS["payload"].encode()


@pytest.fixture
def guide() -> Iterator[dict[str, Any]]:
    """What the page's code defines, its connector registered for one test."""
    names: dict[str, Any] = {"__name__": "guide"}
    for block in ("door", "mapping", "registry", "pull"):
        exec(compile(BLOCKS[block], f"{GUIDE}:{block}", "exec"), names)  # noqa: S102 - our own documentation
    yield names
    del MAPPINGS["frontdesk"]


def test_the_door_knows_its_sender(guide: dict[str, Any]) -> None:
    signature = hmac.new(b"s3cret", PAYLOAD, hashlib.sha256).hexdigest()
    headers = {"x-frontdesk-signature": signature, "x-frontdesk-delivery": "d-1"}
    now = datetime.now(UTC)
    assert guide["check"](headers, PAYLOAD, ["old", "s3cret"], now) is None
    assert guide["check"](headers, PAYLOAD + b" ", ["s3cret"], now) is Code.INVALID_SIGNATURE
    assert guide["check"]({}, PAYLOAD, ["s3cret"], now) is Code.MISSING_SIGNATURE
    arrival = guide["describe"](headers, PAYLOAD)
    assert (arrival.delivery, arrival.subject) == ("d-1", "812")


def test_the_mapping_reads_the_payload(guide: dict[str, Any]) -> None:
    ticket = only(read(raw("frontdesk", PAYLOAD)))
    assert (ticket.external_id, ticket.title, ticket.kind) == ("ticket:812", "Sluice stuck", "ticket")
    assert ticket.url == "https://desk.example/t/812"
    assert ("person:frontdesk:maren", "AUTHORED", "this") in relations(ticket)
    assert ("this", "PART_OF", "queue:frontdesk:mill") in relations(ticket)
    gone = only(read(raw("frontdesk", {**orjson.loads(PAYLOAD), "event": "ticket.deleted"}), offset=0))
    assert gone.operation == "delete"
    assert gone.version > ticket.version
    assert isinstance(read(raw("frontdesk", {"event": "desk.opened"})), NotADocument)
    with pytest.raises(Permanent):
        read(raw("frontdesk", {"ticket": {"id": "x"}}))


async def test_the_pull_remembers_what_it_fetched(guide: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, Validators]] = []

    async def fetch(self: Fetcher, url: str, validators: Validators) -> Fetched | None:
        asked.append((url, validators))
        return None if validators.etag else Fetched(PAYLOAD, "application/json", url, Validators(etag='"1"'))

    monkeypatch.setattr(Fetcher, "fetch", fetch)
    fetcher = Fetcher(max_bytes=1, seconds=1, allow_private=False)
    lease = datetime.now(UTC) + timedelta(minutes=5)
    due = Due("src_1", "acme", "frontdesk", {"url": "https://desk.example/newest"}, {}, 0, lease)
    first = await guide["pull"](due, fetcher)
    assert first.body == PAYLOAD
    again = await guide["pull"](Due("src_1", "acme", "frontdesk", due.config, first.state, 0, lease), fetcher)
    assert again.delivery is None
    assert [validators.etag for _, validators in asked] == ["", '"1"']
