"""JSON shapes of the room, and the calendar as calendar software reads it (RFC 5545)."""

from datetime import datetime, timedelta
from hashlib import sha256
from typing import Annotated
from uuid import UUID

import orjson
from icalendar import Calendar, Event, vDuration
from pydantic import ConfigDict, Field

from service.calendar.domain import CalendarToken, Entry, Feed
from service.kernel.http.shapes import Answer, Body, local

# Its number is raised when the same entries are written otherwise.
_PRODUCT = "-//SNP broker//Agenda 1//FR"
_ASK_AGAIN = timedelta(minutes=15)


class CalendarTokenIn(Body):
    """Which calendar is to be opened: what a list shows, for who wants to revoke one."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "Téléphone du secrétariat"}]}
    )

    name: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]


class CalendarTokenOut(Answer):
    """What opens a practitioner's calendar, without its secret."""

    id: UUID
    practitioner_id: UUID
    name: str
    created_at: datetime = Field(description="In the territory's zone.")
    last_used_at: datetime | None = Field(description="To within an hour; null: never.")


class NewCalendarTokenOut(CalendarTokenOut):
    """What opens a practitioner's calendar, with the address that does."""

    url: str | None = Field(
        repr=False,
        description="For calendar software: whoever has it sees the calendar. A path on this server"
        " if the operator has not said where people reach it. Told once: null where the"
        " Idempotency-Key was used before.",
        examples=["https://snp.example.fr/v1/practitioners/01938c1e-…/calendar.ics?token=Jx3v…"],
    )


class CalendarTokensOut(Answer):
    """The tokens that open a practitioner's calendar now, newest first."""

    items: list[CalendarTokenOut]


def _members(token: CalendarToken) -> dict[str, object]:
    return {
        "id": token.id,
        "practitioner_id": token.practitioner_id,
        "name": token.name,
        "created_at": local(token.created_at, token.zone),
        "last_used_at": token.last_used_at and local(token.last_used_at, token.zone),
    }


def token_out(token: CalendarToken) -> CalendarTokenOut:
    """Render a token of a list."""
    return CalendarTokenOut.model_validate(_members(token))


def new_token_out(token: CalendarToken, public_url: str = "") -> NewCalendarTokenOut:
    """Render a token that was just made, with where people reach this service."""
    path = f"{public_url}/v1/practitioners/{token.practitioner_id}/calendar.ics"
    url = token.secret and f"{path}?token={token.secret}"
    return NewCalendarTokenOut.model_validate({**_members(token), "url": url})


def etag(feed: Feed) -> str:
    """Return the tag of a calendar: what is not asked for anew need not be written."""
    return f'"{sha256(orjson.dumps((_PRODUCT, feed), default=str)).hexdigest()[:32]}"'


def written(feed: Feed) -> bytes:
    """Write a calendar. Instants are UTC: whoever reads it knows no zone but their own."""
    calendar = Calendar()
    calendar.add("prodid", _PRODUCT)
    calendar.add("version", "2.0")
    calendar.add("x-wr-calname", feed.name)
    calendar.add("refresh-interval", _ASK_AGAIN, parameters={"VALUE": "DURATION"})
    calendar.add("x-published-ttl", vDuration(_ASK_AGAIN))  # the same, for Outlook
    for entry in feed.entries:
        calendar.add_component(_event(entry))
    content: bytes = calendar.to_ical()
    return content


def _event(entry: Entry) -> Event:
    event = Event()
    event.add("uid", str(entry.uid))
    event.add("sequence", entry.sequence)
    event.add("dtstamp", entry.updated_at)  # without METHOD: when it was last changed
    event.add("last-modified", entry.updated_at)
    event.add("created", entry.created_at)
    event.add("dtstart", entry.starts_at)
    event.add("dtend", entry.ends_at)
    event.add("summary", entry.summary)
    event.add("description", entry.description)
    if entry.location is not None:
        event.add("location", entry.location)
    event.add("status", "CANCELLED" if entry.cancelled else "CONFIRMED")
    event.add("transp", "OPAQUE" if entry.busy else "TRANSPARENT")
    event.add("class", "PRIVATE")
    return event
