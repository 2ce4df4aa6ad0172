"""The chat page and its assets: files of this package, needed by nobody's key, the same for everyone.

The page holds no data. What it shows it asks for at /v1 with the key that its user pastes.
"""

from dataclasses import dataclass
from hashlib import sha256
from importlib import resources
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from gateway.problems import Code, Problem

router = APIRouter(include_in_schema=False)

START = "index.html"

_MEDIA_TYPES: Final = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}

SECURITY: Final = {
    # Nothing but this gateway's own files, and no way to turn text into markup or script: what a model or a document
    # says stays text even if a line of the page were wrong. https://www.w3.org/TR/CSP3/, https://w3c.github.io/trusted-types/
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    # Asked for again each time, and answered with 304: a new version of the gateway is on the screen at once.
    "cache-control": "no-cache",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file of the page."""

    content: bytes
    media_type: str
    etag: str


def _assets() -> dict[str, Asset]:
    found = {}
    for file in resources.files("gateway.page").iterdir():
        media_type = _MEDIA_TYPES.get(file.name.rpartition(".")[2])
        if media_type is not None:
            content = file.read_bytes()
            found[file.name] = Asset(content, media_type, f'"{sha256(content).hexdigest()[:32]}"')
    return found


ASSETS: Final = _assets()
"""By name. Read once: a path of a request never reaches the file system."""


@router.api_route("/", methods=["GET", "HEAD"])
async def page(request: Request) -> Response:
    """Serve the page."""
    return _served(request, START)


@router.api_route("/page/{name}", methods=["GET", "HEAD"])
async def asset(request: Request, name: str) -> Response:
    """Serve a file of the page."""
    return _served(request, name)


def _served(request: Request, name: str) -> Response:
    found = ASSETS.get(name)
    if found is None:
        raise Problem(Code.NOT_FOUND)
    headers = {**SECURITY, "etag": found.etag}
    known = {each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")}
    if found.etag in known:
        return Response(status_code=304, headers=headers)
    return Response(found.content, headers=headers, media_type=found.media_type)
