"""The page is served whole, to everyone, and can do nothing but talk to its own gateway."""

import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

from gateway.routes.page import ASSETS, START
from tests.unit.gateway.conftest import Door, assert_problem

REPOSITORY = Path(__file__).parents[3]
TEXTS = {name: asset.content.decode() for name, asset in ASSETS.items()}
REFERENCE = re.compile(r"""(?:src|href)="(/[^"#]+)"|from "\./([^"]+)"|url\(([^)]+)\)""")


async def test_the_page_needs_no_key_and_its_policy_lets_nothing_else_in(door: Door) -> None:
    response = await door.client.get("/", headers={"authorization": ""})
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert "<title>Millrace</title>" in response.text
    policy = dict(part.strip().split(" ", 1) for part in response.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert {policy[each] for each in ("script-src", "style-src", "img-src", "connect-src")} == {"'self'"}
    assert policy["frame-ancestors"] == policy["form-action"] == policy["base-uri"] == "'none'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("name", ASSETS)
async def test_an_asset_is_served_once_and_then_known(door: Door, name: str) -> None:
    first = await door.client.get(f"/page/{name}")
    assert first.content == ASSETS[name].content
    assert "content-security-policy" in first.headers
    again = await door.client.get(f"/page/{name}", headers={"if-none-match": f'"other", W/{first.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    changed = await door.client.get(f"/page/{name}", headers={"if-none-match": '"another"'})
    assert changed.status_code == 200
    head = await door.client.head(f"/page/{name}")
    assert (head.status_code, head.headers["content-type"]) == (200, first.headers["content-type"])


@pytest.mark.parametrize(
    "path", ["/page/nothing.js", "/page/__init__.py", "/page/", "/page/..%2Fapp.py", "/page/a/b.js"]
)
async def test_nothing_else_is_served(door: Door, path: str) -> None:
    assert_problem(await door.client.get(path), 404, "not_found")


@pytest.mark.parametrize("name", TEXTS)
def test_what_a_file_refers_to_is_a_file_of_the_page(name: str) -> None:
    for absolute, module, address in REFERENCE.findall(TEXTS[name]):
        assert module in ASSETS or absolute.removeprefix("/page/") in ASSETS, (name, absolute, module)
        assert not address
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg|html\.spec\.)", TEXTS[name])


def test_nothing_is_inline_and_nothing_parses_markup() -> None:
    assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=", TEXTS[START])
    sinks = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment|\beval\("
    for name, text in TEXTS.items():
        assert not re.search(sinks, text), name


def test_the_wheel_carries_every_file() -> None:
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    carried = settings["tool"]["setuptools"]["package-data"]["*"]
    assert {name for name in ASSETS if not any(fnmatch(name, pattern) for pattern in carried)} == set()
    files = {path.name for path in (REPOSITORY / "gateway" / "page").iterdir() if path.is_file()}
    assert files == {*ASSETS, "__init__.py"}
