"""What every figure is asked and answered with: the question, and the caller's media type."""

import asyncio
from collections.abc import Callable
from datetime import date
from typing import Annotated, Any, TypeVar
from uuid import UUID

from fastapi import Depends, Header, Query, Request, Response
from pydantic import BaseModel

from service.analytics.domain import FiguresInvalid, FiguresTooFine, Question, question
from service.analytics.schemas import Table, table
from service.directory import ForeignTerritory, TerritoryNotFound
from service.identity import AGGREGATES_ONLY
from service.identity.http import CurrentActor, refusals
from service.kernel.settings import Settings

M = TypeVar("M", bound=BaseModel)

JSON, CSV = "application/json", "text/csv"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
_MEDIA = (JSON, CSV, XLSX)  # in the order of preference, where the caller has none

RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            CSV: {"schema": {"type": "string"}},
            XLSX: {"schema": {"type": "string", "format": "binary"}},
        },
        "description": "The figures.",
    },
    **refusals(ForeignTerritory, TerritoryNotFound, FiguresInvalid, FiguresTooFine),
}


def _question(
    from_: Annotated[date, Query(alias="from", examples=["2022-01-01"])],
    to: Annotated[date, Query(description="Excluded.", examples=["2023-01-01"])],
    territory: Annotated[str | None, Query(max_length=3, examples=["36"])] = None,
    cpts: UUID | None = None,
) -> Question:
    return question(territory, cpts, from_, to)


async def _floor(request: Request, actor: CurrentActor) -> int | None:
    """Return the smallest count that the caller may be told; None: every one, which is traced."""
    settings: Settings = request.app.state.settings
    return settings.small_cell_min if actor.role in AGGREGATES_ONLY else None


Floor = Annotated[int | None, Depends(_floor)]
Asked = Annotated[Question, Depends(_question)]
Accept = Annotated[str, Header(include_in_schema=False)]


async def answer(
    shape: type[M],
    members: dict[str, Any],
    accept: str,
    response: Response,
    *,
    name: str,
    by: str = "none",
    laid_out: Callable[[dict[str, Any]], Table] | None = None,
) -> M | Response:
    """Answer as JSON, as CSV or as a workbook, whichever the caller prefers."""
    media = preferred(accept)
    if media == JSON:
        response.headers["Vary"] = "Accept"
        return shape.model_validate(members)
    sheet = table(members, by) if laid_out is None else laid_out(members)
    content = sheet.csv() if media == CSV else await asyncio.to_thread(sheet.xlsx)
    suffix = "csv" if media == CSV else "xlsx"
    return Response(
        content,
        media_type=media,
        headers={
            "Vary": "Accept",
            "Content-Disposition": f'attachment; filename="{name}.{suffix}"',
        },
    )


def preferred(accept: str) -> str:
    """Return the media type that an Accept header (RFC 9110 §12.5.1) wants most."""
    weights: dict[str, float] = {}
    for offer in accept.lower().split(","):
        media, *parameters = (part.strip() for part in offer.split(";"))
        weight = next((p[2:] for p in parameters if p.startswith("q=")), "1")
        weights[media] = float(weight) if weight.replace(".", "", 1).isdecimal() else 0.0

    def wanted(media: str) -> float:
        family = f"{media.partition('/')[0]}/*"
        return next((weights[m] for m in (media, family, "*/*") if m in weights), 0.0)

    return max(_MEDIA, key=wanted)
