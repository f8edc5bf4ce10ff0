"""What somebody learns who may only ask: every answer is an equation, and equations are solved."""

from collections.abc import Hashable, Iterable, Mapping

_PRIME = (1 << 61) - 1  # exact for counts, and no fractions

Sum = Mapping[Hashable, int]  # unknown counts with their coefficients


class Knowledge:
    """Linear equations about unknown counts, kept solved."""

    def __init__(self) -> None:
        self._solved: dict[Hashable, tuple[dict[Hashable, int], int]] = {}

    def learn(self, unknown: Iterable[Hashable] | Sum, value: int) -> None:
        """Add what an answer says: these counts add up to that."""
        row, rest = self._reduced(unknown, value)
        if not row:
            assert rest == 0, "The answers contradict each other."
            return
        pivot, coefficient = next(iter(row.items()))
        inverse = pow(coefficient, -1, _PRIME)
        row = {name: c * inverse % _PRIME for name, c in row.items()}
        rest = rest * inverse % _PRIME
        for name, (other, known) in self._solved.items():
            if factor := other.get(pivot):
                self._solved[name] = _less(other, known, row, rest, factor)
        self._solved[pivot] = row, rest

    def finds(self, unknown: Iterable[Hashable] | Sum) -> int | None:
        """Return what these counts add up to, if that follows."""
        row, rest = self._reduced(unknown, 0)
        return None if row else -rest % _PRIME

    def _reduced(
        self, unknown: Iterable[Hashable] | Sum, value: int
    ) -> tuple[dict[Hashable, int], int]:
        row = dict(unknown) if isinstance(unknown, Mapping) else dict.fromkeys(unknown, 1)
        row, value = {n: c % _PRIME for n, c in row.items()}, value % _PRIME
        for name in list(row):
            if name in self._solved and (factor := row.get(name)):
                row, value = _less(row, value, *self._solved[name], factor)
        return row, value


def _less(
    row: dict[Hashable, int], value: int, other: Mapping[Hashable, int], rest: int, factor: int
) -> tuple[dict[Hashable, int], int]:
    row = dict(row)
    for name, coefficient in other.items():
        left = (row.get(name, 0) - factor * coefficient) % _PRIME
        if left:
            row[name] = left
        else:
            row.pop(name, None)
    return row, (value - factor * rest) % _PRIME
