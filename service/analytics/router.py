"""HTTP: figures, as JSON or as a table for a spreadsheet."""

from datetime import date
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Query, Response

from service.analytics import usecases
from service.analytics.domain import FiguresInvalid, GroupBy, period
from service.analytics.schemas import CallOutcomesOut, call_outcomes_csv, call_outcomes_out
from service.directory import ForeignTerritory, TerritoryNotFound
from service.identity.http import CurrentActor, Guarded, refusals
from service.kernel.errors import FieldError
from service.kernel.http.deps import Uow

router = APIRouter(prefix="/v1/analytics", tags=["analytics"], route_class=Guarded)

_JSON, _CSV = "application/json", "text/csv"


@router.get(
    "/call-outcomes",
    operation_id="analytics.call_outcomes",
    response_model=CallOutcomesOut,
    response_model_exclude_unset=True,
    responses={
        200: {"content": {_CSV: {"schema": {"type": "string"}}}, "description": "The figures."},
        **refusals(ForeignTerritory, TerritoryNotFound, FiguresInvalid),
    },
)
async def call_outcomes(
    uow: Uow,
    actor: CurrentActor,
    response: Response,
    from_: Annotated[date, Query(alias="from", examples=["2022-01-01"])],
    to: Annotated[date, Query(description="Excluded.", examples=["2023-01-01"])],
    territory: Annotated[str | None, Query(max_length=3, examples=["36"])] = None,
    cpts: UUID | None = None,
    group_by: GroupBy = GroupBy.NONE,
    accept: Annotated[str, Header(include_in_schema=False)] = _JSON,
) -> CallOutcomesOut | Response:
    """Say how calls ended: of a `territory` or of a community (`cpts`), by day of reception.

    `Accept: text/csv` answers a table for a French spreadsheet (`;`, decimal commas).
    Outcomes are not exclusive: shares are of calls and add up to more than one.
    """
    if (territory is None) == (cpts is None):
        raise FiguresInvalid(
            FieldError("territory", "scope", "Name a `territory` or a `cpts`: one of them.")
        )
    found = await usecases.call_outcomes(
        uow,
        actor,
        territory=territory,
        cpts_id=cpts,
        period=period(from_, to),
        group_by=group_by,
    )
    if prefers_csv(accept):
        return Response(
            call_outcomes_csv(found),
            media_type=_CSV,
            headers={
                "Vary": "Accept",
                "Content-Disposition": 'attachment; filename="call-outcomes.csv"',
            },
        )
    response.headers["Vary"] = "Accept"
    return call_outcomes_out(found)


def prefers_csv(accept: str) -> bool:
    """Tell whether an Accept header (RFC 9110 §12.5.1) wants CSV rather than JSON."""
    weights: dict[str, float] = {}
    for offer in accept.lower().split(","):
        media, *parameters = (part.strip() for part in offer.split(";"))
        weight = next((p[2:] for p in parameters if p.startswith("q=")), "1")
        weights[media] = float(weight) if weight.replace(".", "", 1).isdecimal() else 0.0

    def wanted(media: str) -> float:
        family = f"{media.partition('/')[0]}/*"
        return next((weights[m] for m in (media, family, "*/*") if m in weights), 0.0)

    return wanted(_CSV) > wanted(_JSON)
