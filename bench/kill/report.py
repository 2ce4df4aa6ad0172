"""The figures of a run, as a table to read and as JSON to keep."""

import statistics
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table

from bench.kill.findings import Fault, Findings
from bench.kill.killer import Killed
from bench.kill.kinds.flood import Waits
from bench.kill.senders import Sent


@dataclass
class Report:
    """Everything that a run tells."""

    setting: dict[str, Any]
    findings: Findings
    sent: Sent
    killed: Killed
    steps: int
    events: int
    documents: int
    kinds: Counter[str] = field(default_factory=Counter)
    """Deliveries by what they are in the stream for."""
    lacking: list[str] = field(default_factory=list)
    """What the stream should have held and did not: a comparison without it proves nothing about it."""
    waits: Waits = field(default_factory=Waits)
    sending_s: float = 0.0
    settling_s: float = 0.0
    comparing_s: float = 0.0
    peak_pss_bytes: int = 0
    peak_by_process: dict[str, int] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """The verdict: nothing differs, everything was compared, every kill took place."""
        needed = ("documents in Postgres", "documents in the log", "vector points", "searches")
        compared = all(self.findings.checked[what] for what in needed)
        return self.findings.clean and compared and not self.killed.missed and not self.lacking

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain data."""
        total_s = self.sending_s + self.settling_s
        waits = sorted(self.sent.waits_s)
        return {
            "passed": self.passed,
            "setting": self.setting,
            "stream": {
                "deliveries": self.steps,
                "events": self.events,
                "documents": self.documents,
                "kinds": dict(self.kinds),
                "lacking": self.lacking,
            },
            "verdict": {fault.value: self.findings.total(fault) for fault in Fault},
            "findings": [
                {"fault": fault.value, "sink": sink, "count": count, "examples": self.findings.examples[fault, sink]}
                for (fault, sink), count in self.findings.counts.most_common()
            ],
            "compared": dict(self.findings.checked),
            "seconds": {"sending": self.sending_s, "settling": self.settling_s, "comparing": self.comparing_s},
            "deliveries_per_s": self.steps / total_s if total_s else None,
            "accepted": self.sent.accepted,
            "refused": self.sent.refused,
            "retries": dict(self.sent.retries.most_common()),
            "acceptance_s": _ranks(waits),
            "flood": {
                "lasted_s": self.waits.lasted_s,
                "searchable_s": {name: _ranks(getattr(self.waits, name)) for name in ("flood", "beside", "otherwise")},
            },
            "kills": dict(self.killed.kills),
            "kills_missed": self.killed.missed,
            "recovery_s": {
                target: {"median": statistics.median(times), "max": max(times), "times": len(times)}
                for target, times in self.killed.recoveries_s.items()
            },
            "memory": {"peak_pss_bytes": self.peak_pss_bytes, "peak_by_process": self.peak_by_process},
        }

    def write(self, folder: Path) -> Path:
        """Write the JSON into `folder`; return the file."""
        folder.mkdir(parents=True, exist_ok=True)
        name = "-".join(str(self.setting[part]) for part in ("events", "kills", "seed", "encoder"))
        path = folder / f"kill-test-{name}.json"
        path.write_bytes(orjson.dumps(self.as_json(), option=orjson.OPT_INDENT_2))
        return path

    def show(self, console: Console) -> None:
        """Print it."""
        told = self.as_json()
        console.print(self._kills())
        console.print(self._verdict())
        for (fault, sink), count in self.findings.counts.most_common():
            console.print(f"{fault.value} in {sink}: {count}", style="bold red")
            for example in self.findings.examples[fault, sink]:
                console.print(f"  {example}", markup=False)
        for missed in self.killed.missed:
            console.print(f"kill that did not take place: {missed}", style="bold red")
        for trait in self.lacking:
            console.print(f"the stream had nothing of this: {trait}; more events, or fewer --kinds", style="bold red")
        console.print("stream: " + ", ".join(f"{count} times {trait}" for trait, count in sorted(self.kinds.items())))
        console.print(self._waits())
        console.print("compared: " + ", ".join(f"{count} {what}" for what, count in told["compared"].items()))
        console.print(
            f"{self.steps} deliveries of {self.events} events, {self.documents} documents, encoder "
            f"{self.setting['encoder']}: {told['deliveries_per_s']:.0f} deliveries/s "
            f"({self.sending_s:.0f} s sending, {self.settling_s:.0f} s more until quiet, {self.comparing_s:.0f} s "
            f"comparing); {sum(self.sent.retries.values())} tries again at the senders; "
            f"peak memory {self.peak_pss_bytes / 2**20:,.0f} MB (sum of PSS)"
        )

    def _kills(self) -> Table:
        table = Table("killed -9", "times", "back after: median", "max")
        for target, times in sorted(self.killed.kills.items()):
            seconds = self.killed.recoveries_s.get(target) or []
            shown = (f"{statistics.median(seconds):.1f} s", f"{max(seconds):.1f} s") if seconds else ("?", "?")
            table.add_row(target, str(times), *shown)
        return table

    def _waits(self) -> str:
        parts = {"the flood itself": self.waits.flood, "others beside it": self.waits.beside}
        told = [
            f"{name} {_rank(seconds, 0.5):.1f} s, {_rank(seconds, 0.95):.1f} s, {_rank(seconds, 1):.1f} s"
            for name, seconds in (parts | {"others at other times": self.waits.otherwise}).items()
            if seconds
        ]
        lasted = f"a flood of {len(self.waits.flood)} events in {self.waits.lasted_s:.0f} s"
        return f"{lasted}; searchable after (median, p95, max): {'; '.join(told)}" if told else "no flood"

    def _verdict(self) -> Table:
        table = Table("fault", "found")
        for fault in Fault:
            found = self.findings.total(fault)
            table.add_row(fault.value, str(found), style="bold red" if found else "green")
        return table


def _ranks(values: list[float]) -> dict[str, float | None]:
    """Describe sorted seconds."""
    shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
    return {"count": len(values), **{name: _rank(values, share) for name, share in shares.items()}}


def _rank(values: list[float], share: float) -> float | None:
    return values[min(len(values) - 1, int(share * len(values)))] if values else None
