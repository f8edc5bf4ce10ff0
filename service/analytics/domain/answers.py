"""How an answer is made up: figures of the whole, and of groups when they were asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from service.analytics.domain.periods import Period, Question

F = TypeVar("F")


@dataclass(frozen=True, slots=True)
class Counted(Generic[F]):
    """What one statement counted: each range, and its groups if any were asked for."""

    totals: Sequence[F]
    groups: Sequence[Mapping[str | None, F]]


@dataclass(frozen=True, slots=True)
class Group(Generic[F]):
    """The figures of one group: a month (`2022-01`), a community's id, an hour (`08`), ...

    The key is None for rows that have none: a slot whose organization is in no community. `name`
    is the community's name.
    """

    key: str | None
    period: Period
    figures: F
    name: str | None = None
    withheld: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Answer(Generic[F]):
    """Figures of the whole, and of its groups; `groups` is None when no grouping was asked for.

    Where groups overlap, a row counts in several of them, or in none of them alone: they do not
    add up to the whole, on purpose. `withheld` names the counts that the caller is not told; it is
    None for who is told everything.
    """

    question: Question
    synthetic: bool
    total: F
    groups: tuple[Group[F], ...] | None
    groups_overlap: bool | None
    withheld: frozenset[str] | None = None
