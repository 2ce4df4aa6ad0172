"""A pytest plugin: with several processes (`pytest -n 2 --dist loadscope`) tests that share servers run in one of them.

By the folder and not by xdist's own marks of groups: those change the name of a test in a way that pytest 9.2 no longer
knows (pytest-xdist 3.8.0).
"""

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

SHARING = {"live", "flow", "faults"}
"""Folders whose tests share servers, which are started once per process."""
ALONE = ("live/local/", "live/gateway/clients/")
"""Folders whose tests start stacks of their own: they need not wait for the others."""


class ByServers(LoadScopeScheduling):
    """Hands out the tests of such a folder together, largest folder first, and all others one by one."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.removeprefix("tests/")
        folder, _, _ = path.partition("/")
        if folder not in SHARING:
            return nodeid
        return next((alone for alone in ALONE if path.startswith(alone)), folder)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Schedule by servers."""
    return ByServers(config, log)
