"""The number of a document's state: of two the greater is newer. Of equal ones: `workers.normalizer.decide`.

A number is, in this order of preference,
1. the sender's own number;
2. the source's revision time in whole seconds since 2000-01-01, with the low 22 bits of the delivery's offset in
   `raw.events` below it: seconds decide, arrival decides within one second. 31 bits of seconds last until 2068 and the
   whole stays below 2^53;
3. twice the offset plus two. Doubled, so that a user's deletion, which takes the number after the version it removes,
   never meets the number of the next delivery.

A source's final deletion (GitHub never reuses an id) counts as one second later than its own date: an
update of the same second that arrives after it must not bring the document back.

What the source cannot date (`Follows`) takes the number of whatever arrived before it, which only the gate knows; its
own number counts where nothing did.
"""

from datetime import UTC, datetime, timedelta

from schemas.event import MAX_VERSION
from workers.normalizer.sources.draft import Follows, Numbered, Revised, Revision

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
"""Before any source that is read here kept revisions."""
OFFSET_BITS = 22
_OFFSET_MASK = (1 << OFFSET_BITS) - 1
_MAX_SECONDS = (1 << 31) - 1
_SECOND = timedelta(seconds=1)


def version_of(revision: Revision, offset: int, *, ended: bool = False) -> int:
    """Return the number of a state that arrived at `offset` (of the partition where it was first accepted).

    `ended`: the state is the final deletion.
    """
    if isinstance(revision, Numbered):
        return revision.version
    if isinstance(revision, Revised | Follows) and revision.at is not None:
        seconds = min(max((revision.at - EPOCH) // _SECOND + ended, 0), _MAX_SECONDS)
        exact = isinstance(revision, Revised) and revision.exact and not ended
        return max(seconds << OFFSET_BITS | (0 if exact else offset & _OFFSET_MASK), 1)
    return unrevised(offset)


def unrevised(offset: int) -> int:
    """Return the version of a state without a revision: even, so that the odd numbers are free for deletions."""
    return min(2 * (offset + 1), MAX_VERSION)


def user_deletion(after_version: int | None, offset: int, *, ordered: bool) -> int:
    """Return the number of a deletion at the user's word, `after_version` being the number of the state that they saw.

    `ordered` says that the deletion stands in the same partition as the document's deliveries (files: the external id
    is in the key), so that its offset counts too: it then also covers a version which the user had not seen yet.
    Elsewhere the offsets of the two partitions cannot be compared, and taking the deletion's own could hide every
    later delivery; there the deletion takes the number after the version that the user saw.
    """
    after = min((after_version or 0) + 1, MAX_VERSION)
    return max(after, unrevised(offset)) if ordered or after_version is None else after
