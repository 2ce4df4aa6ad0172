"""Entry of the parser child: one job in, plain values out."""

import resource
from pathlib import PurePosixPath

from workers.normalizer.parse import detect
from workers.normalizer.parse.decode import decode
from workers.normalizer.parse.feed import parse_feed
from workers.normalizer.parse.markdown import parse_markdown
from workers.normalizer.parse.markup import parse_html
from workers.normalizer.parse.parsed import Feed, Job, Parsed, ParseError
from workers.normalizer.parse.pdf import parse_pdf
from workers.normalizer.parse.table import parse_csv, parse_json, parse_json_lines
from workers.normalizer.parse.word import parse_docx


def confine(memory: int) -> None:
    """Bound this process to `memory` bytes of address space; a core dump of a parser would hold documents: none."""
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def run(job: Job, cpu_seconds: int) -> Parsed | Feed:
    """Parse `job` within `cpu_seconds` of processor time, after which the kernel ends this process.

    Raises ParseError for a document that cannot be read.
    """
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(used.ru_utime + used.ru_stime) + cpu_seconds + 1
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.getrlimit(resource.RLIMIT_CPU)[1]))
    try:
        return parse(job)
    except MemoryError as error:
        raise ParseError("expansion_limit", "needs more memory than a parser is given") from error
    except RecursionError as error:
        raise ParseError("unreadable_document", "nested too deeply") from error


def parse(job: Job) -> Parsed | Feed:
    """Return what `job` holds. Raises ParseError."""
    chars = job.limits.chars
    if job.kind == "feed":
        return parse_feed(job.body, job.address, chars)
    if job.kind == "html":
        return parse_html(decode(job.body, chars))
    kind = detect.media_type(job.body, job.name, job.content_type)
    if kind == detect.PDF:
        return parse_pdf(job.body, chars)
    if kind == detect.DOCX:
        return parse_docx(job.body, chars, job.limits.expansion)
    return _text(kind, decode(job.body, chars), job.name, chars)


def _text(kind: str, text: str, name: str, chars: int) -> Parsed:  # noqa: PLR0911 - one return per type
    match kind:
        case detect.HTML:
            return parse_html(text)
        case detect.MARKDOWN:
            return parse_markdown(text)
        case detect.CSV:
            return parse_csv(text, chars)
        case detect.TSV:
            return parse_csv(text, chars, delimiter="\t")
        case detect.JSON:
            return parse_json(text, chars)
        case detect.JSON_LINES:
            return parse_json_lines(text, chars)
        case detect.CODE:
            language = detect.code_language(name)
            title = PurePosixPath(name).name
            return Parsed(text, "code", "text/x-source", title=title, metadata={"code_language": language})
        case _:
            return Parsed(text, "text", "text/plain")
