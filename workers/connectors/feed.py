"""The feed connector's pull: one conditional GET, one event per changed body."""

from hashlib import sha256

from workers.connectors.fetch import Fetcher, FetchError, Validators
from workers.connectors.pulled import Pulled
from workers.connectors.store import Due


async def pull(due: Due, fetcher: Fetcher) -> Pulled:
    """Fetch the feed at the source's `url`. Raises FetchError."""
    url = due.config.get("url")
    if not isinstance(url, str) or not url:
        raise FetchError("the source's configuration has no `url`")
    state = due.state
    # Validators belong to an address: after a change of the configuration they would hide the new feed.
    same = state.get("url") == url
    validators = Validators(str(state.get("etag", "")), str(state.get("last_modified", ""))) if same else Validators()
    fetched = await fetcher.fetch(url, validators)
    if fetched is None:
        return Pulled(state)
    digest = sha256(fetched.body).hexdigest()
    told = {
        "url": url,
        "etag": fetched.validators.etag,
        "last_modified": fetched.validators.last_modified,
        "sha256": digest,
    }
    if same and state.get("sha256") == digest:
        # A server without validators, or one that makes a new one for each answer.
        return Pulled(told)
    return Pulled(told, digest, fetched.body, fetched.content_type, {"url": fetched.url})
