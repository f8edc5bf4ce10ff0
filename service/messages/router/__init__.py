"""HTTP: where messages reach a practitioner; patients who want none."""

from uuid import UUID

from fastapi import APIRouter, Response

from service.audit.http import Traced
from service.directory import PractitionerNotFound
from service.identity.http import CurrentActor, Guarded, refusals
from service.kernel.errors import PreconditionFailed
from service.kernel.http.deps import IfMatch, Uow, tag
from service.messages import usecases
from service.messages.domain import Contact, ContactInvalid, NoAddress
from service.messages.schemas import ContactIn, ContactOut, contact_out
from service.patients import PatientFileNotFound
from service.slots import NotMyPractitioner

contacts = APIRouter(prefix="/v1", tags=["messages"], route_class=Guarded)
opt_outs = APIRouter(prefix="/v1", tags=["messages"], route_class=Traced)


@contacts.get(
    "/practitioners/{practitioner_id}/contact",
    operation_id="messages.read_contact",
    responses=refusals(PractitionerNotFound, NotMyPractitioner),
)
async def read_contact(
    uow: Uow, actor: CurrentActor, practitioner_id: UUID, response: Response
) -> ContactOut:
    """Read where messages reach a practitioner, and which are wanted."""
    return _answer(await usecases.read_contact(uow, actor, practitioner_id), response)


@contacts.put(
    "/practitioners/{practitioner_id}/contact",
    operation_id="messages.put_contact",
    responses=refusals(PractitionerNotFound, NotMyPractitioner, PreconditionFailed, ContactInvalid),
)
async def put_contact(
    uow: Uow,
    actor: CurrentActor,
    practitioner_id: UUID,
    body: ContactIn,
    if_match: IfMatch,
    response: Response,
) -> ContactOut:
    """Say where messages reach a practitioner, and which are wanted. `If-Match` is honoured.

    Without an address, nothing is sent. No message says who a patient is.
    """
    contact = body.contact(practitioner_id)
    return _answer(await usecases.put_contact(uow, actor, contact, if_match), response)


def _answer(contact: Contact, response: Response) -> ContactOut:
    tag(response, contact.version)
    return contact_out(contact)


@opt_outs.post(
    "/patient-files/{file_id}/message-opt-out",
    operation_id="messages.opt_out",
    status_code=204,
    responses=refusals(PatientFileNotFound, NoAddress),
)
async def opt_out(uow: Uow, actor: CurrentActor, file_id: UUID) -> None:
    """Send a patient no message any more: to no address of this file, whatever file has it."""
    await usecases.opt_out(uow, actor, file_id)


@opt_outs.delete(
    "/patient-files/{file_id}/message-opt-out",
    operation_id="messages.opt_in",
    status_code=204,
    responses=refusals(PatientFileNotFound, NoAddress),
)
async def opt_in(uow: Uow, actor: CurrentActor, file_id: UUID) -> None:
    """Let the addresses of this file get messages again."""
    await usecases.opt_in(uow, actor, file_id)
