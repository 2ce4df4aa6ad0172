"""`millrace failpoints`: the places where a test can make a worker process die, fail, wait or stand still."""

import os
from typing import get_args

from rich.table import Table

from infra.cli.terminal import AsJson, command, out, plain, print_json


@command
def failpoints(as_json: AsJson = False) -> None:
    """List the failpoints of the delivery runtime. They are switched on by MILLRACE_FAILPOINTS, for tests only."""
    from infra.kafka.failpoints import VARIABLE, Action, Point

    armed = os.environ.get(VARIABLE, "")
    if as_json:
        points = [{"point": point.value, "meaning": point.meaning} for point in Point]
        print_json({"failpoints": points, "actions": list(get_args(Action)), "variable": VARIABLE, "armed": armed})
        return
    shown = Table("failpoint", "what is durable there")
    for point in Point:
        shown.add_row(point.value, point.meaning)
    out.print(shown)
    plain(f'{VARIABLE}="after_effects@ledger=kill:3"   actions: {", ".join(get_args(Action))}   now: {armed or "none"}')
