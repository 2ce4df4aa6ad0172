"""The mutations of the harness stand on the present sources, and their table speaks of them and no others."""

import re
from pathlib import Path

import pytest

from bench.mutants import MUTATIONS, Change, Mutation, NotFoundError
from bench.mutations import asserted, failures
from tests.contract.code import REPOSITORY

TABLE = REPOSITORY / "docs" / "mutations.md"


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_what_a_mutation_replaces_is_there_once_and_what_comes_of_it_is_python(mutation: Mutation) -> None:
    texts = {change.path: (REPOSITORY / change.path).read_text(encoding="utf-8") for change in mutation.changes}
    for change in mutation.changes:
        texts[change.path] = change.applied_to(texts[change.path])
    for path, text in texts.items():
        assert text != (REPOSITORY / path).read_text(encoding="utf-8")
        compile(text, path, "exec")


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_the_tests_of_a_mutation_exist(mutation: Mutation) -> None:
    assert mutation.tests
    for test in mutation.tests:
        path, name = test.split("::")
        assert re.search(rf"^(?:async )?def {name}\(", (REPOSITORY / path).read_text(encoding="utf-8"), re.MULTILINE)


def test_the_table_names_every_mutation_its_meaning_and_its_tests() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| (.+?) \| (.+?) \|", TABLE.read_text(encoding="utf-8"), re.MULTILINE)
    wanted = [(each.name, each.says, {test.split("::")[1] for test in each.tests}) for each in MUTATIONS]
    assert [(name, says, set(re.findall(r"`(test_\w+)`", tests))) for name, says, tests in rows] == wanted


def test_a_text_that_is_gone_or_there_twice_stops_the_mutation(tmp_path: Path) -> None:
    source = tmp_path / "a.py"
    source.write_text("x = 1\nx = 1\n", encoding="utf-8")
    for find in ("x = 1", "y = 1"):
        mutation = Mutation("m", "says", (Change("a.py", find, "z = 1"),), ())
        with pytest.raises(NotFoundError, match=re.escape("a.py")), mutation.applied(tmp_path):
            raise AssertionError("applied")
    with Mutation("m", "says", (Change("a.py", "1\nx", "2\nx"),), ()).applied(tmp_path):
        assert source.read_text(encoding="utf-8") == "x = 2\nx = 1\n"
    assert source.read_text(encoding="utf-8") == "x = 1\nx = 1\n"


def test_only_an_assertion_counts(tmp_path: Path) -> None:
    report = tmp_path / "junit.xml"
    report.write_text(
        "<testsuites><testsuite>"
        '<testcase name="fell"><failure message="AssertionError: 3 records are committed"/></testcase>'
        '<testcase name="bare"><failure message="assert 1 == 2"/></testcase>'
        '<testcase name="raised"><failure message="KeyError: 1"/></testcase>'
        '<testcase name="broke"><error message="AssertionError: in a fixture"/></testcase>'
        '<testcase name="passed"/>'
        "</testsuite></testsuites>",
        encoding="utf-8",
    )
    failed = failures(report)
    assert failed.keys() == {"fell", "bare", "raised", "broke"}
    assert asserted(failed).keys() == {"fell", "bare"}
