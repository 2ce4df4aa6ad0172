from datetime import UTC, datetime

import pytest

from workers.normalizer.parse.feed import parse_feed
from workers.normalizer.parse.parsed import ParseError

ATOM = b"""<?xml version="1.0" encoding="utf-8"?>
<feed xmlns="http://www.w3.org/2005/Atom"><title>Mill news</title><link href="https://mill.example/"/>
<entry><id>tag:mill.example,2024:1</id><title>The &lt;b&gt;wheel&lt;/b&gt; turns</title>
<link href="/news/1"/><author><name>Maren Quist</name></author><category term="wheel"/>
<published>2024-05-01T10:00:00Z</published><updated>2024-05-02T10:00:00+02:00</updated>
<content type="html">&lt;p&gt;Since &lt;a href="/log"&gt;Sunday&lt;/a&gt;.
&lt;script&gt;alert(1)&lt;/script&gt;&lt;/p&gt;</content></entry>
<entry><id>tag:mill.example,2024:1</id><title>An older state</title><updated>2024-04-01T10:00:00Z</updated></entry>
</feed>"""

RSS = b"""<?xml version="1.0"?><rss version="2.0"><channel><title>News</title><link>https://mill.example/</link>
<item><title>One</title><link>https://mill.example/1</link><description>Text &amp;amp; more</description>
<pubDate>Wed, 01 May 2024 10:00:00 GMT</pubDate></item>
<item><title>Undated</title></item></channel></rss>"""


def test_atom() -> None:
    feed = parse_feed(ATOM, "https://mill.example/feed.xml", 10_000)
    assert feed.title == "Mill news"
    (entry,) = feed.entries
    assert entry.id == "tag:mill.example,2024:1"
    assert entry.url == "https://mill.example/news/1"
    assert entry.text == "Since [Sunday](https://mill.example/log)."
    assert "wheel" in entry.title
    assert entry.authors == ("Maren Quist",)
    assert entry.tags == ("wheel",)
    assert entry.updated_at == datetime(2024, 5, 2, 8, tzinfo=UTC)


def test_rss() -> None:
    one, undated = parse_feed(RSS, "", 10_000).entries
    assert one.id == "https://mill.example/1"
    assert one.text == "Text & more"
    assert one.updated_at == one.published_at == datetime(2024, 5, 1, 10, tzinfo=UTC)
    assert undated.text == "Undated"
    assert len(undated.id) == 64
    assert undated.updated_at is None


def rss(*items: str) -> bytes:
    told = "".join(f"<item>{item}</item>" for item in items)
    link = "<link>https://mill.example/</link>"
    return f'<?xml version="1.0"?><rss version="2.0"><channel><title>N</title>{link}{told}</channel></rss>'.encode()


def ids_of(*items: str) -> list[str]:
    return [entry.id for entry in parse_feed(rss(*items), "", 10_000).entries]


GUID = "<guid isPermaLink='false'>1</guid>"


@pytest.mark.parametrize(
    "items",
    [
        pytest.param([f"<link>https://mill.example/{name}</link><title>{name}</title>" for name in "ab"], id="links"),
        pytest.param([f"<link>https://mill.example/x</link><title>{name}</title>" for name in "ab"], id="shared link"),
        pytest.param([f"<link>https://mill.example/</link><title>{name}</title>" for name in "ab"], id="home page"),
        pytest.param(
            [f"{GUID}<link>https://mill.example/{name}</link><title>{name}</title>" for name in "ab"], id="shared guid"
        ),
        pytest.param([f"<title>{name}</title>" for name in "ab"], id="titles alone"),
        pytest.param(
            [f"<pubDate>Wed, 0{day} May 2024 10:00:00 GMT</pubDate><description>x</description>" for day in (1, 2)],
            id="dates alone",
        ),
    ],
)
def test_two_things_have_two_ids_that_outlive_an_edit(items: list[str]) -> None:
    before, after = ids_of(*items), ids_of(*(f"{item}<category>c</category>" for item in items))
    assert len(set(before)) == 2
    assert before == after
    texts = [f"{item}<description>edited</description>" for item in items if "description" not in item]
    assert not texts or ids_of(*texts) == before


def test_what_named_an_entry_goes_on_to_name_it() -> None:
    alone = "<link>https://mill.example/1</link><title>One</title>"
    assert ids_of(alone) == ["https://mill.example/1"]
    assert ids_of(f"{GUID}{alone}", f"{GUID}<title>One, corrected</title>") == ["1"], "two states of one thing"
    assert ids_of("<link>https://mill.example/</link><title>One</title>") != ["https://mill.example/"]


def test_entities_do_not_expand() -> None:
    bomb = b"""<?xml version="1.0"?><!DOCTYPE rss [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">
<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;"><!ENTITY f SYSTEM "file:///etc/passwd">]>
<rss version="2.0"><channel><item><title>T</title><description>&c;&f;</description></item></channel></rss>"""
    (entry,) = parse_feed(bomb, "", 1_000_000).entries
    assert len(entry.text) < 1_000
    assert "root:" not in entry.text


@pytest.mark.parametrize("body", [b"no feed at all", b"<html><p>page</p></html>", b"{}"])
def test_no_feed(body: bytes) -> None:
    with pytest.raises(ParseError) as caught:
        parse_feed(body, "", 1_000)
    assert caught.value.reason == "unreadable_document"


def test_entries_together_are_bounded() -> None:
    with pytest.raises(ParseError) as caught:
        parse_feed(ATOM, "", 5)
    assert caught.value.reason == "oversize"
