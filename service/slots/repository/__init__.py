"""Every SQL statement of the room. Statements are built once per shape and kept."""

from service.slots.repository.holding import (
    count_holds,
    find_hold,
    place_hold,
    release_hold,
    take_turns,
)
from service.slots.repository.offering import FreeWanted, free, points
from service.slots.repository.publishing import (
    amend,
    by_external_id,
    end_holds,
    insert_slots,
    lock_own,
    lock_practitioners,
    overlapping,
    step_aside,
    withdraw,
)
from service.slots.repository.reading import agenda, find, find_with_grant, own, standing, who_can
from service.slots.repository.searching import Search, count_open, search
from service.slots.repository.seen import add_listings, changes, listed
from service.slots.repository.settling import expire_holds, lock_given_back, tell_steps, told
from service.slots.repository.together import (
    amend_all,
    left_behind,
    lock_emptied,
    lock_orphaned,
    lock_range,
    lock_session,
    take_back,
)

__all__ = [
    "FreeWanted",
    "Search",
    "add_listings",
    "agenda",
    "amend",
    "amend_all",
    "by_external_id",
    "changes",
    "count_holds",
    "count_open",
    "end_holds",
    "expire_holds",
    "find",
    "find_hold",
    "find_with_grant",
    "free",
    "insert_slots",
    "left_behind",
    "listed",
    "lock_emptied",
    "lock_given_back",
    "lock_orphaned",
    "lock_own",
    "lock_practitioners",
    "lock_range",
    "lock_session",
    "overlapping",
    "own",
    "place_hold",
    "points",
    "release_hold",
    "search",
    "standing",
    "step_aside",
    "take_back",
    "take_turns",
    "tell_steps",
    "told",
    "who_can",
    "withdraw",
]
