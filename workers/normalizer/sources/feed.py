"""RSS and Atom feeds, as pulled by the connectors worker: each entry is a document."""

from schemas.documents import Author
from schemas.raw import RawEvent
from workers.normalizer.parse.parsed import Entry, Feed, Job, Limits, Parsed
from workers.normalizer.sources.draft import THIS, Draft, Drafts, NotADocument, Revised, Unrevised
from workers.normalizer.sources.facts import Facts


def job(raw: RawEvent, limits: Limits) -> Job | None:
    """Return what is to be parsed: the feed."""
    return Job("feed", raw.body, address=raw.attributes.get("url", ""), limits=limits) if raw.body.strip() else None


def drafts(raw: RawEvent, parsed: Parsed | Feed | None) -> Drafts:
    """Return a draft per entry. An entry that left the feed is older, not deleted: feeds show the newest few."""
    if not isinstance(parsed, Feed):
        return NotADocument("the feed is empty")
    spoken = [entry for entry in parsed.entries if entry.text.strip()]
    if not spoken:
        return NotADocument("the feed has no entries with a text")
    return tuple(_draft(entry, parsed, raw) for entry in spoken)


def _draft(entry: Entry, feed: Feed, raw: RawEvent) -> Draft:
    facts = Facts()
    address = raw.attributes.get("url", "") or feed.url
    if address:
        facts.state(THIS, "PART_OF", facts.entity("feed", f"web:{address}", feed.title or address))
    for author in entry.authors:
        facts.state(facts.entity("person", f"feed:{author}", author), "AUTHORED", THIS)
    for tag in entry.tags:
        facts.state(THIS, "TAGGED", facts.entity("topic", f"feed:{tag}", tag))
    return Draft(
        external_id=entry.id,
        kind="entry",
        title=entry.title,
        text=entry.text,
        authors=tuple(Author(name=author) for author in entry.authors),
        created_at=entry.published_at,
        updated_at=entry.updated_at,
        url=entry.url,
        metadata={"feed": feed.title, "tags": entry.tags},
        entities=facts.entities,
        relations=facts.relations,
        # Texts are corrected without a new date, whatever the standards say: of one date the later pull counts. What
        # has not changed since the last pull is not published again, here as everywhere.
        revision=Revised(entry.updated_at) if entry.updated_at else Unrevised(),
    )
