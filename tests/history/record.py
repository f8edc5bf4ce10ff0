"""What was asked and what was answered: one line of JSON a call, with its start and its end."""

import json
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any


class Outcome(StrEnum):
    """What a caller may conclude from what it got."""

    DONE = "done"
    REFUSED = "refused"
    UNSENT = "unsent"  # nobody listened: nothing was asked
    UNKNOWN = "unknown"  # no answer, or one that leaves open whether it happened


@dataclass(frozen=True, slots=True)
class Call:
    """One request and its answer. `id` is its X-Request-Id, which events keep as correlation id.

    Calls with the same `operation` are tries of the same thing: with a key, one effect in all.
    `started` and `ended` are monotonic seconds of the machine that called.
    """

    id: str
    operation: str
    kind: str
    actor: str
    organization_id: str
    client_id: str
    method: str
    path: str
    started: float
    ended: float
    key: str | None = None
    asked: dict[str, Any] = field(default_factory=dict)
    status: int | None = None
    code: str | None = None
    replayed: bool = False
    retry_after: str | None = None
    answer: dict[str, Any] = field(default_factory=dict)
    lost: str | None = None  # why there is no answer

    @property
    def outcome(self) -> Outcome:
        """What a caller may conclude: 503 may hide a commit whose answer was lost."""
        if self.status is None:
            return Outcome.UNSENT if self.lost == "unsent" else Outcome.UNKNOWN
        if self.status >= 500:
            return Outcome.UNKNOWN
        return Outcome.DONE if self.status < 300 else Outcome.REFUSED


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that was done to the installation: a death, a cut, a restart."""

    what: str
    at: float


@dataclass(slots=True)
class History:
    """Every call of a run. `clock` added to a monotonic instant gives the database's (epoch)."""

    clock: float = 0.0
    calls: list[Call] = field(default_factory=list)
    incidents: list[Incident] = field(default_factory=list)

    def add(self, call: Call) -> None:
        """Keep a call."""
        self.calls.append(call)

    def happened(self, what: str) -> None:
        """Keep an incident of now."""
        self.incidents.append(Incident(what, time.monotonic()))

    def counts(self) -> Counter[tuple[str, str]]:
        """Count the calls by kind and by status, or by why there was none."""
        return Counter((c.kind, str(c.status or c.lost)) for c in self.calls)

    def save(self, path: Path) -> None:
        """Write one line of JSON a call; the first line is the clock."""
        lines: Iterable[dict[str, Any]] = (
            {"clock": self.clock},
            *({"incident": asdict(incident)} for incident in self.incidents),
            *(asdict(call) for call in self.calls),
        )
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def load(path: Path) -> History:
    """Read what `save` wrote."""
    history = History()
    for line in path.read_text(encoding="utf-8").splitlines():
        found = json.loads(line)
        if "clock" in found:
            history.clock = found["clock"]
        elif "incident" in found:
            history.incidents.append(Incident(**found["incident"]))
        else:
            history.calls.append(Call(**found))
    return history
