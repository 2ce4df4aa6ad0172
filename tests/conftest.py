"""For all tests: where the real sample data is."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def sample_data() -> Path:
    """The folder of real data: `MILLRACE_TEST_DATA`, else `shared/data` beside the clone, else the committed sample."""
    given = os.environ.get("MILLRACE_TEST_DATA")
    beside = REPOSITORY.parent / "shared" / "data"
    return Path(given) if given else beside if beside.is_dir() else REPOSITORY / "tests" / "data"
