"""JSON shapes of the room."""

from uuid import UUID

from pydantic import ConfigDict, Field

from service.kernel.http.shapes import Answer, Body
from service.messages.domain import Contact
from service.patients import Email


class Wants(Body):
    """Which messages a practitioner wants."""

    booking: bool = Field(
        default=True, description="A booking made or moved, and hidden time that is given back."
    )
    cancellation: bool = Field(default=True, description="A booking cancelled, or moved away.")
    reminder: bool = Field(default=True, description="A report that is still missing.")


class ContactIn(Body):
    """Where messages reach a practitioner: professional addresses."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "email": "cabinet@example.fr",
                    "mssante": "camille.epreuve@medecin.mssante.fr",
                    "wants": {"booking": True, "cancellation": True, "reminder": False},
                }
            ]
        }
    )

    email: Email | None = None
    mssante: Email | None = Field(None, description="Tried first, where there is one.")
    wants: Wants = Wants()

    def contact(self, practitioner_id: UUID) -> Contact:
        """Return the contact as the use cases want it."""
        return Contact(
            practitioner_id,
            self.email,
            self.mssante,
            self.wants.booking,
            self.wants.cancellation,
            self.wants.reminder,
        )


class WantsOut(Answer):
    """Which messages a practitioner wants."""

    booking: bool
    cancellation: bool
    reminder: bool


class ContactOut(Answer):
    """Where messages reach a practitioner."""

    practitioner_id: UUID
    email: str | None
    mssante: str | None
    wants: WantsOut
    version: int = Field(description="0: nobody has said yet.")


def contact_out(contact: Contact) -> ContactOut:
    """Render a contact."""
    return ContactOut(
        practitioner_id=contact.practitioner_id,
        email=contact.email,
        mssante=contact.mssante,
        wants=WantsOut(
            booking=contact.wants_booking,
            cancellation=contact.wants_cancellation,
            reminder=contact.wants_reminder,
        ),
        version=contact.version,
    )
