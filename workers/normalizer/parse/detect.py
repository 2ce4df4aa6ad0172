"""Tells what a file is: by its first bytes where they tell, else by its name, else by what the sender said."""

from pathlib import PurePosixPath

from workers.normalizer.parse.parsed import ParseError

PDF = "application/pdf"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
HTML = "text/html"
MARKDOWN = "text/markdown"
CSV = "text/csv"
TSV = "text/tab-separated-values"
JSON = "application/json"
JSON_LINES = "application/x-ndjson"
TEXT = "text/plain"
CODE = "text/x-source"

_BY_EXTENSION = {
    **dict.fromkeys((".md", ".markdown", ".mdown", ".mkd", ".mdx"), MARKDOWN),
    **dict.fromkeys((".html", ".htm", ".xhtml"), HTML),
    **dict.fromkeys((".txt", ".text", ".log", ".rst", ".adoc", ".org", ".tex", ".srt", ".vtt"), TEXT),
    ".csv": CSV,
    ".tsv": TSV,
    ".json": JSON,
    ".geojson": JSON,
    ".jsonl": JSON_LINES,
    ".ndjson": JSON_LINES,
    ".pdf": PDF,
    ".docx": DOCX,
}

LANGUAGES = {
    ".py": "python", ".pyi": "python", ".js": "javascript", ".mjs": "javascript", ".cjs": "javascript",
    ".jsx": "javascript", ".ts": "typescript", ".tsx": "typescript", ".go": "go", ".rs": "rust", ".java": "java",
    ".kt": "kotlin", ".kts": "kotlin", ".scala": "scala", ".c": "c", ".h": "c", ".cc": "cpp", ".cpp": "cpp",
    ".cxx": "cpp", ".hpp": "cpp", ".cs": "csharp", ".rb": "ruby", ".php": "php", ".swift": "swift", ".m": "objective-c",
    ".sh": "shell", ".bash": "shell", ".zsh": "shell", ".ps1": "powershell", ".sql": "sql", ".r": "r", ".jl": "julia",
    ".lua": "lua", ".pl": "perl", ".ex": "elixir", ".exs": "elixir", ".erl": "erlang", ".hs": "haskell",
    ".clj": "clojure", ".dart": "dart", ".css": "css", ".scss": "scss", ".less": "less", ".vue": "vue",
    ".yaml": "yaml", ".yml": "yaml", ".toml": "toml", ".ini": "ini", ".cfg": "ini", ".xml": "xml", ".proto": "protobuf",
    ".tf": "terraform", ".graphql": "graphql", ".gradle": "gradle", ".cmake": "cmake", ".mako": "mako",
}  # fmt: skip
"""Extension to the name of the language, as told in the metadata `code_language`."""

_CODE_NAMES = {"dockerfile": "dockerfile", "makefile": "make", "cmakelists.txt": "cmake", "jenkinsfile": "groovy"}

_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENCRYPTED_PACKAGE = "EncryptedPackage".encode("utf-16-le")
_BOMS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_BINARY = {
    b"\x89PNG": "PNG image", b"\xff\xd8\xff": "JPEG image", b"GIF8": "GIF image", b"\x1f\x8b": "gzip archive",
    b"BZh": "bzip2 archive", b"\xfd7zXZ": "xz archive", b"7z\xbc\xaf": "7z archive", b"Rar!": "RAR archive",
    b"\x7fELF": "program", b"MZ\x90": "program", b"{\\rtf": "RTF document", b"SQLite format": "SQLite database",
    b"OggS": "Ogg media", b"ID3": "MP3 audio", b"wOFF": "font", b"\x00asm": "WebAssembly program",
}  # fmt: skip
_SNIFF = 8_192


def media_type(body: bytes, name: str, content_type: str) -> str:
    """Return the media type of `body`, one of this file's constants.

    Raises ParseError `unsupported_media_type` for a binary format that is not read, `encrypted_document` for an
    encrypted Office file, `unreadable_document` where the name promises a format that the bytes are not.
    """
    head = body[:_SNIFF]
    extension = PurePosixPath(name.lower()).suffix
    if b"%PDF-" in head[:1_024]:
        return PDF
    if head.startswith(b"PK\x03\x04"):
        return _zipped(body, extension)
    if head.startswith(_OLE):
        raise _ole(body)
    if extension in {".pdf", ".docx"}:
        raise ParseError("unreadable_document", f"the name ends in {extension}, the bytes are none")
    for magic, what in _BINARY.items():
        if head.startswith(magic):
            raise ParseError("unsupported_media_type", f"a {what}")
    if b"\0" in head and not head.startswith(_BOMS):
        raise ParseError("unsupported_media_type", "binary data")
    return _textual(head, name, extension, content_type)


def code_language(name: str) -> str:
    """Return the programming language that a file name tells, empty if none."""
    path = PurePosixPath(name.lower())
    return LANGUAGES.get(path.suffix) or _CODE_NAMES.get(path.name, "")


def _zipped(body: bytes, extension: str) -> str:
    # The central directory at the end names every member, without unpacking anything.
    if b"word/document" in body[-1024 * 1024 :] or extension == ".docx":
        return DOCX
    raise ParseError("unsupported_media_type", "a zip archive that is no DOCX")


def _ole(body: bytes) -> ParseError:
    if _ENCRYPTED_PACKAGE in body:
        return ParseError("encrypted_document", "an Office document under a password")
    return ParseError("unsupported_media_type", "an Office document of before 2007")


def _textual(head: bytes, name: str, extension: str, content_type: str) -> str:
    if extension in _BY_EXTENSION:
        return _BY_EXTENSION[extension]
    if code_language(name):
        return CODE
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:256].lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return HTML
    stated = content_type.partition(";")[0].strip().lower()
    return stated if stated in {HTML, MARKDOWN, CSV, TSV, JSON, JSON_LINES} else TEXT
