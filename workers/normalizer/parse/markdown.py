"""Markdown: front matter apart, title from it or from the first heading."""

import re

from workers.normalizer.parse.parsed import Parsed

_FRONT = re.compile(r"\A---[ \t]*\r?\n(.*?)\r?\n(?:---|\.\.\.)[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_FIELD = re.compile(r"^([A-Za-z_][\w-]*):[ \t]*(.*?)[ \t]*$", re.MULTILINE)
_TITLE = re.compile(r"^ {0,3}#[ \t]+(.+?)(?:[ \t]+#+)?[ \t]*$", re.MULTILINE)
_LONGEST_FRONT = 20_000
_FENCED = re.compile(r"^ {0,3}(```+|~~~+).*?(?:^ {0,3}\1|\Z)", re.MULTILINE | re.DOTALL)


def parse_markdown(text: str) -> Parsed:
    """Return Markdown as it is, without its front matter, whose flat fields become metadata.

    Only `name: value` lines are read of the front matter: a full YAML reader would bring anchors that expand.
    """
    fields: dict[str, str] = {}
    front = _FRONT.match(text[:_LONGEST_FRONT])
    if front:
        fields = {name.lower(): value.strip("\"'") for name, value in _FIELD.findall(front[1]) if value}
        text = text[front.end() :]
    heading = _TITLE.search(_FENCED.sub("", text[:_LONGEST_FRONT]))
    title = fields.pop("title", "") or (heading[1] if heading else "")
    authors = tuple(name.strip() for name in fields.pop("author", "").split(",") if name.strip())
    return Parsed(text, "markdown", "text/markdown", title=title, authors=authors, metadata=dict(fields))
