"""What `make torture` saw, kept beside the figures of `load_tests`."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from load_tests.stack import commit, machine
from tests.history.crowd import Told


def write(report: Path, told: Sequence[Told], *, passed: bool) -> None:
    """Write `report` as JSON, and as Markdown beside it."""
    found = {
        "commit": commit(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "passed": passed,
        "calls": sum(len(one.history.calls) for one in told),
        "seconds": round(sum(one.seconds for one in told)),
        "incidents": sum(len(one.history.incidents) for one in told),
        "violations": [line for one in told for line in one.violations],
        "runs": [one.lines() for one in told],
    }
    report.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    sums = (
        f"{found['calls']} calls in {found['seconds']} s, {found['incidents']} incidents,"
        f" {sum(len(one.violations) for one in told)} violations; every test of `tests/history`"
        f" passed: {'yes' if passed else 'no'}."
    )
    where = ", ".join(f"{name} {value}" for name, value in machine().items())
    lines = [
        "# Histories under deaths",
        "",
        f"Commit `{found['commit']}`, {found['at']}. {where}. Again: `make torture`.",
        "",
        sums,
        "",
        "```text",
        *(line for one in told for line in one.lines()),
        "```",
        "",
    ]
    report.with_suffix(".md").write_text("\n".join(lines), encoding="utf-8")
