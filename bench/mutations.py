"""Breaks the delivery layer on purpose, one promise at a time, and expects the tests to notice.

    python -m bench.mutations [NAME…] [--list] [--json] [--report FILE]

Each mutation replaces an exact piece of the source; one that is not found exactly once is an error, so that none rots
in silence. Everything happens in a copy of the committed tree in a temporary folder, with this environment's
libraries. First the untouched copy must pass every test named here (what fails is tried once more: machines are noisy);
then, for each mutation, its tests must fail, and by an assertion: a mutant that merely cannot start proves nothing.
Exit status 0 if every mutation is caught, else 1.
The table of results: docs/mutations.md.
"""

import argparse
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree as ET

import orjson

from bench.mutants import MUTATIONS, Mutation

REPOSITORY = Path(__file__).parents[1]
PACKAGES = ("schemas", "topics", "infra", "workers", "gateway", "bench")
WITHIN_S = 900
"""For one selection of tests: servers start, the mutant misbehaves, a wait runs out."""


class BrokenCopyError(Exception):
    """The copy cannot be judged: not the mutants are wrong but what they stand on."""


@dataclass(frozen=True)
class Judged:
    """What the tests said of one mutation."""

    name: str
    caught: bool
    by: tuple[str, ...]
    """Tests that failed by an assertion."""
    seconds: float
    said: str
    """The first line of the assertion, or why the mutation counts as surviving."""


@dataclass
class Copy:
    """The committed tree, in a folder of its own."""

    folder: Path

    @classmethod
    def of(cls, revision: str, folder: Path) -> "Copy":
        """Unpack `revision` into `folder`. Raises CalledProcessError."""
        packed = subprocess.run(
            ["git", "archive", "--format=tar", revision], cwd=REPOSITORY, capture_output=True, check=True
        )
        with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
            # Python knows of filters from 3.11.4 on, and passes the attribute over before.
            archive.extraction_filter = getattr(tarfile, "data_filter", None)
            archive.extractall(folder)  # noqa: S202 - our own tree
        copy = cls(folder)
        copy.check_imports()
        return copy

    @property
    def environment(self) -> dict[str, str]:
        """Variables of a process that works in the copy; its packages come first on the path."""
        return os.environ | {"PYTHONPATH": str(self.folder), "PYTHONDONTWRITEBYTECODE": "1"}

    def check_imports(self) -> None:
        """Make sure that a process in the copy imports the copy's packages. Raises BrokenCopyError."""
        code = "import importlib, sys; print(*(importlib.import_module(name).__path__[0] for name in sys.argv[1:]))"
        found = subprocess.run(
            [sys.executable, "-c", code, *PACKAGES],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        wrong = [place for place in found.stdout.split() if not Path(place).is_relative_to(self.folder)]
        if wrong:
            raise BrokenCopyError(f"imported from elsewhere: {', '.join(wrong)}")

    def test(self, tests: Sequence[str]) -> tuple[int, dict[str, str], float]:
        """Run `tests`; return pytest's status, the message of each that failed, and the seconds it took."""
        report = self.folder / "junit.xml"
        report.unlink(missing_ok=True)
        began = time.monotonic()
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *tests]
        try:
            done = subprocess.run(
                command, cwd=self.folder, env=self.environment, capture_output=True, timeout=WITHIN_S, check=False
            )
            status = done.returncode
        except subprocess.TimeoutExpired:
            status = -1
        took = time.monotonic() - began
        return status, failures(report) if report.exists() else {}, took


def failures(report: Path) -> dict[str, str]:
    """Return the message of each test in a JUnit report that failed or broke, by name; what broke begins with `!`."""
    found = {}
    # Written by pytest a moment ago.
    for case in ET.parse(report).getroot().iter("testcase"):  # noqa: S314
        for kind, mark in (("failure", ""), ("error", "!")):
            for told in case.iter(kind):
                found[str(case.get("name"))] = mark + (told.get("message") or "")
    return found


def asserted(failed: Mapping[str, str]) -> dict[str, str]:
    """Return those failures that an assertion made."""
    return {name: told for name, told in failed.items() if told.startswith(("AssertionError", "assert "))}


def judge(mutation: Mutation, copy: Copy) -> Judged:
    """Apply `mutation` to the copy, run its tests, take it back."""
    with mutation.applied(copy.folder):
        status, failed, took = copy.test(mutation.tests)
    by = asserted(failed)
    if by:
        said = next(iter(by.values())).splitlines()[0]
    elif failed:
        said = "failed, but by no assertion: " + next(iter(failed.values())).splitlines()[0][:200]
    else:
        said = "survived" if status == 0 else f"no verdict: pytest ended with {status}"
    return Judged(mutation.name, bool(by), tuple(by), round(took, 1), said[:300])


def untouched(copy: Copy, tests: Sequence[str]) -> frozenset[str]:
    """Return the names of those `tests` that fail on the untouched copy, twice. Raises BrokenCopyError."""
    status, failed, took = copy.test(tests)
    if failed:
        _say(f"untouched: failed, tried once more: {failed}")
        status, failed, _ = copy.test([test for test in tests if test.split("::")[1] in failed])
    if status and not failed:
        raise BrokenCopyError(f"no verdict on the untouched copy: pytest ended with {status}")
    _say(f"untouched: {len(tests) - len(failed)} of {len(tests)} tests passed in {took:.0f} s")
    return frozenset(failed)


def run(mutations: Sequence[Mutation], revision: str) -> list[Judged]:
    """Judge `mutations` on a copy of `revision`. Raises BrokenCopyError."""
    with tempfile.TemporaryDirectory(prefix="millrace-mutants-") as name:
        # Open to others than root: Postgres of the tests runs as `nobody` there.
        Path(name).chmod(0o711)
        copy = Copy.of(revision, Path(name))
        tests = sorted({test for mutation in mutations for test in mutation.tests})
        broken = untouched(copy, tests)
        judged = []
        for mutation in mutations:
            if any(test.split("::")[1] in broken for test in mutation.tests):
                judged.append(Judged(mutation.name, False, (), 0.0, "its test fails on the untouched copy"))
            else:
                judged.append(judge(mutation, copy))
            verdict = "caught" if judged[-1].caught else "SURVIVED"
            _say(f"{mutation.name:28} {verdict:9} {judged[-1].seconds:6.1f} s  {', '.join(judged[-1].by)}")
            if not judged[-1].caught:
                _say(f"    {judged[-1].said}")
        return judged


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """Parse arguments, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = {mutation.name: mutation for mutation in MUTATIONS}
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all")
    parser.add_argument("--list", action="store_true", help="say what there is, run nothing")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--revision", default="HEAD", help="what to break")
    parser.add_argument("--report", type=Path)
    options = parser.parse_args()
    if unknown := set(options.names) - known.keys():
        parser.error(f"no mutation {', '.join(sorted(unknown))}; --list names them")
    chosen = [known[name] for name in options.names] or list(MUTATIONS)
    if options.list:
        shown = [{"name": each.name, "says": each.says, "tests": each.tests} for each in chosen]
        print(orjson.dumps(shown).decode() if options.json else "\n".join(f"{m.name:28} {m.says}" for m in chosen))
        return 0
    try:
        judged = run(chosen, options.revision)
    except BrokenCopyError as error:
        _say(str(error))
        return 1
    survivors = [each.name for each in judged if not each.caught]
    report = {"passed": not survivors, "survivors": survivors, "mutations": [asdict(each) for each in judged]}
    text = orjson.dumps(report, option=orjson.OPT_INDENT_2)
    target = options.report or Path("reports") / f"mutations-{datetime.now(UTC):%Y%m%d-%H%M%S}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(text)
    _say(f"{len(judged) - len(survivors)} of {len(judged)} caught; report: {target}")
    if options.json:
        print(text.decode())
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
