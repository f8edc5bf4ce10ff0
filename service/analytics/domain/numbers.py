"""Shares, delays and rates: rounded half up, once, from the exact quotient."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

_MINUTE, _HOUR = 60_000_000, 3_600_000_000  # in microseconds


@dataclass(frozen=True, slots=True)
class Rate:
    """A quotient of counts, with the members of the same answer that it is made of.

    `numerator` and `denominator` are sums of members: "published - withdrawn". The value has 4
    decimals, and is None when the denominator is zero.
    """

    value: Decimal | None
    numerator: str
    denominator: str


def rates(counts: object, named: Mapping[str, tuple[str, str]]) -> dict[str, Rate]:
    """Compute rates from their own names, so that what is said to be divided is divided."""

    def count(name: str) -> int:
        return int(getattr(counts, name))

    return {
        name: Rate(share(total(above, count), total(below, count)), above, below)
        for name, (above, below) in named.items()
    }


def named(counts: Any) -> dict[str, int]:
    """Return the counts of a figure by their path: those of its parts too, no list's."""
    found: dict[str, int] = {}
    for member in fields(counts):
        value = getattr(counts, member.name)
        if isinstance(value, int):
            found[member.name] = value
        elif is_dataclass(value) and not isinstance(value, Delays):
            found |= {f"{member.name}.{inner}": n for inner, n in named(value).items()}
    return found


def total(expression: str, count: Callable[[str], int]) -> int:
    """Add up counts as an expression says: "a + b - c"."""
    found, sign = 0, 1
    for word in expression.split():
        if word in {"+", "-"}:
            sign = 1 if word == "+" else -1
        else:
            found += sign * count(word)
    return found


@dataclass(frozen=True, slots=True)
class Delays:
    """Delays as counted, exact to the microsecond; quantiles interpolate. None of nothing."""

    counted: int = 0
    total: timedelta = timedelta(0)
    median: timedelta | None = None
    p90: timedelta | None = None


@dataclass(frozen=True, slots=True)
class DelayFigures:
    """Mean, median and 90th percentile of delays in one unit, to one decimal; None of nothing."""

    mean: Decimal | None
    median: Decimal | None
    p90: Decimal | None


def in_minutes(delays: Delays) -> DelayFigures:
    """Return delays in minutes."""
    return _in(delays, _MINUTE)


def in_hours(delays: Delays) -> DelayFigures:
    """Return delays in hours."""
    return _in(delays, _HOUR)


def _in(delays: Delays, unit: int) -> DelayFigures:
    mean = _of_unit(delays.total, unit * delays.counted) if delays.counted else None
    median, p90 = (None if d is None else _of_unit(d, unit) for d in (delays.median, delays.p90))
    return DelayFigures(mean, median, p90)


def minutes(delay: timedelta, among: int = 1) -> Decimal:
    """Return a delay, or the mean of several, in minutes to one decimal."""
    return _of_unit(delay, _MINUTE * among)


def _of_unit(delay: timedelta, microseconds: int) -> Decimal:
    return quotient(delay // timedelta(microseconds=1), microseconds, 1)


def share(part: int, whole: int) -> Decimal | None:
    """Return part / whole to 4 decimals; None of nothing."""
    return quotient(part, whole, 4) if whole else None


def percent(part: int, whole: int) -> int | None:
    """Return part / whole as a whole percentage; None of nothing."""
    return int(quotient(100 * part, whole, 0)) if whole else None


def quotient(dividend: int, divisor: int, decimals: int) -> Decimal:
    """Return a quotient, half up, to some decimals."""
    return (Decimal(dividend) / divisor).quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP)
