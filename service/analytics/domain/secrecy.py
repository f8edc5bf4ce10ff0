"""Which counts may be told to whoever gets aggregates only. Pure.

A count of 1 to 10 people may give one of them away (the CASD's rule for hospital stays: no cell
below 11). To leave it out is not enough: it is the difference of others that are told. So what is
told is decided once for each calendar year of a territory, whatever is asked, and every answer is a
sum of what is told there:

- **Months.** A month with a small count is not told. The months of a year that are not told are
  told together, as part of the whole year, when there are two of them at least and together they
  are large enough; else the year is not told either.
- **Communities.** A month is told by community when every community can be told. The other months
  of the year are told by community together; there, small communities are left out, and the next
  smallest ones with them until what is left out is two at least, and large enough together.
- **Other lines** (hours, priorities, roles) are told for whole years of a territory, as above.
- **Sums.** Counts that add up to another count are told together or not at all (`Family`), and only
  where what they add up to is told; so is a count that another figure tells under another name.

A month that is not over is not told: asking again tomorrow would tell what happened today.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from service.kernel.errors import Invalid

Cells = Mapping[str, int]
Lines = Mapping[str | None, Cells]


class FiguresTooFine(Invalid):
    """Figures so narrow are for the staff of the territory."""

    code = "figures-too-fine"
    title = "So narrow a figure is not told to this role."


@dataclass(frozen=True, slots=True)
class Family:
    """Counts that are told together or not at all, and only where those `after` which they come."""

    cells: tuple[str, ...]
    after: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Month:
    """The counts of a month that is over: of the territory, and by community."""

    key: str
    whole: Cells
    lines: Lines


@dataclass(frozen=True, slots=True)
class _Told:
    """What of one family is told of one year."""

    months: frozenset[str]  # that are not told by themselves ...
    together: bool  # ... but together, with the others
    months_by_line: frozenset[str]
    lines: frozenset[str | None] | None  # left out in the months together; None: all of them
    keys: frozenset[str | None] | None  # left out of the year's other lines; None: all of them


@dataclass
class Secrecy:
    """What is told of one calendar year, by count."""

    floor: int
    months: Sequence[Month]
    keys: Lines = field(default_factory=dict)
    _told: dict[str, _Told] = field(default_factory=dict)

    def decide(self, families: Iterable[Family]) -> "Secrecy":
        """Decide for every family, in their order: one comes after those that it depends on."""
        for family in families:
            told = self._decide(family)
            self._told |= dict.fromkeys(family.cells, told)
        return self

    def tells(self, cell: str, months: Iterable[str]) -> bool:
        """Tell whether a count of the territory is told, of some months of this year together."""
        told = self._told[cell]
        return self._all_or_none(told.months, months, whole=told.together)

    def tells_line(self, cell: str, months: Iterable[str], line: str | None) -> bool:
        """Tell whether a count of one community is told, of some months of this year together."""
        told = self._told[cell]
        left_in = told.lines is not None and line not in told.lines
        return self._all_or_none(told.months_by_line, months, whole=left_in)

    def tells_key(self, cell: str, key: str | None) -> bool:
        """Tell whether a count of one line is told, of the whole year."""
        keys = self._told[cell].keys
        return keys is not None and key not in keys

    def knows(self, months: Iterable[str]) -> bool:
        """Tell whether these months are over."""
        return set(months) <= {month.key for month in self.months}

    def _all_or_none(self, secret: frozenset[str], months: Iterable[str], *, whole: bool) -> bool:
        inside = secret.intersection(asked := list(months))
        return self.knows(asked) and (not inside or (inside == secret and whole))

    def _decide(self, family: Family) -> _Told:
        before = [self._told[cell] for cell in family.after]
        cells = family.cells
        months = _union(b.months for b in before) | {
            m.key for m in self.months if self._any_small(m.whole, cells)
        }
        by_line = months.union(_union(b.months_by_line for b in before)) | {
            m.key
            for m in self.months
            if any(self._any_small(line, cells) for line in m.lines.values())
        }
        together = (
            len(self.months) == _MONTHS
            and all(b.together for b in before)
            and self._large_together([m.whole for m in self.months if m.key in months], cells)
        )
        lines = keys = None
        if together:
            secret = [m.lines for m in self.months if m.key in by_line]
            lines = self._left_out(_added(secret), cells, _left_out_before(b.lines for b in before))
            keys = self._left_out(self.keys, cells, _left_out_before(b.keys for b in before))
        return _Told(frozenset(months), together, frozenset(by_line), lines, keys)

    def _small(self, count: int) -> bool:
        return 0 < count < self.floor

    def _any_small(self, counts: Cells, cells: Iterable[str]) -> bool:
        return any(self._small(counts.get(cell, 0)) for cell in cells)

    def _large_together(self, months: Sequence[Cells], cells: Iterable[str]) -> bool:
        """Tell whether months that are told together hide one another."""
        if len(months) == 1:
            return False
        for cell in cells:
            counts = [month.get(cell, 0) for month in months]
            # A sum that only equal months can have, all of them as small or as large as may be.
            told_by_the_sum = counts and set(counts) in ({1}, {self.floor - 1})
            if self._small(sum(counts)) or told_by_the_sum:
                return False
        return True

    def _left_out(
        self, lines: Lines, cells: Sequence[str], before: frozenset[str | None] | None
    ) -> frozenset[str | None] | None:
        """Return the lines that are not told; None: there is none that could be."""
        if before is None:
            return None
        out = {key for key, counts in lines.items() if self._any_small(counts, cells)} | before
        if not out:
            return frozenset()

        def size(key: str | None) -> int:
            return sum(lines[key].get(cell, 0) for cell in cells)

        others = sorted(
            (key for key in lines if key not in out and size(key)),
            key=lambda key: (size(key), str(key)),
        )

        def hidden() -> bool:
            real = [lines[key] for key in out if key in lines and size(key)]
            return len(real) > 1 and not self._any_small(_sum(real), cells)

        while others and not hidden():
            out.add(others.pop(0))
        return frozenset(out)


_MONTHS = 12


def _union(sets: Iterable[frozenset[str]]) -> set[str]:
    return set().union(*sets)


def _left_out_before(
    sets: Iterable[frozenset[str | None] | None],
) -> frozenset[str | None] | None:
    found: set[str | None] = set()
    for one in sets:
        if one is None:
            return None
        found |= one
    return frozenset(found)


def _sum(several: Iterable[Cells]) -> dict[str, int]:
    total: dict[str, int] = {}
    for counts in several:
        for cell, count in counts.items():
            total[cell] = total.get(cell, 0) + count
    return total


def _added(several: Iterable[Lines]) -> dict[str | None, dict[str, int]]:
    by_line: dict[str | None, list[Cells]] = {}
    for lines in several:
        for line, counts in lines.items():
            by_line.setdefault(line, []).append(counts)
    return {line: _sum(counts) for line, counts in by_line.items()}


# --- what belongs together in each figure ---------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rules:
    """How one figure is told: its families, and what is never told beside them.

    `distinct` counts do not add up (of different doctors): each is told by its own size. `unshown`
    counts only decide. `keys` are the groups that may be asked for, besides months and communities.
    """

    families: tuple[Family, ...]
    distinct: tuple[str, ...] = ()
    unshown: frozenset[str] = frozenset()
    # A count that is the sum of others in different families: told where they are.
    sums: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    keys: frozenset[str] = frozenset()


def _alone(*cells: str) -> tuple[Family, ...]:
    return tuple(Family((cell,)) for cell in cells)


_ORIENTED = "outcomes.slot_orientation.calls"
_OTHER = "outcomes.other.detail"
CALL_OUTCOMES = Rules(
    (
        *_alone("calls", _ORIENTED),
        # Their sum is the calls, but for those in several: each is the difference of the others.
        Family(
            (
                "outcomes.medical_advice.calls",
                "outcomes.prescription.calls",
                "outcomes.other.calls",
                "outcome_mentions",
                "calls_with_several_outcomes",
                "calls_without_outcome",
            ),
            after=("calls", _ORIENTED),
        ),
        Family(
            tuple(
                f"{_OTHER}.{outcome}.calls"
                for outcome in ("patient_unreachable", "redirected_to_15", "other")
            ),
            after=("outcomes.other.calls",),
        ),
        *_alone("avoided_emergency_visits.calls", "callback_minutes.calls", "within_60_minutes"),
    ),
    unshown=frozenset({"within_60_minutes"}),
)
SLOT_USAGE = Rules(
    (
        # `live`: booked seats, which the figure of appointments tells too.
        *_alone("published", "live", "replaced", "walk_in"),
        Family(("booked", "withdrawn", "expired", "open", "overbooked"), ("published", "live")),
    ),
    unshown=frozenset({"live"}),
    keys=frozenset({"hour"}),
)
APPOINTMENTS = Rules(
    (
        *_alone("live", "cancelled", "sent_to_emergency", "within_24_hours", "within_48_hours"),
        Family(("fulfilled", "missed", "unreported", "upcoming"), ("live",)),
        Family(
            tuple(f"cancelled_by.{side}" for side in ("patient", "requester", "doctor", "system")),
            ("cancelled",),
        ),
    ),
    unshown=frozenset({"live"}),
    sums={"booked": ("live", "cancelled")},
    keys=frozenset({"hour"}),
)
REFERRALS = Rules(
    (
        *_alone("booked"),
        Family(("fulfilled", "missed", "cancelled", "pending"), ("booked",)),
    ),
    keys=frozenset({"role"}),
)
CALLBACKS = Rules(
    _alone("calls", "requested", "attempted", "reached", "within_60_minutes"),
    keys=frozenset({"hour", "priority"}),
)
CPTS_INDICATORS = Rules(
    (
        *_alone("requests.calls", "requests.oriented", "requests.with_appointment"),
        *_alone("requests.within_24_hours", "requests.within_48_hours"),
        Family(
            tuple(f"requests.{name}" for name in ("honoured", "pending", "missed", "given_up")),
            ("requests.with_appointment",),
        ),
    ),
    distinct=("doctors.publishing", "doctors.offering", "doctors.booked"),
)
UNMET_NEEDS = Rules(_alone("needs", "needs_with_open_slots"))
