import io
import os
import struct
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from docx import Document
from fpdf import FPDF

from workers.normalizer.parse.parsed import Job, Limits, Parsed, ParseError
from workers.normalizer.parse.pdf import pdf_date
from workers.normalizer.parse.run import parse
from workers.normalizer.parse.word import check_expansion

DOCUMENTS = Path(__file__).parents[4] / "data" / "documents"


def read(name: str, body: bytes | None = None, content_type: str = "", **limits: int) -> Parsed:
    body = (DOCUMENTS / name).read_bytes() if body is None else body
    parsed = parse(Job("file", body, name, content_type, limits=Limits(**limits)))
    assert isinstance(parsed, Parsed)
    return parsed


def refused(name: str, body: bytes, **limits: int) -> str:
    with pytest.raises(ParseError) as caught:
        read(name, body, **limits)
    return caught.value.reason


def test_markdown_gives_up_its_front_matter() -> None:
    parsed = read("mill-handbook.md")
    assert parsed.title == "Handbook of the Otterbrook mill"
    assert parsed.authors == ("Maren Quist",)
    assert parsed.metadata == {"version": "4"}
    assert parsed.format == "markdown"
    assert parsed.text.lstrip().startswith("# Handbook")
    assert read("a.md", b"text\n```\n# no title\n```\n# Real title #\n").title == "Real title"


def test_html_is_what_a_reader_sees() -> None:
    parsed = read("visitor-guide.html")
    assert parsed.title == "Visiting the Otterbrook mill"
    assert parsed.authors == ("Ilja Brandt",)
    assert "Opening hours" in str(parsed.metadata["description"])
    assert "| Adult | 6 euros |" in parsed.text
    assert "[Otterbrook station](https://example.org/otterbrook/station)" in parsed.text
    for unseen in ("font-family", "not text", "Machines reading", "Shop"):
        assert unseen not in parsed.text


def test_html_traps() -> None:
    images = b"<h1>T</h1><p>a<img src='data:image/png;base64,AAAA' alt='mill'>b <a href='javascript:alert(1)'>go</a>"
    parsed = read("x.html", images)
    assert parsed.title == "T"
    assert "AAAA" not in parsed.text
    assert "mill" in parsed.text
    assert "javascript" not in parsed.text
    deep = read("deep.html", b"<div>" * 20_000 + b"bottom" + b"</div>" * 20_000)
    assert "bottom" in deep.text
    comment = b"<p>shown<!-- hidden --><span style='display: none'>secret</span></p>"
    assert read("c.html", comment).text.strip() == "shown"


def test_csv_rows_stand_alone() -> None:
    parsed = read("stones.csv")
    lines = parsed.text.splitlines()
    assert lines[2].startswith("stone: The Baron; pair: 2; material: basalt lava")
    assert parsed.metadata["rows"] == 4
    assert "diameter_cm" in parsed.metadata["columns"]  # type: ignore[operator]
    assert read("a.csv", b"name;city\nAnn;Bern\n\nBo;\n").text == "name: Ann; city: Bern\nname: Bo"
    assert read("a.tsv", b"name\tcity\nAnn\tNew York, NY").text == "name: Ann; city: New York, NY"
    assert read("a.csv", b"only,a,header\n").text == "only, a, header"
    assert read("a.csv", b'a,b\n"two\nlines",3,4\n').text == "a: two lines; b: 3; 4"


def test_json_values_stand_beside_their_path() -> None:
    parsed = read("gauge-settings.json")
    assert parsed.title == "Settings of the weir gauge"
    assert "warnings[1].tell[1]: fire brigade of Lower Otterbrook" in parsed.text.splitlines()
    assert read("a.json", b'{"b": [true, null, 1.5, ""]}').text == "b[0]: true\nb[2]: 1.5"
    assert read("a.json", b"{ // comments\n}").text == "{ // comments\n}"
    assert read("a.json", b"[" * 100_000).format == "code"
    assert read("a.jsonl", b'{"a": 1}\nbroken\n{"a": 2}').text == "a: 1\n\nbroken\n\na: 2"


def test_code_keeps_its_text_and_tells_its_language() -> None:
    parsed = read("wheel_power.py")
    assert parsed.format == "code"
    assert parsed.title == "wheel_power.py"
    assert parsed.metadata == {"code_language": "python"}
    assert "    return WATER * GRAVITY" in parsed.text
    assert read("Dockerfile", b"FROM scratch").metadata == {"code_language": "dockerfile"}


def test_docx_keeps_headings_lists_and_tables_in_order() -> None:
    parsed = read("maintenance-log.docx")
    assert parsed.title == "Maintenance log of the Otterbrook mill"
    assert parsed.authors == ("Maren Quist",)
    assert parsed.updated_at == datetime(2024, 6, 1, 16, 30, tzinfo=UTC)
    text = parsed.text
    assert text.index("# Spring 2024") < text.index("tallow") < text.index("| 2024-05-04 | Emergency rope |")
    assert "- Order a new belt" in text


def test_pdf_text_and_facts() -> None:
    parsed = read("water-right.pdf")
    assert parsed.title == "Water right of the Otterbrook mill"
    assert parsed.authors == ("District water board",)
    assert parsed.metadata == {"pages": 2}
    assert "0.62 cubic metres" in parsed.text
    assert "December 2044" in parsed.text
    assert parsed.created_at == datetime(2019, 11, 5, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("D:20240102030405+02'30'", "2024-01-02T03:04:05+02:30"),
        ("D:2024", "2024-01-01T00:00:00+00:00"),
        ("D:20241301", None),
        ("yesterday", None),
        ("D:20240102030405-99'00'", None),
    ],
)
def test_pdf_dates(text: str, moment: str | None) -> None:
    found = pdf_date(text)
    assert (found.isoformat() if found else None) == moment


def test_a_pdf_without_a_text_layer_says_so() -> None:
    page = FPDF()
    page.add_page()
    page.rect(10, 10, 50, 50)
    parsed = read("scan.pdf", bytes(page.output()))
    assert not parsed.text.strip()
    assert "text layer" in parsed.empty


def test_encrypted_files() -> None:
    locked = FPDF()
    locked.add_page()
    locked.set_font("Helvetica")
    locked.cell(text="secret")
    locked.set_encryption(owner_password="owner", user_password="user")
    assert refused("locked.pdf", bytes(locked.output())) == "encrypted_document"
    ole = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 512
    assert refused("a.docx", ole + "EncryptedPackage".encode("utf-16-le")) == "encrypted_document"
    assert refused("a.doc", ole) == "unsupported_media_type"


def test_broken_files() -> None:
    whole = (DOCUMENTS / "water-right.pdf").read_bytes()
    assert refused("a.pdf", b"%PDF-1.7\nnothing more") == "unreadable_document"
    assert refused("a.pdf", b"just a text") == "unreadable_document"
    assert refused("a.docx", b"just a text") == "unreadable_document"
    docx = (DOCUMENTS / "maintenance-log.docx").read_bytes()
    assert refused("a.docx", docx[: len(docx) // 2]) == "unreadable_document"
    assert refused("a.docx", _zip({"word/document.xml": b"<w:document"})) == "unreadable_document"
    flipped = bytearray(docx)
    for place in range(2_000, 2_400):
        flipped[place] ^= 0xFF
    assert refused("a.docx", bytes(flipped)) == "unreadable_document"
    assert "cubic" in read("named.txt", whole).text, "the bytes decide, not the name"


def _zip(members: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in members.items():
            archive.writestr(name, body)
    return target.getvalue()


def test_zip_bombs_are_counted_not_believed() -> None:
    bomb = _zip({"word/document.xml": b"\0" * 3_000_000})
    assert refused("bomb.docx", bomb, expansion=1_000_000) == "expansion_limit"
    # The same bomb claiming, in both directories, to hold ten bytes.
    lying = bomb.replace(struct.pack("<I", 3_000_000), struct.pack("<I", 10))
    assert lying != bomb
    with pytest.raises(ParseError) as caught:
        check_expansion(lying, 1_000_000)
    assert caught.value.reason in {"expansion_limit", "unreadable_document"}
    many = _zip({f"word/document{number}.xml": b"" for number in range(10_001)})
    assert refused("many.docx", many) == "expansion_limit"
    check_expansion(_zip({"a": b"x"}), 1)


@pytest.mark.parametrize(
    "body",
    [b"\x89PNG\r\n\x1a\n\0\0", b"\x7fELF\x02\x01", b"{\\rtf1 text}", b"GIF89a..", b"\x1f\x8b\x08\0",
     bytes(range(256)) * 10,     b"PK\x03\x04" + b"x" * 100, os.urandom(4_096) + b"\0"],
)  # fmt: skip
def test_binary_files_are_refused(body: bytes) -> None:
    assert refused("file", body) == "unsupported_media_type"


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252", "shift_jis", "koi8-r"],
)  # fmt: skip
def test_encodings(encoding: str) -> None:
    told = {
        "shift_jis": "水車は水門を開けてから三十秒以内に動かなければなりません。そうでなければ水門を閉じてください。",
        "koi8-r": "Колесо должно прийти в движение через полминуты после открытия шлюза, иначе шлюз закрывают.",
    }.get(encoding, "Das Mühlrad läuft über den großen Bach, naïve façade – schöne Größe.")
    if encoding == "cp1252":
        told = told.replace("–", "-")
    assert read("a.txt", told.encode(encoding)).text == told


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.py", "a.html"])
def test_longer_than_the_limit(name: str) -> None:
    assert refused(name, b"word " * 500, chars=1_000) == "oversize"
    assert refused(name, b"x" * 10_000, chars=1_000) == "oversize"


def test_longer_than_the_limit_once_read() -> None:
    rows = b"a,b\n" + b"1,2\n" * 300
    assert refused("a.csv", rows, chars=1_500) == "oversize"
    assert refused("a.json", b"[" + b'"v",' * 300 + b'"v"]', chars=2_000) == "oversize"
    assert refused("a.pdf", (DOCUMENTS / "water-right.pdf").read_bytes(), chars=100) == "oversize"
    assert refused("a.docx", (DOCUMENTS / "maintenance-log.docx").read_bytes(), chars=100) == "oversize"


def test_the_type_without_a_telling_name() -> None:
    assert read("README", b"plain words").media_type == "text/plain"
    assert read("", b"\n <!DOCTYPE html><title>T</title><p>x").media_type == "text/html"
    assert read("", b"# T", "text/markdown; charset=utf-8").media_type == "text/markdown"
    assert read("page", (DOCUMENTS / "maintenance-log.docx").read_bytes()).title.startswith("Maintenance")


def test_a_docx_made_elsewhere_with_odd_parts() -> None:
    document = Document()
    document.add_paragraph("")
    document.add_heading("", 1)
    document.add_heading("Deep", 9)
    table = document.add_table(rows=1, cols=2)
    table.rows[0].cells[0].text = "a | b"
    target = io.BytesIO()
    document.save(target)
    parsed = read("odd.docx", target.getvalue())
    assert "###### Deep" in parsed.text
    assert "a \\| b" in parsed.text
