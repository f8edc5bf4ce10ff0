"""Use cases: publish, search, read, amend, withdraw, hold."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from service import directory
from service.directory import Place, reference
from service.identity import Actor, GrantEnded, ensure_live
from service.kernel import events
from service.kernel.db import UnitOfWork
from service.kernel.errors import DomainError, FieldError
from service.kernel.events import Origin
from service.kernel.ids import new_id
from service.kernel.paging import Page, PageRequest, instant
from service.kernel.prepared import Row
from service.kernel.versions import Expected
from service.slots import repository
from service.slots.domain import (
    AUDIENCES_ASKED,
    HOLDS_PER_ORGANIZATION,
    Audience,
    Exposure,
    Hold,
    HoldExpired,
    HoldNotFound,
    NotMyPractitioner,
    OverlappingSlot,
    Slot,
    SlotBooked,
    SlotDraft,
    SlotHeld,
    SlotInvalid,
    SlotNotFound,
    SlotStarted,
    SlotTaken,
    SlotWithdrawn,
    TooManyHolds,
    check_batch,
    check_period,
    check_steps,
    closed_because,
    inactive,
    kept_holds,
    visible_since,
)
from service.slots.domain.context import Entry, entry, rpps_of, specialty_of
from service.slots.domain.free import FreeAgenda, FreePoint
from service.slots.domain.release import COLUMNS, columns_of, steps_of
from service.slots.repository import FreeWanted, Search

# --- searching ----------------------------------------------------------------------------------


async def enter(uow: UnitOfWork, known: Mapping[str, str]) -> Entry:
    """Return where a search begins for who knows `known`, in the words of a contextual call."""
    rpps = rpps_of(known.get("practitioner", ""))
    specialty = specialty_of(known.get("specialty", ""), reference.code_list("specialties"))
    practitioner = await _listed(uow, rpps) if rpps else None
    used = {"inseecode": True, "specialty": specialty, "practitioner": practitioner}
    return entry(
        commune=known.get("inseecode"),
        specialty=specialty,
        practitioner=practitioner,
        unused=tuple(name for name in known if not used.get(name)),
    )


async def _listed(uow: UnitOfWork, rpps: str) -> UUID | None:
    wanted = {"rpps": rpps}
    page = await directory.list_practitioners(uow, wanted, PageRequest(1, None, wanted))
    return next((found.id for found in page.items), None)


# --- publishing ---------------------------------------------------------------------------------


async def publish(
    uow: UnitOfWork, actor: Actor, drafts: Sequence[SlotDraft], pointers: Sequence[str]
) -> list[Slot]:
    """Publish slots, all or none; a known `external_id` updates its slot instead.

    Refusals: `not-my-practitioner`; `slot-invalid` with a pointer for each bad slot;
    `overlapping-slot` with what blocks; `slot-booked` for an update that a booking forbids.
    """
    _check_mine(actor, drafts)
    now = await uow.now()
    places = await directory.places(uow, [draft.location_id for draft in drafts])
    problems = [
        error
        for draft, pointer in zip(drafts, pointers, strict=True)
        for error in _check(actor, draft, pointer, places.get(draft.location_id), now)
    ]
    problems.extend(check_batch(drafts, pointers))
    if problems:
        raise SlotInvalid(*problems)
    await _lock_active(uow, drafts, pointers)
    known = await _known(uow, drafts, places)
    await _refuse_overlaps(uow, drafts, [row.id for row in known.values()])
    ids = await _write(uow, actor.origin, drafts, places, known, now)
    return await own(uow, actor, ids)


async def _lock_active(
    uow: UnitOfWork, drafts: Sequence[SlotDraft], pointers: Sequence[str]
) -> None:
    """Lock the practitioners of a batch; refuse those who practise no more."""
    named = [draft.practitioner_id for draft in drafts if draft.practitioner_id]
    gone = await repository.lock_practitioners(uow, named)
    problems = [
        inactive(pointer)
        for draft, pointer in zip(drafts, pointers, strict=True)
        if draft.practitioner_id in gone
    ]
    if problems:
        raise SlotInvalid(*problems)


def _check_mine(actor: Actor, drafts: Sequence[SlotDraft]) -> None:
    for draft in drafts:
        if draft.practitioner_id and draft.practitioner_id not in actor.practitioner_ids:
            raise NotMyPractitioner


def _check(
    actor: Actor, draft: SlotDraft, pointer: str, place: Place | None, now: datetime
) -> list[FieldError]:
    return [
        *check_period(pointer, draft.starts_at, draft.ends_at, now),
        *check_steps(pointer, draft, now),
        *check_place(actor, draft.practitioner_id, pointer, place),
    ]


def check_place(
    actor: Actor, practitioner_id: UUID | None, pointer: str, place: Place | None
) -> Iterator[FieldError]:
    """Yield why the caller cannot publish there, or not without naming who will be there."""
    if place is None or not _may_publish_at(actor, practitioner_id, place):
        yield FieldError(
            f"{pointer}/location_id",
            "location-not-yours",
            "No active location of this practitioner or of your organization has this id.",
        )
    elif practitioner_id is None and (
        place.organization_type not in directory.WITHOUT_PRACTITIONER
    ):
        yield FieldError(
            f"{pointer}/practitioner_id",
            "practitioner-missing",
            "Only an unscheduled-care centre or SOS publishes before naming who will be there.",
        )


def _may_publish_at(actor: Actor, practitioner_id: UUID | None, place: Place) -> bool:
    return (
        place.organization_id == actor.organization_id or practitioner_id in place.practitioner_ids
    )


async def _known(
    uow: UnitOfWork, drafts: Sequence[SlotDraft], places: Mapping[UUID, Place]
) -> dict[int, Any]:
    """Lock the slots that practice software published before, by position in the batch."""
    known: dict[int, Any] = {}
    wanted: dict[tuple[UUID | None, UUID], dict[str, int]] = {}
    for position, draft in enumerate(drafts):
        if draft.external_id is not None:
            organization_id = places[draft.location_id].organization_id
            whose = (draft.practitioner_id, draft.practitioner_id or organization_id)
            wanted.setdefault(whose, {})[draft.external_id] = position
    for (practitioner_id, organization_id), externals in wanted.items():
        rows = await repository.by_external_id(
            uow, practitioner_id, organization_id, list(externals)
        )
        for external_id, row in rows.items():
            position = externals[external_id]
            if row.starts_at <= row.now:
                raise SlotStarted(slot_id=row.id)
            if row.booked and _disturbs(row, drafts[position]):
                raise SlotBooked(_why_disturbed(row, drafts[position]), slot_id=row.id)
            known[position] = row
    return known


def _moves(row: Any, draft: SlotDraft) -> bool:
    """Tell whether time, place or manner change, so that a seat already promised would not fit."""
    return (row.starts_at, row.ends_at, row.location_id, row.walk_in) != (
        draft.starts_at,
        draft.ends_at,
        draft.location_id,
        draft.walk_in,
    ) or set(row.modes) != set(draft.modes)


def _disturbs(row: Any, draft: SlotDraft) -> bool:
    """Tell whether a change touches what a booked patient relies on."""
    return (
        _moves(row, draft) or draft.capacity < row.capacity or draft.overbooking < row.overbooking
    )


def _why_disturbed(row: Any, draft: SlotDraft) -> str | None:
    return None if _moves(row, draft) else "A patient is booked here: seats cannot become fewer."


async def _refuse_overlaps(
    uow: UnitOfWork, drafts: Sequence[SlotDraft], excluded: Sequence[UUID]
) -> None:
    periods = [
        (d.practitioner_id, d.starts_at, d.ends_at) for d in drafts if d.practitioner_id is not None
    ]
    blocking = await repository.overlapping(uow, periods, excluded) if periods else []
    if blocking:
        raise OverlappingSlot(blocking_slots=sorted({str(slot_id) for _, slot_id in blocking}))


async def _write(
    uow: UnitOfWork,
    origin: Origin,
    drafts: Sequence[SlotDraft],
    places: Mapping[UUID, Place],
    known: Mapping[int, Any],
    now: datetime,
) -> list[UUID]:
    new: list[dict[str, Any]] = []
    ids: list[UUID] = []
    told: dict[str, list[dict[str, Any]]] = {"slot.published": [], "slot.amended": []}
    moving = [row.id for position, row in known.items() if _moves(row, drafts[position])]
    await repository.step_aside(uow, moving)
    for position, draft in enumerate(drafts):
        place, before = places[draft.location_id], known.get(position)
        if before is None:
            slot_id = new_id()
            new.append({"id": slot_id, "client_id": origin.client_id, **_values(draft, place, now)})
            told["slot.published"].append(_fact(slot_id, draft, place, now))
        else:
            slot_id = before.id
            await _amend(uow, before, draft, place)
            told["slot.amended"].append(_fact(slot_id, draft, place, now, before))
        ids.append(slot_id)
    if new:
        await repository.insert_slots(uow, new)
    for type_, facts in told.items():
        if facts:
            await events.record_all(uow, origin, type_, facts)
    return ids


def _values(draft: SlotDraft, place: Place, now: datetime) -> dict[str, Any]:
    return {
        "practitioner_id": draft.practitioner_id,
        "location_id": place.location_id,
        "organization_id": place.organization_id,
        "organization_type": place.organization_type,
        "territory": place.territory,
        "zone": place.zone,
        "latitude": place.latitude,
        "longitude": place.longitude,
        "reduced_mobility": place.reduced_mobility,
        "starts_at": draft.starts_at,
        "ends_at": draft.ends_at,
        "modes": list(draft.modes),
        "specialty": draft.specialty,
        "visibility": list(draft.audience.visibility),
        "cpts_ids": list(draft.audience.cpts_ids),
        "organization_types": list(draft.audience.organization_types),
        "organization_ids": list(draft.audience.organization_ids),
        "capacity": draft.capacity,
        "overbooking": draft.overbooking,
        "walk_in": draft.walk_in,
        "note": draft.note,
        "external_id": draft.external_id,
        "session_id": draft.session_id,
        "session_start": draft.session_start,
        **columns_of(draft.release, draft.starts_at, now),
    }


def _fact(
    slot_id: UUID, draft: SlotDraft, place: Place, now: datetime, before: Any = None
) -> dict[str, Any]:
    """Return what is told of a slot; `before` is its row until now."""
    moved = before is not None and before.territory != place.territory
    return {
        "subject_id": slot_id,
        "territory": place.territory,
        "data": {
            "practitioner_id": draft.practitioner_id and str(draft.practitioner_id),
            "location_id": str(draft.location_id),
            "organization_id": str(place.organization_id),
            "starts_at": draft.starts_at.isoformat(),
            "ends_at": draft.ends_at.isoformat(),
            # Who saw it there is told that it is gone.
            **({"from_territory": before.territory} if moved else {}),
        },
        "audience_before": None if before is None else _audience(before).as_json(),
        "audience_after": draft.audience_at(now).as_json(),
    }


# --- reading ------------------------------------------------------------------------------------


async def search(uow: UnitOfWork, actor: Actor, wanted: Search, page: PageRequest) -> Page[Row]:
    """Return what the caller may book, by start or by distance, as rows to be shown."""
    by_distance = [float] if wanted.by_distance else []
    after = page.after(*by_distance, instant, UUID)
    found = await repository.search(uow, actor, replace(wanted, after=after))
    if not found:
        await ensure_live(uow, actor)
    return page.page(
        found,
        lambda slot: [
            *([slot["distance_km"]] if wanted.by_distance else []),
            slot["starts_at"].isoformat(),
            str(slot["id"]),
        ],
    )


async def free_of(uow: UnitOfWork, actor: Actor, wanted: FreeWanted) -> list[FreeAgenda]:
    """Return what the national platform may send people to: open or walk-in, not yet started.

    It sees what is published in its territories, by now, for the public, for all professionals
    or for regulation; what only the members of a community see, where `communities` are asked for.
    """
    found = await repository.free(uow, actor, wanted)
    if not found:
        await ensure_live(uow, actor)
    return found


async def points_of(uow: UnitOfWork, actor: Actor, wanted: FreeWanted) -> list[FreePoint]:
    """Return the same of consultation points of SOS Médecins, whose structures have a SIRET."""
    found = await repository.points(uow, actor, wanted)
    if not found:
        await ensure_live(uow, actor)
    return found


async def own(uow: UnitOfWork, actor: Actor, slot_ids: Sequence[UUID]) -> list[Slot]:
    """Return slots of the caller's own side, in this order. Refusals: `slot-not-found`."""
    found = {slot.id: slot for slot in await repository.own(uow, actor, slot_ids)}
    if len(found) < len(set(slot_ids)):
        raise SlotNotFound
    return await _with_who_can(uow, [found[slot_id] for slot_id in slot_ids])


async def _with_who_can(uow: UnitOfWork, found: Sequence[Slot]) -> list[Slot]:
    """Add who else can see each slot: one statement, which asks about one slot of each audience.

    The slots of a session share one; of more than `AUDIENCES_ASKED` in one answer the last stay
    unknown.
    """
    like: dict[object, UUID] = {}
    for slot in found:
        if len(like) < AUDIENCES_ASKED:
            like.setdefault(slot.seen_by, slot.id)
    counted = await repository.who_can(uow, list(like.values())) if like else {}
    return [
        replace(slot, who_can=counted.get(like[slot.seen_by], ())) if slot.seen_by in like else slot
        for slot in found
    ]


async def read(uow: UnitOfWork, actor: Actor, slot_id: UUID) -> tuple[Slot, bool]:
    """Return a slot and whether it is the caller's side's. Refusals: `slot-not-found`."""
    found = await repository.find(uow, actor, slot_id)
    if found is None:
        raise SlotNotFound
    slot, mine = found
    return ((await _with_who_can(uow, [slot]))[0] if mine else slot), mine


CountElsewhere = Callable[[UnitOfWork, Slot, datetime], Awaitable[int]]
_elsewhere: list[CountElsewhere] = []


def count_elsewhere_with(count: CountElsewhere) -> None:
    """Let a room above, which knows the bookings, say how many were made elsewhere."""
    _elsewhere.append(count)


async def exposure(uow: UnitOfWork, actor: Actor, slot_id: UUID) -> Exposure:
    """Answer "why does nobody see my slot?", for its own side. Refusals: `slot-not-found`."""
    slot, _ = await _own(uow, actor, slot_id)
    changes = await repository.changes(uow, slot)
    since = None if slot.withdrawn else visible_since(changes, slot.released)
    return Exposure(
        slot,
        since,
        await repository.listed(uow, slot_id),
        None if since is None else sum([await count(uow, slot, since) for count in _elsewhere]),
    )


async def agenda(
    uow: UnitOfWork,
    actor: Actor,
    practitioner_id: UUID,
    *,
    from_: datetime,
    to: datetime,
    page: PageRequest,
) -> Page[Slot]:
    """Return the doctor's own agenda, every state. Refusals: `not-my-practitioner`."""
    if practitioner_id not in actor.practitioner_ids:
        raise NotMyPractitioner
    after = page.after(instant, UUID)
    found = await repository.agenda(
        uow, practitioner_id, from_=from_, to=to, limit=page.limit, after=after
    )
    cut = page.page(found, lambda slot: [slot.starts_at.isoformat(), str(slot.id)])
    return replace(cut, items=await _with_who_can(uow, cut.items))


# --- amending -----------------------------------------------------------------------------------


async def amend(
    uow: UnitOfWork,
    actor: Actor,
    slot_id: UUID,
    changes: Mapping[str, Any],
    expected: Expected,
) -> Slot:
    """Change some members of an own slot (JSON merge patch, already validated).

    With a patient booked only labels, note and a larger capacity may change. Moving a slot ends its
    holds. Refusals: `slot-not-found`, `precondition-required`, `version-mismatch`, `slot-booked`,
    `slot-withdrawn`, `already-started` (but for the note), `slot-invalid`, `overlapping-slot`.
    """
    seen, _ = await _own(uow, actor, slot_id)
    expected.check(seen.version, required=True)
    active = await lock_practitioner(uow, seen.practitioner_id)
    row = await repository.lock_own(uow, actor, slot_id)
    if row is None:
        raise SlotNotFound
    expected.check(row.version, required=True)
    if row.withdrawn_at is not None or seen.withdrawn:
        raise SlotWithdrawn
    if row.starts_at <= row.now and changes.keys() - {"note"}:
        raise SlotStarted
    draft = _merged(row, changes)
    _check_release(draft, changes, row.now)
    moved = _moves(row, draft)
    if row.booked and _disturbs(row, draft):
        raise SlotBooked(_why_disturbed(row, draft))
    place = await _place(uow, actor, row, draft) if moved else _placed(row)
    if moved and not active:
        raise SlotInvalid(inactive("#"))
    if moved:
        await _refuse_overlaps(uow, [draft], [slot_id])
    await _amend(uow, row, draft, place)
    await events.record_all(
        uow, actor.origin, "slot.amended", [_fact(slot_id, draft, place, row.now, row)]
    )
    return (await own(uow, actor, [slot_id]))[0]


def _check_release(draft: SlotDraft, changes: Mapping[str, Any], now: datetime) -> None:
    relevant = changes.keys() & {"release", "visibility", "cpts_ids"}
    problems = list(check_steps("#", draft, now)) if relevant else []
    if problems:
        raise SlotInvalid(*problems)


async def _place(uow: UnitOfWork, actor: Actor, row: Any, draft: SlotDraft) -> Place:
    places = await directory.places(uow, [draft.location_id])
    place = places.get(draft.location_id)
    problems = _check(actor, draft, "#", place, row.now)
    if problems or place is None:
        raise SlotInvalid(*problems)
    return place


def _placed(row: Any) -> Place:
    """Return the place that a slot already has: it stays, though the place may have closed."""
    return Place(
        location_id=row.location_id,
        organization_id=row.organization_id,
        organization_type=row.organization_type,
        territory=row.territory,
        zone=row.zone,
        latitude=row.latitude,
        longitude=row.longitude,
        reduced_mobility=row.reduced_mobility,
        practitioner_ids=(),
    )


async def _amend(uow: UnitOfWork, row: Any, draft: SlotDraft, place: Place) -> None:
    """Write a slot anew; holds end when it moves, the latest ones when seats are fewer."""
    seats = 0 if _moves(row, draft) else draft.capacity - row.booked
    kept = kept_holds(row.holds, seats=seats, now=row.now)
    values = _values(draft, place, row.now)
    if all(values[column] == getattr(row, column) for column in COLUMNS.values()):
        # The same steps: which was told last, the row knows better than the time at which this
        # began to wait for it.
        values["next_release_at"] = row.next_release_at
    await repository.amend(uow, row.id, values, holds_kept=kept)
    if kept.keys() != row.holds.keys():
        await repository.end_holds(uow, row.id, kept)


def _audience(row: Any) -> Audience:
    """Return who a locked slot is for now."""
    return _merged(row, {}).audience_at(row.now)


def _merged(row: Any, changes: Mapping[str, Any]) -> SlotDraft:
    def value(name: str) -> Any:
        return changes[name] if name in changes else getattr(row, name)

    return SlotDraft(
        practitioner_id=row.practitioner_id,
        location_id=value("location_id"),
        starts_at=value("starts_at"),
        ends_at=value("ends_at"),
        modes=tuple(value("modes")),
        specialty=value("specialty"),
        audience=Audience(
            tuple(value("visibility")),
            tuple(value("cpts_ids")),
            tuple(value("organization_types")),
            tuple(value("organization_ids")),
        ),
        capacity=value("capacity"),
        overbooking=value("overbooking"),
        walk_in=value("walk_in"),
        note=value("note"),
        external_id=row.external_id,
        release=changes["release"] if "release" in changes else steps_of(partial(getattr, row)),
        session_id=row.session_id,
        session_start=row.session_start,
    )


async def _own(uow: UnitOfWork, actor: Actor, slot_id: UUID) -> tuple[Slot, bool]:
    slot, mine = await read(uow, actor, slot_id)
    if not mine:
        raise SlotNotFound
    return slot, mine


async def withdraw(uow: UnitOfWork, actor: Actor, slot_id: UUID, expected: Expected) -> None:
    """Take an own slot back; live holds end. Withdrawing twice is no error.

    Refusals: `slot-not-found`, `precondition-required`, `version-mismatch`, `slot-booked`,
    `already-started`.
    """
    slot, _ = await _own(uow, actor, slot_id)
    expected.check(slot.version, required=True)
    row = await repository.lock_own(uow, actor, slot_id)
    if row is None:
        raise SlotNotFound
    expected.check(row.version, required=True)
    if row.withdrawn_at is not None:
        return
    if row.starts_at <= row.now:
        raise SlotStarted
    if not await repository.withdraw(uow, slot_id):
        raise SlotBooked
    await events.record_all(uow, actor.origin, "slot.withdrawn", [_withdrawn(row)])


# --- many at once: sessions and absences --------------------------------------------------------


async def lock_practitioner(uow: UnitOfWork, practitioner_id: UUID | None) -> bool:
    """Let the publishers of one agenda take turns; first of all locks (ADR 7).

    Tells whether the practitioner still practises: nothing is published for who does not.
    """
    if practitioner_id is None:
        return True
    return not await repository.lock_practitioners(uow, [practitioner_id])


async def blocking(uow: UnitOfWork, drafts: Sequence[SlotDraft]) -> dict[int, list[UUID]]:
    """Say which published slots of its practitioner stand in the way of each draft, by position.

    The drafts are one practitioner's, or nobody's: then nothing is in the way.
    """
    periods = [(d.practitioner_id, d.starts_at, d.ends_at) for d in drafts if d.practitioner_id]
    found: dict[int, list[UUID]] = {}
    for position, slot_id in await repository.overlapping(uow, periods, []) if periods else []:
        found.setdefault(position, []).append(slot_id)
    return found


async def publish_checked(
    uow: UnitOfWork, origin: Origin, place: Place, drafts: Sequence[SlotDraft]
) -> list[UUID]:
    """Publish slots of one place, all or none, one event each.

    Whoever calls holds the practitioner's lock and has asked `check_place` and `blocking`.
    """
    return await _write(uow, origin, drafts, {place.location_id: place}, {}, await uow.now())


async def lock_session(uow: UnitOfWork, session_id: UUID) -> list[Any]:
    """Lock and return a session's slots that have not started, hand-withdrawn ones too, by id."""
    return await repository.lock_session(uow, session_id)


async def lock_range(
    uow: UnitOfWork, practitioner_id: UUID, from_: datetime, to: datetime
) -> list[Any]:
    """Lock and return the published slots that touch a range and have not started, by id."""
    return await repository.lock_range(uow, practitioner_id, from_, to)


async def lock_emptied(uow: UnitOfWork, slot_id: UUID) -> Any | None:
    """Lock and return a slot of a session that is still to come, once nobody is booked on it."""
    return await repository.lock_emptied(uow, slot_id)


async def lock_orphaned(uow: UnitOfWork, slot_id: UUID) -> Any | None:
    """Lock a published slot, still to come, of a practitioner who practises no more."""
    return await repository.lock_orphaned(uow, slot_id)


async def take_back(
    uow: UnitOfWork, origin: Origin, rows: Sequence[Any], **why: object
) -> list[UUID]:
    """Withdraw the locked slots that nobody is booked on, one event each; live holds end.

    They give up their place in their session's grid, which may be filled again.
    """
    done = await repository.take_back(uow, [row.id for row in rows]) if rows else set()
    gone = sorted((row for row in rows if row.id in done), key=lambda row: row.starts_at)
    if gone:
        await events.record_all(
            uow, origin, "slot.withdrawn", [_withdrawn(row, **why) for row in gone]
        )
    return [row.id for row in gone]


async def fill_up(uow: UnitOfWork, origin: Origin, rows: Sequence[Any]) -> list[UUID]:
    """Leave the locked slots that somebody is booked on no seat for others, one event each.

    Returns all that are booked.
    """
    booked = [row for row in rows if row.booked]
    open_ = [row for row in booked if row.booked < row.capacity + row.overbooking]
    facts = []
    for row in open_:
        capacity = min(row.capacity, row.booked)
        draft = _merged(row, {"capacity": capacity, "overbooking": row.booked - capacity})
        await repository.amend(uow, row.id, _values(draft, _placed(row), row.now), holds_kept={})
        await repository.end_holds(uow, row.id)
        facts.append(_fact(row.id, draft, _placed(row), row.now, row))
    if facts:
        await events.record_all(uow, origin, "slot.amended", facts)
    return [row.id for row in booked]


async def give_back_due(uow: UnitOfWork, limit: int) -> tuple[int, int]:
    """Give the time of slots that nobody took back to their doctors, as their release says.

    A slot with booked seats stays, with no seat for others. Returns how many slots were looked at,
    and how many were withdrawn.
    """
    rows = await repository.lock_given_back(uow, limit)
    if not rows:
        return 0, 0
    gone = await take_back(uow, Origin(), rows, reason="given_back")
    await fill_up(uow, Origin(), [row for row in rows if row.starts_at > row.now])
    await repository.told(uow, [row.id for row in rows])
    return len(rows), len(gone)


def _withdrawn(row: Any, **why: object) -> dict[str, Any]:
    return {
        "subject_id": row.id,
        "territory": row.territory,
        "data": {
            "practitioner_id": row.practitioner_id and str(row.practitioner_id),
            "organization_id": str(row.organization_id),
            "starts_at": row.starts_at.isoformat(),
            **why,
        },
        "audience_before": _audience(row).as_json(),
    }


_PLACE = (
    "location_id",
    "organization_id",
    "organization_type",
    "territory",
    "zone",
    "latitude",
    "longitude",
    "reduced_mobility",
)


async def amend_free(
    uow: UnitOfWork, origin: Origin, rows: Sequence[Any], changes: Mapping[str, Any], place: Place
) -> None:
    """Change the same members of locked slots that nobody is booked on; their time stays.

    A held one is amended as it would be alone: its holds end when it moves. One event each.
    """
    if not rows or not changes:
        return
    drafts = [_merged(row, changes) for row in rows]
    moved = _PLACE if "location_id" in changes else ()
    values = _values(drafts[0], place, rows[0].now)
    names = (*(name for name in changes if name not in {*moved, "release"}), *moved)
    free = [row.id for row in rows if not row.held]
    await repository.amend_all(
        uow, free, {name: values[name] for name in names}, changes.get("release")
    )
    for row, draft in zip(rows, drafts, strict=True):
        if row.held:
            await _amend(uow, row, draft, place if moved else _placed(row))
    facts = [
        _fact(row.id, draft, place, row.now, row) for row, draft in zip(rows, drafts, strict=True)
    ]
    await events.record_all(uow, origin, "slot.amended", facts)


# --- holds --------------------------------------------------------------------------------------


async def hold(uow: UnitOfWork, actor: Actor, slot_id: UUID, seconds: int) -> Hold:
    """Keep one seat while the caller is on the line.

    Refusals: `slot-not-found`, `slot-taken`, `slot-held`, `slot-withdrawn`, `already-started`,
    `walk-in`, `too-many-holds`.
    """
    for last in (False, True):
        await repository.take_turns(uow, actor.organization_id)
        held = await repository.place_hold(
            uow, actor, hold_id=new_id(), slot_id=slot_id, seconds=seconds
        )
        if held is not None:
            return held
        if await repository.count_holds(uow, actor.organization_id) >= HOLDS_PER_ORGANIZATION:
            raise TooManyHolds(retry_after=30)
        refusal = await why_not(uow, actor, slot_id)
        if refusal is not None or last:
            raise refusal or SlotHeld
    raise AssertionError


async def find_hold(uow: UnitOfWork, actor: Actor, hold_id: UUID) -> Hold:
    """Return a hold of the caller's organization. Refusals: `hold-not-found`."""
    found = await repository.find_hold(uow, actor.organization_id, hold_id)
    if found is None:
        raise HoldNotFound
    return found


async def release_hold(uow: UnitOfWork, actor: Actor, hold_id: UUID) -> None:
    """Give a hold back. Refusals: `hold-not-found`."""
    if not await repository.release_hold(uow, actor, hold_id):
        raise HoldNotFound


async def why_not(
    uow: UnitOfWork,
    actor: Actor,
    slot_id: UUID,
    *,
    hold_id: UUID | None = None,
    overbook: bool = False,
) -> DomainError | None:
    """Say why a seat could not be taken; None when it is free again by now.

    Refusals: `grant-ended`, before anything else.
    """
    found = await repository.find_with_grant(uow, actor, slot_id)
    if found is None:
        await ensure_live(uow, actor)
        return SlotNotFound()
    slot, live = found
    if not live:
        raise GrantEnded
    closed = closed_because(slot)
    if closed is not None or hold_id is not None:
        return closed or HoldExpired(room_left=slot.remaining > 0)
    limit = slot.booked if slot.given_back else slot.capacity + slot.overbooking * overbook
    if slot.booked >= limit:
        beyond = 0 if slot.given_back else slot.capacity + slot.overbooking - slot.booked
        return SlotTaken(overbooking_left=max(0, beyond))
    return SlotHeld() if slot.booked + slot.held >= limit else None
