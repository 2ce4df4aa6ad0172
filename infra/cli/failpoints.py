"""`millrace failpoints`: the places where a test can make a worker process die, fail, wait or stand still."""

import os
from typing import get_args

from infra.cli.terminal import AsJson, command, plain, print_json, print_table, whole


@command
def failpoints(as_json: AsJson = False) -> None:
    """List the failpoints of the delivery runtime. They are switched on by MILLRACE_FAILPOINTS, for tests only."""
    from infra.kafka.failpoints import VARIABLE, Action, Point

    armed = os.environ.get(VARIABLE, "")
    if as_json:
        points = [{"point": point.value, "meaning": point.meaning} for point in Point]
        print_json({"failpoints": points, "actions": list(get_args(Action)), "variable": VARIABLE, "armed": armed})
        return
    print_table((whole("failpoint"), "what is durable there"), [(point.value, point.meaning) for point in Point])
    plain(f'{VARIABLE}="after_effects@ledger=kill:3"   actions: {", ".join(get_args(Action))}   now: {armed or "none"}')
