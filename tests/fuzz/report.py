"""What `make fuzz` saw, kept beside the figures of `load_tests`."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from load_tests.stack import commit, machine


def write(report: Path, statuses: Mapping[int, int], *, seed: int, faults: Sequence[str]) -> None:
    """Write `report` as JSON, and as Markdown beside it; status 0 is no answer."""
    found = {
        "commit": commit(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "requests": sum(statuses.values()),
        "seed": seed,
        "statuses": {str(status): statuses[status] for status in sorted(statuses)},
        "faults": list(faults),
    }
    report.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    asked = f"{found['requests']} requests by software with secrets and certificates, and by people"
    where = ", ".join(f"{name} {value}" for name, value in machine().items())
    lines = [
        "# Nonsense",
        "",
        f"Commit `{found['commit']}`, {found['at']}. {where}. Again: `make fuzz SEED={seed}`.",
        "",
        f"{asked}; {len(faults)} faults.",
        "",
        "| status | answers |",
        "|---|---|",
        *(f"| {status or 'none'} | {statuses[status]} |" for status in sorted(statuses)),
        "",
    ]
    report.with_suffix(".md").write_text("\n".join(lines), encoding="utf-8")
