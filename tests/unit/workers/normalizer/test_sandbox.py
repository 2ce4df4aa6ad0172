"""Real children, real documents, real kills."""

import asyncio
import io
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psutil
import pytest
from docx import Document

from infra.errors import Permanent
from schemas.dead_letters import Reason
from tests.eventually import eventually
from workers.normalizer.parse.parsed import Feed, Job, Parsed
from workers.normalizer.sandbox import Sandbox
from workers.normalizer.settings import NormalizerSettings

# 400,000 tags: many seconds of work for an HTML reader, and small.
SLOW = Job("file", b"<table>" + b"<tr><td><b><i>x</i></b></td></tr>" * 100_000 + b"</table>", "slow.html")
QUICK = Job("file", b"# Title\n\nwords", "a.md")


@asynccontextmanager
async def sandbox_of(**settings: float) -> AsyncIterator[Sandbox]:
    opened = Sandbox(NormalizerSettings.model_validate({"MILLRACE_PARSE_PROCESSES": 2, **settings}))
    try:
        yield opened
    finally:
        await opened.close()


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with sandbox_of(MILLRACE_PARSE_SECONDS=2) as opened:
        yield opened


def children() -> list[psutil.Process]:
    def is_parser(process: psutil.Process) -> bool:
        return any("spawn_main" in argument for argument in process.cmdline())

    return [child for child in psutil.Process().children() if child.is_running() and is_parser(child)]


def many_paragraphs(count: int) -> bytes:
    """Return a valid DOCX of empty paragraphs: 36 MB of XML, more than a gigabyte as a tree."""
    written = io.BytesIO()
    Document().save(written)
    target = io.BytesIO()
    with zipfile.ZipFile(written) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as new:
        for member in old.infolist():
            body = old.read(member)
            if member.filename == "word/document.xml":
                body = body.replace(b"<w:body>", b"<w:body>" + b"<w:p/>" * count)
            new.writestr(member.filename, body)
    return target.getvalue()


async def refused(sandbox: Sandbox, job: Job) -> Reason:
    with pytest.raises(Permanent) as caught:
        await sandbox.parse(job)
    return caught.value.reason


def title(parsed: Parsed | Feed) -> str:
    return parsed.title


async def test_a_document_is_read_in_a_child(sandbox: Sandbox) -> None:
    assert not sandbox.running, "no child before there is work"
    assert title(await sandbox.parse(QUICK)) == "Title"
    assert children()


async def test_what_the_parser_refuses_is_permanent(sandbox: Sandbox) -> None:
    assert await refused(sandbox, Job("file", b"%PDF-1.4 broken", "a.pdf")) is Reason.UNREADABLE_DOCUMENT
    assert title(await sandbox.parse(QUICK)) == "Title"


async def test_a_hanging_document_ends_alone(sandbox: Sandbox) -> None:
    await sandbox.parse(QUICK)
    hanging = asyncio.create_task(refused(sandbox, SLOW))
    neighbours = await asyncio.gather(*(sandbox.parse(QUICK) for _ in range(10)))
    assert all(title(parsed) == "Title" for parsed in neighbours)
    assert not hanging.done(), "the neighbours did not wait for it"
    assert await hanging is Reason.PARSER_TIMEOUT
    assert title(await sandbox.parse(QUICK)) == "Title"


async def test_a_dying_child_takes_only_its_document_along() -> None:
    async with sandbox_of(MILLRACE_PARSE_SECONDS=60, MILLRACE_PARSE_PROCESSES=1) as sandbox:
        await sandbox.parse(QUICK)
        (child,) = children()
        dying = asyncio.create_task(refused(sandbox, SLOW))
        before = sum(child.cpu_times()[:2])
        await eventually(lambda: sum(child.cpu_times()[:2]) > before + 0.2)
        waiting = asyncio.create_task(sandbox.parse(QUICK))
        child.kill()
        assert await dying is Reason.PARSER_CRASH
        assert title(await waiting) == "Title"


async def test_a_document_that_wants_too_much_memory() -> None:
    async with sandbox_of(
        MILLRACE_PARSE_MEMORY_MB=256, MILLRACE_EXPANSION_MB=400, MILLRACE_PARSE_PROCESSES=1
    ) as sandbox:
        assert await refused(sandbox, Job("file", many_paragraphs(6_000_000), "bomb.docx")) is Reason.EXPANSION_LIMIT
        assert title(await sandbox.parse(QUICK)) == "Title"


async def test_children_leave_when_there_is_nothing_to_do() -> None:
    async with sandbox_of(MILLRACE_PARSE_IDLE_SECONDS=0.2) as sandbox:
        await sandbox.parse(QUICK)
        await eventually(lambda: not sandbox.running and not children())
        assert title(await sandbox.parse(QUICK)) == "Title", "and come back"
    assert not sandbox.running
