"""HTTP: slots, holds, the doctor's agenda."""

from datetime import timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Body, Depends, Query, Request, Response
from pydantic import Discriminator, Tag

from service.directory import reference
from service.identity import Actor
from service.identity.http import CurrentActor, Guarded, refusals
from service.kernel import clock
from service.kernel.errors import (
    FieldError,
    Invalid,
    PreconditionFailed,
    PreconditionRequired,
)
from service.kernel.http.asked import Asked
from service.kernel.http.deps import (
    LIMIT,
    Cursor,
    IdempotentOnce,
    IfMatch,
    Limit,
    Uow,
    tag,
    written,
)
from service.kernel.http.shapes import Instant, PageOut
from service.kernel.paging import CursorInvalid, PageRequest
from service.slots import usecases
from service.slots.domain import (
    RADIUS_LONGEST_KM,
    SEARCH_DEFAULT,
    SEARCH_LONGEST,
    HoldNotFound,
    NotMyPractitioner,
    OverlappingSlot,
    Slot,
    SlotBooked,
    SlotHeld,
    SlotInvalid,
    SlotNotFound,
    SlotStarted,
    SlotTaken,
    SlotWalkIn,
    SlotWithdrawn,
    TooManyHolds,
)
from service.slots.listings import Listings
from service.slots.repository import Search
from service.slots.schemas import (
    ContextIn,
    EntryOut,
    ExposureOut,
    HoldIn,
    HoldOut,
    SearchIn,
    SearchOut,
    SlotBatchIn,
    SlotBatchOut,
    SlotIn,
    SlotOut,
    SlotPatch,
    exposure_out,
    found,
    hold_out,
    slot_out,
)

router = APIRouter(prefix="/v1", tags=["slots"], route_class=Guarded)


Published = Annotated[
    Annotated[SlotBatchIn, Tag("(batch)")] | Annotated[SlotIn, Tag("(one)")],
    Discriminator(
        lambda body: "(batch)" if isinstance(body, dict) and "slots" in body else "(one)"
    ),
]


async def _listings(request: Request) -> Listings:
    listings: Listings = request.app.state.listings
    return listings


CountedIn = Annotated[Listings, Depends(_listings)]


SEARCH, CONTEXT = Asked(SearchIn), Asked(ContextIn)


class SearchInvalid(Invalid):
    """The search asks for something that makes no sense."""

    code = "search-invalid"
    title = "This search cannot be answered."


@router.post(
    "/slots",
    operation_id="slots.publish",
    status_code=201,
    responses=refusals(
        NotMyPractitioner, SlotInvalid, OverlappingSlot, SlotBooked, idempotent=True
    ),
)
async def publish(
    uow: Uow,
    actor: CurrentActor,
    once: IdempotentOnce,
    response: Response,
    body: Annotated[Published, Body()],
) -> SlotOut | SlotBatchOut:
    """Publish one slot, or up to 500 together (all or none). Hidden by default (label SNP)."""
    batch = isinstance(body, SlotBatchIn)
    asked = body.slots if isinstance(body, SlotBatchIn) else [body]
    pointers = [f"#/slots/{n}" for n in range(len(asked))] if batch else ["#"]

    async def make() -> list[Slot]:
        return await usecases.publish(uow, actor, [slot.draft() for slot in asked], pointers)

    made = await once.create(
        uow,
        make,
        again=lambda ids: usecases.own(uow, actor, ids),
        ids=lambda slots: [s.id for s in slots],
    )
    out = [slot_out(slot, mine=True) for slot in made]
    if batch:
        return SlotBatchOut(slots=out)
    response.headers["Location"] = f"/v1/slots/{made[0].id}"
    tag(response, made[0].version)
    return out[0]


@router.get(
    "/slots",
    operation_id="slots.search",
    response_model=SearchOut,
    responses=refusals(SearchInvalid, CursorInvalid),
    openapi_extra={"parameters": SEARCH.documented},
)
async def search(
    uow: Uow,
    actor: CurrentActor,
    listings: CountedIn,
    asked: Annotated[SearchIn, Depends(SEARCH)],
) -> Response:
    """Return the slots that I may book now, and walk-in slots. Held and full ones are left out."""
    start = asked.from_ or clock.now()
    if asked.to is not None and not start < asked.to <= start + SEARCH_LONGEST:
        raise SearchInvalid(
            FieldError("to", "window", "The window ends after it starts, within 14 days.")
        )
    center, where = _center(asked.near, asked.commune)
    if center is None and (asked.sort == "distance" or asked.radius_km is not None):
        raise SearchInvalid(
            FieldError("near", "center-missing", "A distance needs `near` or `commune`.")
        )
    territory = asked.territory
    national = reference.search_radius(territory or where or actor.territories[0])
    radius = asked.radius_km or national.default_km
    placed = center or territory or asked.cpts or asked.practitioner
    page = await usecases.search(
        uow,
        actor,
        Search(
            from_=asked.from_,
            to=asked.to,
            territories=[territory] if territory else None if placed else actor.territories,
            center=center,
            radius_km=radius,
            mode=asked.mode,
            specialty=asked.specialty,
            cpts_id=asked.cpts,
            practitioner_id=asked.practitioner,
            reduced_mobility=asked.reduced_mobility,
            by_distance=asked.sort == "distance",
            limit=asked.limit,
            after=None,
        ),
        PageRequest(asked.limit, asked.cursor, _filter(asked, actor, center, radius)),
    )
    listings.count(actor, page.items)
    return written(
        {
            "items": [found(row) for row in page.items],
            "next_cursor": page.next_cursor,
            "next_radius_km": min(RADIUS_LONGEST_KM, radius + national.enlargement_km)
            if center and asked.cursor is None and not page.items and radius < RADIUS_LONGEST_KM
            else None,
        }
    )


def _filter(
    asked: SearchIn, actor: Actor, center: tuple[float, float] | None, radius: float
) -> dict[str, Any]:
    """Return what a cursor belongs to: the same search by the same grant."""
    return {
        "from": asked.from_, "to": asked.to, "territory": asked.territory, "near": center,
        "radius": radius, "mode": asked.mode, "specialty": asked.specialty, "cpts": asked.cpts,
        "practitioner": asked.practitioner, "reduced_mobility": asked.reduced_mobility,
        "sort": asked.sort, "caller": actor.grant_id,
    }  # fmt: skip


def _center(near: str | None, commune: str | None) -> tuple[tuple[float, float] | None, str | None]:
    """Return the centre of a search, and its territory when a commune names it."""
    if near is not None:
        latitude, _, longitude = near.partition(",")
        try:
            point = float(latitude), float(longitude)
        except ValueError:
            point = (91.0, 0.0)
        if not (abs(point[0]) <= 90 and abs(point[1]) <= 180):  # noqa: PLR2004  degrees
            raise SearchInvalid(FieldError("near", "near", "Write near=latitude,longitude."))
        return point, None
    if commune is not None:
        found = reference.commune(commune)
        if found is None:
            raise SearchInvalid(_no_commune("commune"))
        return (found.latitude, found.longitude), found.department
    return None, None


def _no_commune(parameter: str) -> FieldError:
    return FieldError(parameter, "unknown-commune", "No commune has this INSEE code.")


@router.get(
    "/slots/contextual-call",
    operation_id="slots.contextual_call",
    responses=refusals(SearchInvalid),
    openapi_extra={"parameters": CONTEXT.documented},
)
async def contextual_call(
    uow: Uow, _: CurrentActor, asked: Annotated[ContextIn, Depends(CONTEXT)]
) -> EntryOut:
    """Begin a search with what regulation software knows, as it calls the national platform."""
    if asked.inseecode and reference.commune(asked.inseecode) is None:
        raise SearchInvalid(_no_commune("inseecode"))
    known = {name: value for name, value in asked.model_dump().items() if value}
    return EntryOut.model_validate(await usecases.enter(uow, known))


@router.get("/slots/{slot_id}", operation_id="slots.read", responses=refusals(SlotNotFound))
async def read(uow: Uow, actor: CurrentActor, slot_id: UUID, response: Response) -> SlotOut:
    """Read a slot that I may see."""
    slot, mine = await usecases.read(uow, actor, slot_id)
    tag(response, slot.version)
    return slot_out(slot, mine=mine)


@router.get(
    "/slots/{slot_id}/visibility",
    operation_id="slots.visibility",
    responses=refusals(SlotNotFound),
)
async def visibility(uow: Uow, actor: CurrentActor, slot_id: UUID) -> ExposureOut:
    """Say why nobody sees an own slot: who can, since when, how often it was listed."""
    return exposure_out(await usecases.exposure(uow, actor, slot_id))


@router.patch(
    "/slots/{slot_id}",
    operation_id="slots.amend",
    responses=refusals(
        SlotNotFound,
        PreconditionRequired,
        PreconditionFailed,
        SlotBooked,
        SlotWithdrawn,
        SlotInvalid,
        OverlappingSlot,
    ),
)
async def amend(
    uow: Uow,
    actor: CurrentActor,
    slot_id: UUID,
    body: SlotPatch,
    if_match: IfMatch,
    response: Response,
) -> SlotOut:
    """Change some members of an own slot (JSON merge patch). Needs `If-Match`."""
    slot = await usecases.amend(uow, actor, slot_id, body.changes(), if_match)
    tag(response, slot.version)
    return slot_out(slot, mine=True)


@router.delete(
    "/slots/{slot_id}",
    operation_id="slots.withdraw",
    status_code=204,
    responses=refusals(
        SlotNotFound, PreconditionRequired, PreconditionFailed, SlotBooked, SlotStarted
    ),
)
async def withdraw(uow: Uow, actor: CurrentActor, slot_id: UUID, if_match: IfMatch) -> None:
    """Withdraw an own slot; refused while booked, live holds end. Needs `If-Match`."""
    await usecases.withdraw(uow, actor, slot_id, if_match)


@router.get(
    "/practitioners/{practitioner_id}/slots",
    operation_id="slots.agenda",
    responses=refusals(NotMyPractitioner, SearchInvalid, CursorInvalid),
)
async def agenda(
    uow: Uow,
    actor: CurrentActor,
    practitioner_id: UUID,
    from_: Annotated[Instant | None, Query(alias="from", description="Default: now.")] = None,
    to: Annotated[Instant | None, Query(description="Default: from + 72 h.")] = None,
    limit: Limit = LIMIT,
    cursor: Cursor = None,
) -> PageOut[SlotOut]:
    """Read the doctor's own agenda, every state, by start."""
    # Without `from` the cursor carries the day on: a page asked later must fit the first one.
    start = from_ or clock.now().replace(minute=0, second=0, microsecond=0)
    end = to or start + SEARCH_DEFAULT
    if not start < end <= start + timedelta(days=366):
        raise SearchInvalid(
            FieldError("to", "window", "The end must be after the start, within a year.")
        )
    asked = {"practitioner": practitioner_id, "from": from_, "to": to}
    page = await usecases.agenda(
        uow, actor, practitioner_id, from_=start, to=end, page=PageRequest(limit, cursor, asked)
    )
    return PageOut(
        items=[slot_out(slot, mine=True) for slot in page.items], next_cursor=page.next_cursor
    )


@router.post(
    "/slots/{slot_id}/holds",
    operation_id="slots.hold",
    status_code=201,
    responses=refusals(
        SlotNotFound,
        SlotTaken,
        SlotHeld,
        SlotWithdrawn,
        SlotStarted,
        SlotWalkIn,
        TooManyHolds,
        idempotent=True,
    ),
)
async def hold(
    uow: Uow,
    actor: CurrentActor,
    once: IdempotentOnce,
    slot_id: UUID,
    body: Annotated[HoldIn | None, Body()] = None,
) -> HoldOut:
    """Keep one seat while the caller is on the line; it expires by itself."""
    seconds = (body or HoldIn.model_validate({})).seconds
    held = await once.create(
        uow,
        lambda: usecases.hold(uow, actor, slot_id, seconds),
        again=lambda ids: usecases.find_hold(uow, actor, ids[0]),
        ids=lambda hold: [hold.id],
    )
    return hold_out(held)


@router.delete(
    "/holds/{hold_id}",
    operation_id="slots.release_hold",
    status_code=204,
    responses=refusals(HoldNotFound),
)
async def release_hold(uow: Uow, actor: CurrentActor, hold_id: UUID) -> None:
    """Give a hold back."""
    await usecases.release_hold(uow, actor, hold_id)
