"""Prints docs/metrics.md: `python -m infra.telemetry.document > docs/metrics.md`."""

import sys

from infra.telemetry.metrics import Metric

HEAD = """# Metrics

Generated from `infra/telemetry/metrics.py` by `python -m infra.telemetry.document > docs/metrics.md`; a test fails \
when it is stale. Every process serves its own at `/metrics` (the gateway on its port, a worker host on \
`MILLRACE_METRICS_PORT`) in the Prometheus text format.

Labels are bounded sets: never a document, a path or a message.
"""


def document() -> str:
    """Return the Markdown document of the whole vocabulary."""
    rows = ["| Name | Kind | Unit | Labels | Meaning |", "|---|---|---|---|---|"]
    for metric in Metric:
        definition = metric.value
        labels = ", ".join(f"`{label}`" for label in definition.labels)
        rows.append(
            f"| `{metric.export_name}` | {definition.kind} | {definition.unit} | {labels} | {definition.meaning} |"
        )
    return HEAD + "\n" + "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.stdout.write(document())
