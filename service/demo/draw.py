"""Seeded chance: the same numbers at every run, on every machine."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random
from typing import Any, TypeVar
from uuid import UUID

T = TypeVar("T")
Row = dict[str, Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_LOW_BITS = 18  # of the counter, kept in the low half of an id


def stream(name: str) -> Random:
    """A stream of its own for each purpose, so that a change in one does not reshuffle the rest."""
    return Random(f"indre-2022/{name}")  # noqa: S311  nothing here is a secret


class Identifiers:
    """Makes UUIDv7-shaped ids from the row's own time: time (ms), a counter, seeded chance.

    Newest first by id is newest first by time; within a millisecond the counter decides.
    """

    def __init__(self, name: str) -> None:
        self._random = stream(f"ids/{name}")
        self._count = count()

    def at(self, instant: datetime) -> UUID:
        """Make the id of a row born at an instant."""
        milliseconds = (instant - _EPOCH) // _MILLISECOND
        number = next(self._count)
        high = milliseconds << 16 | 0x7 << 12 | number >> _LOW_BITS
        low = 0b10 << 62 | (number & (1 << _LOW_BITS) - 1) << 44 | self._random.getrandbits(44)
        return UUID(int=high << 64 | low)


def pick(random: Random, shares: Mapping[T, float]) -> T:
    """Draw one key by its share; shares need not add up to anything."""
    return random.choices(tuple(shares), tuple(shares.values()))[0]


def sample(random: Random, weights: Mapping[T, float], size: int) -> set[T]:
    """Draw `size` different keys, likelier by weight; a key of weight zero is never drawn.

    The largest `u ** (1 / weight)` win (Efraimidis and Spirakis, 2006).
    """
    keys = {key: random.random() ** (1 / weight) for key, weight in weights.items() if weight > 0}
    return set(sorted(keys, key=keys.__getitem__, reverse=True)[:size])


def apportion(total: int, weights: Sequence[float]) -> list[int]:
    """Split a whole number by weights, exactly (largest remainders)."""
    exact = [total * weight / sum(weights) for weight in weights]
    parts = [int(share) for share in exact]
    by_remainder = sorted(range(len(exact)), key=lambda i: parts[i] - exact[i])
    for i in by_remainder[: total - sum(parts)]:
        parts[i] += 1
    return parts


def minutes(random: Random, low: float, high: float) -> timedelta:
    """Draw a duration between two numbers of minutes, in whole seconds."""
    return timedelta(seconds=round(random.uniform(low, high) * 60))
