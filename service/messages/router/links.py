"""HTTP for who has no token of ours: the pages behind the links in e-mail.

A link that is only opened changes nothing: programs that look at mail open it too.
"""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import HTMLResponse

from service.bookings import (
    CORRECTION,
    BookingNotFound,
    BookingState,
    BookingStateRefused,
    CorrectionTooLate,
    ReportTooEarly,
)
from service.kernel.db import TransactionLost, UnitOfWork
from service.kernel.errors import (
    PreconditionFailed,
    PreconditionRequired,
    ReadOnly,
    Unavailable,
)
from service.kernel.http.deps import Uow, expected
from service.kernel.http.rate import network
from service.messages import letters, reference, usecases
from service.messages.domain import Answer, Appointment, LinkWorthless, said

links = APIRouter(include_in_schema=False)

# What refusals look like; any other one is a problem as everywhere.
_REFUSED: dict[type[Exception], tuple[str, HTTPStatus]] = {
    LinkWorthless: ("worthless", HTTPStatus.NOT_FOUND),
    BookingNotFound: ("worthless", HTTPStatus.NOT_FOUND),
    BookingStateRefused: ("cancelled", HTTPStatus.CONFLICT),
    ReportTooEarly: ("early", HTTPStatus.CONFLICT),
    ReadOnly: ("later", HTTPStatus.SERVICE_UNAVAILABLE),
    Unavailable: ("later", HTTPStatus.SERVICE_UNAVAILABLE),
    TransactionLost: ("later", HTTPStatus.SERVICE_UNAVAILABLE),
}


def _html(text: str, status: HTTPStatus = HTTPStatus.OK) -> HTMLResponse:
    headers = {"Content-Security-Policy": letters.page_policy(), "Cache-Control": "no-store"}
    return HTMLResponse(text, status, headers)


def _page(name: str, *, answer: Answer | None = None) -> str:
    title, line = reference.PAGES[name]
    told = reference.ANSWERS[answer] if answer else ""
    return letters.page("page", title=title, lines=[line.format(answer=told)])


async def _refused(uow: UnitOfWork, refusal: Exception) -> HTMLResponse:
    await uow.rollback()
    name, status = _REFUSED[type(refusal)]
    return _html(_page(name), status)


def _shown(found: Appointment) -> HTMLResponse:
    """Show what a link lets do now."""
    if found.state is BookingState.CANCELLED:
        return _html(_page("cancelled"))
    if found.starts_at > found.now:
        return _html(_page("early"))
    if found.reported_at is None:
        return _html(_form("ask", found))
    if found.now - found.reported_at > CORRECTION:
        return _html(_page("told_for_good", answer=Answer.of(found)))
    return _html(_form("told", found))


def _form(name: str, found: Appointment) -> str:
    title, line = reference.PAGES[name]
    where = reference.APPOINTMENT.format(when=said(found.starts_at, found.zone), place=found.place)
    told = reference.ANSWERS[Answer.of(found)] if found.reported_at else ""
    return letters.page(
        "report",
        title=title,
        lines=[where, line.format(answer=told)],
        answers=reference.ANSWERS,
        version=found.version if found.reported_at else None,
    )


@links.get("/r/{token}")
async def show(request: Request, uow: Uow, token: str) -> HTMLResponse:
    """Show the three answers; nothing of the patient."""
    _limit(request)
    try:
        return _shown(await usecases.linked(uow, token))
    except tuple(_REFUSED) as refusal:
        return await _refused(uow, refusal)


@links.post("/r/{token}")
async def report(
    request: Request,
    uow: Uow,
    token: str,
    answer: Annotated[Answer, Form()],
    version: Annotated[str | None, Form(max_length=20)] = None,
) -> HTMLResponse:
    """Report what happened; a correction brings the version that it corrects."""
    _limit(request)
    try:
        if request.app.state.settings.read_only:
            raise ReadOnly
        before = await usecases.linked(uow, token)
        await usecases.report(uow, before, answer, expected(version))
    except (PreconditionFailed, PreconditionRequired, CorrectionTooLate):
        return _shown(await usecases.linked(uow, token))
    except tuple(_REFUSED) as refusal:
        return await _refused(uow, refusal)
    corrected = before.reported_at is not None and Answer.of(before) is not answer
    return _html(_page("corrected" if corrected else "done", answer=answer))


def _limit(request: Request) -> None:
    """Count who is nobody by their address, as everywhere."""
    request.app.state.address_limit.spend((network(request.scope), ""), request.scope)
