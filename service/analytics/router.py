"""HTTP: figures, as JSON or as a table for a spreadsheet (CSV, XLSX)."""

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Query, Response

from service.analytics import usecases
from service.analytics.domain import (
    DEFINITIONS,
    WORDING,
    AppointmentsBy,
    CallbacksBy,
    FiguresInvalid,
    FiguresTooFine,
    GroupBy,
    IndicatorsBy,
    PeriodTooLong,
    ReferralsBy,
    SlotUsageBy,
    question,
)
from service.analytics.http import JSON, RESPONSES, Accept, Asked, Floor, answer
from service.analytics.schemas import (
    AppointmentsOut,
    CallbacksOut,
    CallOutcomesOut,
    CptsIndicatorsOut,
    ReferralsOut,
    SlotUsageOut,
    UnmetNeedsOut,
    answer_of,
    call_outcomes_members,
    unmet_needs_members,
    unmet_needs_table,
)
from service.directory import ForeignTerritory, TerritoryNotFound
from service.identity.http import CurrentActor, Guarded, refusals
from service.kernel.http.deps import Uow

router = APIRouter(prefix="/v1/analytics", tags=["analytics"], route_class=Guarded)


@router.get(
    "/call-outcomes",
    operation_id="analytics.call_outcomes",
    response_model=CallOutcomesOut,
    response_model_exclude_unset=True,
    responses=RESPONSES,
)
async def call_outcomes(
    uow: Uow,
    actor: CurrentActor,
    response: Response,
    asked: Asked,
    floor: Floor,
    group_by: GroupBy = GroupBy.NONE,
    accept: Accept = JSON,
) -> CallOutcomesOut | Response:
    """Say how calls ended: of a `territory` or of a community (`cpts`), by day of reception.

    `Accept: text/csv` answers a table for a French spreadsheet (`;`, decimal commas), the type of
    XLSX a workbook. Outcomes are not exclusive: shares are of calls and add up to more than one.
    """
    found = await usecases.call_outcomes(uow, actor, asked=asked, floor=floor, group_by=group_by)
    members = answer_of(found, call_outcomes_members)
    return await answer(
        CallOutcomesOut, members, accept, response, name="call-outcomes", by=group_by
    )


@router.get(
    "/slot-usage",
    operation_id="analytics.slot_usage",
    response_model=SlotUsageOut,
    response_model_exclude_unset=True,
    responses=RESPONSES,
)
async def slot_usage(
    uow: Uow,
    actor: CurrentActor,
    response: Response,
    asked: Asked,
    floor: Floor,
    group_by: SlotUsageBy = SlotUsageBy.NONE,
    accept: Accept = JSON,
) -> SlotUsageOut | Response:
    """Say what became of published seats, by the start of their slot.

    published = booked + withdrawn + expired + open; of the withdrawn, `replaced` ones gave way to
    another slot of their practitioner at that time. A community's slots are those of the
    organizations that belong to it; with several communities or labels, a slot counts under each.
    """
    found = await usecases.slot_usage(uow, actor, asked=asked, floor=floor, group_by=group_by)
    return await answer(
        SlotUsageOut, answer_of(found), accept, response, name="slot-usage", by=group_by
    )


@router.get(
    "/appointments",
    operation_id="analytics.appointments",
    response_model=AppointmentsOut,
    response_model_exclude_unset=True,
    responses=RESPONSES,
)
async def appointments(
    uow: Uow,
    actor: CurrentActor,
    response: Response,
    asked: Asked,
    floor: Floor,
    group_by: AppointmentsBy = AppointmentsBy.NONE,
    accept: Accept = JSON,
) -> AppointmentsOut | Response:
    """Say what became of appointments, by their start.

    Missed ones are a share of those that the doctor's side has reported, unreported ones of those
    that are past. Groups are of the side that receives the patient.
    """
    found = await usecases.appointments(uow, actor, asked=asked, floor=floor, group_by=group_by)
    return await answer(
        AppointmentsOut, answer_of(found), accept, response, name="appointments", by=group_by
    )


@router.get(
    "/referrals",
    operation_id="analytics.referrals",
    response_model=ReferralsOut,
    response_model_exclude_unset=True,
    responses=RESPONSES,
)
async def referrals(
    uow: Uow,
    actor: CurrentActor,
    response: Response,
    asked: Asked,
    floor: Floor,
    group_by: ReferralsBy = ReferralsBy.NONE,
    accept: Accept = JSON,
) -> ReferralsOut | Response:
    """Say who sent patients to town, by the creation of the booking.

    `requesters` tells roles and kinds of organization apart: an emergency department's patients,
    a pharmacist's, those of the regulation.
    """
    found = await usecases.referrals(uow, actor, asked=asked, floor=floor, group_by=group_by)
    return await answer(
        ReferralsOut, answer_of(found), accept, response, name="referrals", by=group_by
    )


@router.get(
    "/callbacks",
    operation_id="analytics.callbacks",
    response_model=CallbacksOut,
    response_model_exclude_unset=True,
    responses=RESPONSES,
)
async def callbacks(
    uow: Uow,
    actor: CurrentActor,
    response: Response,
    asked: Asked,
    floor: Floor,
    group_by: CallbacksBy = CallbacksBy.NONE,
    accept: Accept = JSON,
) -> CallbacksOut | Response:
    """Say how call-backs were kept, by the reception of the call.

    The delay runs from entering the queue to the first attempt, answered or not.
    """
    found = await usecases.callbacks(uow, actor, asked=asked, floor=floor, group_by=group_by)
    return await answer(
        CallbacksOut, answer_of(found), accept, response, name="callbacks", by=group_by
    )


@router.get(
    "/cpts-indicators",
    operation_id="analytics.cpts_indicators",
    response_model=CptsIndicatorsOut,
    response_model_exclude_unset=True,
    responses=RESPONSES,
)
async def cpts_indicators(
    uow: Uow,
    actor: CurrentActor,
    response: Response,
    asked: Asked,
    floor: Floor,
    group_by: IndicatorsBy = IndicatorsBy.NONE,
    accept: Accept = JSON,
) -> CptsIndicatorsOut | Response:
    """Say what a community reports: doctors taking part, requests that led to an appointment.

    The definitions are our wording, not the legal text. A doctor counts in each month and each
    community where he takes part, so that groups overlap.
    """
    found = await usecases.cpts_indicators(uow, actor, asked=asked, floor=floor, group_by=group_by)
    members = answer_of(found, wording=WORDING, definitions=dict(DEFINITIONS))
    return await answer(
        CptsIndicatorsOut, members, accept, response, name="cpts-indicators", by=group_by
    )


@router.get(
    "/unmet-needs",
    operation_id="analytics.unmet_needs",
    response_model=UnmetNeedsOut,
    response_model_exclude_unset=True,
    responses={
        **RESPONSES,
        **refusals(
            *(ForeignTerritory, TerritoryNotFound),
            *(FiguresInvalid, FiguresTooFine, PeriodTooLong),
        ),
    },
)
async def unmet_needs(
    uow: Uow,
    actor: CurrentActor,
    response: Response,
    territory: Annotated[str, Query(max_length=3, examples=["36"])],
    from_: Annotated[date, Query(alias="from", examples=["2026-01-01"])],
    to: Annotated[date, Query(description="Excluded.", examples=["2026-02-01"])],
    floor: Floor,
    accept: Accept = JSON,
) -> UnmetNeedsOut | Response:
    """Say what nobody had room for, beside the seats that nobody used, by place and day.

    Where both are high on the same day, people and room missed each other; 366 days at most.
    """
    asked = question(territory, None, from_, to)
    found = await usecases.unmet_needs(uow, actor, asked=asked, floor=floor)
    return await answer(
        UnmetNeedsOut,
        answer_of(found, unmet_needs_members),
        accept,
        response,
        name="unmet-needs",
        laid_out=unmet_needs_table,
    )
