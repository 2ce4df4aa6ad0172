import subprocess
import sys
from base64 import b64decode

import orjson
import psutil

from bench.backlog import Figures, frozen, verdict
from bench.flood import Template
from infra.kafka.codec import decode
from infra.objects.store import ObjectStore
from tests.eventually import eventually
from tests.records import RawRecord
from topics.catalogue import RAW_EVENTS


async def test_every_event_is_valid_and_a_document_of_its_own() -> None:
    template = await Template.of(1_000)
    assert 900 < template.size < 1_500
    objects = ObjectStore.open("memory:///")
    seen = set()
    for number in (0, 1, 999_999):
        key, value, headers = template.numbered(number)
        delivery = await decode(RawRecord(key=key, value=value, headers=list(headers)), RAW_EVENTS, objects)
        assert delivery is not None
        assert delivery.envelope.id == delivery.body.event_id
        said = orjson.loads(b64decode(orjson.loads(value)["body"]))
        seen.add((delivery.body.event_id, delivery.body.delivery, said["id"]))
    assert [len(set(part)) for part in zip(*seen, strict=True)] == [3, 3, 3]


def figures(**changes: object) -> Figures:
    values = {"bare_idle": 40, "warm_idle": 50, "peaks": {"at work": 60}, "handled": 70, "waiting": 30, "paused": 6}
    return Figures("ledger", **(values | changes))  # type: ignore[arg-type]


def test_the_verdict_speaks_of_memory_and_of_a_backlog_that_was_none() -> None:
    assert verdict([figures()], limit=1.3, events=100) == []
    (much,) = verdict([figures(peaks={"at work": 50, "database frozen": 66})], limit=1.3, events=100)
    assert "1.32 times" in much
    for change in ({"handled": 0, "waiting": 100}, {"paused": 0}, {"waiting": 29}):
        assert len(verdict([figures(**change)], limit=1.3, events=100)) == 1, change


async def test_a_frozen_process_and_its_children_stand_still_and_go_on() -> None:
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as parent:  # noqa: ASYNC220 - at once
        one = psutil.Process(parent.pid)
        child = (await eventually(one.children))[0]
        with frozen(parent.pid):
            await eventually(lambda: {one.status(), child.status()} == {psutil.STATUS_STOPPED})
        await eventually(lambda: psutil.STATUS_STOPPED not in {one.status(), child.status()})
        parent.communicate(b"\n")
    assert parent.returncode == 0
