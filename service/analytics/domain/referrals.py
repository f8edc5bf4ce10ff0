"""Who sent patients to town: an emergency department, a pharmacy, the regulation, ...

Bookings count by their creation, in the territory of the slot or the communities of the
organization that receives; each once, however often it was moved.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from service.analytics.domain.numbers import Rate, named, rates

_REFERRAL_RATES: Mapping[str, tuple[str, str]] = {
    "missed": ("missed", "fulfilled + missed"),
    "cancelled": ("cancelled", "booked"),
}


class ReferralsBy(StrEnum):
    """What one line of a grouped answer is about; role and organization type are the requester's.

    `cpts` is a community of the organization that receives.
    """

    MONTH = "month"
    CPTS = "cpts"
    ROLE = "role"
    ORGANIZATION_TYPE = "organization_type"
    NONE = "none"

    @property
    def overlaps(self) -> bool:
        """Tell whether a booking may count in several groups."""
        return self is ReferralsBy.CPTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Requester:
    """Bookings asked by one role from one kind of organization.

    booked = fulfilled + missed + cancelled + pending (not reported yet, past or to come).
    """

    role: str
    organization_type: str
    booked: int = 0
    fulfilled: int = 0
    missed: int = 0
    cancelled: int = 0
    pending: int = 0

    @property
    def rates(self) -> dict[str, Rate]:
        """`missed` is of the reported, `cancelled` of all."""
        return rates(self, _REFERRAL_RATES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Referrals:
    """Bookings of every requester, and of each: the requesters add up to the whole."""

    booked: int = 0
    fulfilled: int = 0
    missed: int = 0
    cancelled: int = 0
    pending: int = 0
    requesters: tuple[Requester, ...] = ()

    COUNTS: ClassVar[tuple[str, ...]] = ("booked", "fulfilled", "missed", "cancelled", "pending")

    @property
    def cells(self) -> dict[str, int]:
        """Every count of the whole by its name in the answer."""
        return named(self)

    @property
    def rates(self) -> dict[str, Rate]:
        """`missed` is of the reported, `cancelled` of all."""
        return rates(self, _REFERRAL_RATES)


def referrals(requesters: Iterable[Requester]) -> Referrals:
    """Add up requesters, most bookings first."""
    found = sorted(requesters, key=lambda r: (-r.booked, r.role, r.organization_type))
    sums = {name: sum(getattr(r, name) for r in found) for name in Referrals.COUNTS}
    return Referrals(requesters=tuple(found), **sums)
