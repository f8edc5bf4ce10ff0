"""Which counts may be told to whoever gets aggregates only. Pure.

A count of 1 to 10 people may give one of them away (the CASD's rule for hospital stays: no cell
below 11). To leave it out is not enough: it is the difference of others that are told. In short:

1. No count of 1 to 10 is told, nor one that differs by so few from another that is told.
2. What is told is decided once for each calendar year of a territory, by months that are over;
   every answer is a sum of what is told there.
3. What is left out has company: it is two things at least, and together they are 11 or more.
4. Who counts twice is decided once: what two communities share is a group of its own, and a
   community is told where all its groups are; different doctors are told of whole years, and by
   community where nobody is in two.
5. Counts that add up are told together or not at all, and only where their sum is, whichever
   figure asks.

So, month by month:

- **Months.** A month with a small count is not told. The months of a year that are not told are
  told together, as part of the whole year, when there are two of them at least and together they
  are large enough; else the year is not told either.
- **Communities.** A month is told by community when every community can be told. The other months
  of the year are told by community together; there, small groups are left out, and the next
  smallest ones with them until what is left out is two at least, and large enough together.
- **Other lines** (hours, priorities, roles) are told for whole years of a territory, as above.
- **Parts.** A count within another (`_within`) is told where the other is, and where what is left
  of the other is large or nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from service.analytics.domain.numbers import total
from service.kernel.errors import Invalid

Cells = Mapping[str, int]
Keys = tuple[str | None, ...]  # what one row counts under: several communities, or one hour
Lines = Mapping[Keys, Cells]  # by all that rows count under: each row is in one of these


class FiguresTooFine(Invalid):
    """Figures so narrow are for the staff of the territory."""

    code = "figures-too-fine"
    title = "So narrow a figure is not told to this role."


@dataclass(frozen=True, slots=True)
class Family:
    """Counts that are told together or not at all, and only where those `after` which they come.

    `differences` are sums of counts ("calls - requested") that follow from what is told: they
    decide as the counts do. `distinct` counts, of different people, do not add up.
    """

    cells: tuple[str, ...]
    after: tuple[str, ...] = ()
    differences: tuple[str, ...] = ()
    distinct: bool = False


@dataclass(frozen=True, slots=True)
class Month:
    """The counts of a month that is over: of the territory, and by communities."""

    key: str
    whole: Cells
    lines: Lines


@dataclass(frozen=True, slots=True)
class People:
    """The distinct counts of a year that is over: of the territory, and of each community."""

    whole: Cells
    lines: Sequence[Cells]


@dataclass(frozen=True, slots=True)
class _Told:
    """What of one family is told of one year."""

    months: frozenset[str]  # that are not told by themselves ...
    together: bool  # ... but together, with the others
    months_by_line: frozenset[str]
    lines: frozenset[Keys] | None  # left out in the months together; None: all of them
    keys: frozenset[Keys] | None  # left out of the year's other lines; None: all of them


@dataclass
class Secrecy:
    """What is told of one calendar year, by count."""

    floor: int
    months: Sequence[Month]
    keys: Lines = field(default_factory=dict)
    people: People | None = None
    _told: dict[str, _Told] = field(default_factory=dict)

    def decide(self, families: Iterable[Family]) -> "Secrecy":
        """Decide for every family, in their order: one comes after those that it depends on."""
        for family in families:
            told = self._distinct(family) if family.distinct else self._decide(family)
            self._told |= dict.fromkeys(family.cells, told)
        return self

    def tells(self, cell: str, months: Iterable[str]) -> bool:
        """Tell whether a count of the territory is told, of some months of this year together."""
        told = self._told[cell]
        return self._all_or_none(told.months, months, whole=told.together)

    def tells_line(self, cell: str, months: Iterable[str], line: str | None) -> bool:
        """Tell whether a count of one community is told, of some months of this year together."""
        told = self._told[cell]
        left_in = told.lines is not None and not _under(line, told.lines)
        return self._all_or_none(told.months_by_line, months, whole=left_in)

    def tells_key(self, cell: str, key: str | None) -> bool:
        """Tell whether a count of one line is told, of the whole year."""
        keys = self._told[cell].keys
        return keys is not None and not _under(key, keys)

    def knows(self, months: Iterable[str]) -> bool:
        """Tell whether these months are over."""
        return set(months) <= {month.key for month in self.months}

    def _all_or_none(self, secret: frozenset[str], months: Iterable[str], *, whole: bool) -> bool:
        inside = secret.intersection(asked := list(months))
        return self.knows(asked) and (not inside or (inside == secret and whole))

    def _decide(self, family: Family) -> _Told:
        before = [self._told[cell] for cell in family.after]
        cells = (*family.cells, *family.differences)
        months = _union(b.months for b in before) | {
            m.key for m in self.months if self._any_small([m.whole], cells)
        }
        by_line = months.union(_union(b.months_by_line for b in before)) | {
            m.key for m in self.months if not self._by_line(m, cells)
        }
        together = (
            self._is_over()
            and all(b.together for b in before)
            and self._hide_each_other([m.whole for m in self.months if m.key in months], cells)
        )
        lines = keys = None
        if together:
            secret = added(
                line for m in self.months if m.key in by_line for line in m.lines.items()
            )
            lines = self._left_out(secret, cells, _left_out_before(b.lines for b in before))
            keys = self._left_out(self.keys, cells, _left_out_before(b.keys for b in before))
        return _Told(frozenset(months), together, frozenset(by_line), lines, keys)

    def _distinct(self, family: Family) -> _Told:
        """Decide for a whole year: for all communities, where nobody is in two, or none."""
        before = [self._told[cell] for cell in family.after]
        cells = (*family.cells, *family.differences)
        together = by_line = False
        if self.people is not None:
            whole, lines = self.people.whole, self.people.lines
            together = all(b.together for b in before) and not self._any_small([whole], cells)
            by_line = (
                together
                and all(b.lines is not None for b in before)
                and not self._any_small(lines, cells)
                and all(_count(_sum(lines), cell) == _count(whole, cell) for cell in cells)
            )
        year = frozenset(month.key for month in self.months)
        return _Told(year, together, year, frozenset() if by_line else None, None)

    def _by_line(self, month: Month, cells: Sequence[str]) -> bool:
        return not self._any_small(month.lines.values(), cells)

    def _is_over(self) -> bool:
        return len(self.months) == _MONTHS

    def _small(self, count: int) -> bool:
        return 0 < count < self.floor

    def _any_small(self, several: Iterable[Cells], cells: Sequence[str]) -> bool:
        return any(self._small(_count(counts, cell)) for counts in several for cell in cells)

    def _hide_each_other(self, months: Sequence[Cells], cells: Sequence[str]) -> bool:
        """Tell whether months that are told together hide one another."""
        if len(months) == 1:
            return False
        for cell in cells:
            counts = [_count(month, cell) for month in months]
            # A sum that only equal months can have, all of them as small or as large as may be.
            told_by_the_sum = counts and set(counts) in ({1}, {self.floor - 1})
            if self._small(sum(counts)) or told_by_the_sum:
                return False
        return True

    def _left_out(
        self, lines: Lines, cells: Sequence[str], before: frozenset[Keys] | None
    ) -> frozenset[Keys] | None:
        """Return the lines that are not told; None: there is none that could be."""
        if before is None:
            return None
        out = {keys for keys, counts in lines.items() if self._any_small([counts], cells)} | before
        if not out:
            return frozenset()

        def size(keys: Keys) -> int:
            return sum(_count(lines[keys], cell) for cell in cells)

        # First what is not told anyway, of communities that share something with those left out.
        others = sorted(
            (keys for keys in lines if keys not in out and size(keys)),
            key=lambda keys: (not any(_under(key, out) for key in keys), size(keys), str(keys)),
        )
        while others and not self._has_company([lines[k] for k in out if k in lines], cells):
            out.add(others.pop(0))
        return frozenset(out)

    def _has_company(self, lines: Sequence[Cells], cells: Sequence[str]) -> bool:
        """Tell whether lines that are left out hide one another."""
        real = [counts for counts in lines if any(_count(counts, cell) for cell in cells)]
        return len(real) > 1 and not self._any_small([_sum(real)], cells)


_MONTHS = 12


def _union(sets: Iterable[frozenset[str]]) -> set[str]:
    return set().union(*sets)


def _left_out_before(sets: Iterable[frozenset[Keys] | None]) -> frozenset[Keys] | None:
    found: set[Keys] = set()
    for one in sets:
        if one is None:
            return None
        found |= one
    return frozenset(found)


def _under(key: str | None, several: Iterable[Keys]) -> bool:
    return any(key in keys for keys in several)


def _count(counts: Cells, cell: str) -> int:
    return total(cell, lambda name: counts.get(name, 0))


def _sum(several: Iterable[Cells]) -> dict[str, int]:
    found: dict[str, int] = {}
    for counts in several:
        for cell, count in counts.items():
            found[cell] = found.get(cell, 0) + count
    return found


def added(several: Iterable[tuple[Keys, Cells]]) -> Lines:
    """Add up the counts that have the same keys."""
    by_line: dict[Keys, list[Cells]] = {}
    for keys, counts in several:
        by_line.setdefault(keys, []).append(counts)
    return {keys: _sum(counts) for keys, counts in by_line.items()}


# --- what belongs together in each figure ---------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rules:
    """How one figure is told: its families, in the order in which they are decided.

    `keys` are the groups that may be asked for, besides months and communities: one dimension, or
    two that have nothing to do with each other.
    """

    families: tuple[Family, ...]
    # A count that is the sum of others in different families: told where they are.
    sums: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    keys: frozenset[str] = frozenset()


def _alone(*cells: str) -> tuple[Family, ...]:
    return tuple(Family((cell,)) for cell in cells)


def _within(cell: str, *whole: str, distinct: bool = False) -> Family:
    """Count part of a sum of others: the rest of it follows."""
    return Family((cell,), whole, (f"{' + '.join(whole)} - {cell}",), distinct)


_ADVISED, _ORIENTED, _PRESCRIBED, _OTHER = (
    f"outcomes.{category}.calls"
    for category in ("medical_advice", "slot_orientation", "prescription", "other")
)
_NONE, _MENTIONS = "calls_without_outcome", "outcome_mentions"
_AVOIDED = "avoided_emergency_visits.calls"
_UNREACHED, _REDIRECTED, _REST = (
    f"outcomes.other.detail.{outcome}.calls"
    for outcome in ("patient_unreachable", "redirected_to_15", "other")
)
CALL_OUTCOMES = Rules(
    (
        *_alone("calls"),
        _within(_ORIENTED, "calls"),
        # Not the calls with several outcomes: beside the mentions they would tell who has three.
        Family(
            (_ADVISED, _PRESCRIBED, _OTHER, _MENTIONS, _NONE),
            after=("calls", _ORIENTED),
            differences=(
                *(f"calls - {_NONE} - {c}" for c in (_ADVISED, _ORIENTED, _PRESCRIBED, _OTHER)),
                f"{_MENTIONS} + {_NONE} - calls",
            ),
        ),
        _within(_AVOIDED, "calls"),
        Family(
            (_UNREACHED, _REDIRECTED, _REST),
            after=(_OTHER, _AVOIDED),
            differences=(
                *(f"{_OTHER} - {detail}" for detail in (_UNREACHED, _REDIRECTED, _REST)),
                f"{_UNREACHED} + {_REDIRECTED} + {_REST} - {_OTHER}",
                f"calls - {_REDIRECTED} - {_AVOIDED}",  # no avoided one was redirected
            ),
        ),
        _within("callback_minutes.calls", "calls"),
        _within("within_60_minutes", "callback_minutes.calls"),
    ),
)
SLOT_USAGE = Rules(
    (
        # `live`: booked seats, which the figure of appointments tells too.
        *_alone("live", "walk_in"),
        Family(("published",), ("live",), ("published - live",)),
        Family(("booked", "withdrawn", "expired", "open", "overbooked"), ("published", "live")),
        _within("replaced", "withdrawn"),
        _within("given_back", "withdrawn"),
        _within("released", "published"),
        Family(
            ("released_and_booked",),
            ("released", "booked"),
            ("released - released_and_booked", "booked - released_and_booked"),
        ),
    ),
    keys=frozenset({"hour"}),
)
APPOINTMENTS = Rules(
    (
        *_alone("live", "cancelled"),
        Family(("fulfilled", "missed", "unreported", "upcoming"), ("live",)),
        Family(
            tuple(f"cancelled_by.{side}" for side in ("patient", "requester", "doctor", "system")),
            ("cancelled",),
        ),
        _within("sent_to_emergency", "fulfilled", "missed"),
        _within("within_48_hours", "live"),
        _within("within_24_hours", "within_48_hours"),
    ),
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
    (
        *_alone("calls"),
        # The outcomes of calls tell the attempted ones too, and not the requested ones.
        _within("attempted", "calls"),
        Family(
            ("requested",),
            after=("attempted",),
            differences=("calls - requested", "requested - attempted"),
        ),
        _within("reached", "attempted"),
        _within("within_60_minutes", "attempted"),
    ),
    keys=frozenset({"hour", "priority"}),
)
CPTS_INDICATORS = Rules(
    (
        *_alone("requests.calls"),
        _within("requests.oriented", "requests.calls"),
        _within("requests.with_appointment", "requests.oriented"),
        Family(
            tuple(f"requests.{name}" for name in ("honoured", "pending", "missed", "given_up")),
            ("requests.with_appointment",),
        ),
        _within("requests.within_48_hours", "requests.with_appointment"),
        _within("requests.within_24_hours", "requests.within_48_hours"),
        Family(("doctors.publishing",), distinct=True),
        _within("doctors.offering", "doctors.publishing", distinct=True),
        Family(("doctors.booked",), distinct=True),
    ),
)
UNMET_NEEDS = Rules((*_alone("needs"), _within("needs_with_open_slots", "needs")))
