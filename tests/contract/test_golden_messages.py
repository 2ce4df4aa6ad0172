"""An old message stays readable, and nobody changes a schema without noticing.

`schemas/golden/fingerprints.json` lists, per schema version, each state that the schema has had and the golden message
that shows it. To change a schema: write a golden message that uses what is new, and append an entry with the new
fingerprint (this test prints it). The earlier entries and files stay for ever.
"""

import json
from collections import Counter
from typing import Any

import pytest

from schemas.envelope import Envelope
from schemas.event import Event
from tests.contract.golden import FINGERPRINTS, Golden, fingerprint, goldens, schemas_by_name
from topics.catalogue import CATALOGUE

SCHEMAS = schemas_by_name()
ALL = list(goldens())


def lost(written: Any, read: Any, path: str = "") -> list[str]:
    """Return the places of `written` whose value is no longer there in `read`: a dropped field reads as silence."""
    if isinstance(written, dict) and isinstance(read, dict):
        return [place for key in written for place in lost(written[key], read.get(key, ...), f"{path}.{key}")]
    if isinstance(written, list) and isinstance(read, list) and len(written) == len(read):
        return [
            place
            for index, (one, other) in enumerate(zip(written, read, strict=True))
            for place in lost(one, other, f"{path}[{index}]")
        ]
    return [] if written == read else [path]


@pytest.mark.parametrize("golden", ALL, ids=str)
def test_a_golden_message_is_read_and_written_again(golden: Golden) -> None:
    event = SCHEMAS[golden.schema].model_validate_json(golden.body)
    again = event.model_dump_json()
    assert type(event).model_validate_json(again) == event
    missing = lost(json.loads(golden.body), json.loads(again))
    assert [
        place for place in missing if golden.case != "unknown_field" or "added_by_a_newer_producer" not in place
    ] == []


@pytest.mark.parametrize("golden", ALL, ids=str)
def test_golden_headers_are_an_envelope_of_their_body(golden: Golden) -> None:
    envelope = Envelope.from_headers([(name, value.encode()) for name, value in golden.headers.items()])
    event = SCHEMAS[golden.schema].model_validate_json(golden.body)
    assert envelope.schema == f"{golden.schema}/{golden.version}"
    assert envelope.workspace == event.workspace
    assert {name: value.decode() for name, value in envelope.headers()} == golden.headers


def test_every_schema_has_goldens() -> None:
    cases = Counter((golden.schema, golden.version) for golden in ALL)
    wanted = {(name, schema.schema_version) for name, schema in SCHEMAS.items()}
    assert wanted <= set(cases)
    assert all(cases[schema] >= 2 for schema in wanted), cases


def test_every_topic_carries_a_schema_with_goldens() -> None:
    assert {topic.body for topic in CATALOGUE} == set(SCHEMAS.values())


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=lambda schema: schema.schema_name)
def test_a_changed_schema_has_a_golden_of_its_own(schema: type[Event]) -> None:
    name = f"{schema.schema_name}/{schema.schema_version}"
    states = json.loads(FINGERPRINTS.read_text()).get(name, [])
    present = fingerprint(schema)
    assert states, f"append {name}: fingerprint {present}"
    assert states[-1]["fingerprint"] == present, (
        f"{name} has changed: write a golden message that shows the change and append "
        f'{{"fingerprint": "{present}", "golden": "<case>"}} to {FINGERPRINTS.name}'
    )
    shown = [state["golden"] for state in states]
    assert len(set(shown)) == len(shown), f"{name}: two states of the schema name one golden"
    assert set(shown) <= {golden.case for golden in ALL if f"{golden.schema}/{golden.version}" == name}


def test_a_changed_schema_changes_its_fingerprint() -> None:
    class Before(Event):
        schema_name = "probe"
        size: int

    class After(Event):
        schema_name = "probe"
        size: int = 0

    class Described(Event):
        """Prose does not count."""

        schema_name = "probe"
        size: int

    assert fingerprint(Before) != fingerprint(After)
    assert fingerprint(Before) == fingerprint(Described)
