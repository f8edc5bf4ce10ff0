"""The whole flow with a client that was generated from openapi/openapi.json, and nothing else.

    make client
    PYTHONPATH=build/client .venv-client/bin/python examples/generated_client.py \
        var/demo/demo-clients.json

A doctor publishes two hidden slots; a regulator finds them, holds, books, reschedules, cancels,
books again for a call, closes the call and reads the figures. Everybody is invented.
"""

import json
import os
import random
import sys
import uuid
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from snp_broker_client import AuthenticatedClient, Client
from snp_broker_client.api.analytics import analytics_call_outcomes
from snp_broker_client.api.bookings import (
    bookings_book,
    bookings_cancel,
    bookings_list,
    bookings_read,
    bookings_report,
    bookings_reschedule,
)
from snp_broker_client.api.calls import calls_add_outcome, calls_call_back, calls_close, calls_open
from snp_broker_client.api.directory import directory_list_locations
from snp_broker_client.api.identity import identity_me, identity_token
from snp_broker_client.api.slots import slots_amend, slots_hold, slots_publish, slots_search
from snp_broker_client.models import (
    BookingIn,
    BookingOut,
    BookingPage,
    BookingState,
    CallbackAdded,
    CallbackIn,
    CallIn,
    CallOut,
    CallOutcomesOut,
    CancellationIn,
    CancellationInBy,
    ClosureIn,
    HoldIn,
    HoldOut,
    LocationPage,
    MeOut,
    Mode,
    Otherwise,
    OutcomeAdded,
    OutcomeIn,
    OutcomeInOutcome,
    PatientIn,
    Problem,
    ReasonIn,
    ReportIn,
    ReportInState,
    ReschedulingIn,
    SearchOut,
    Sex,
    SlotIn,
    SlotOut,
    SlotPatch,
    TokenForm,
    TokenOut,
    Visibility,
)
from snp_broker_client.types import Response

T = TypeVar("T")


def sign_in(clients: dict[str, Any], role: str) -> AuthenticatedClient:
    """Return a client of the API for one of the demo's roles."""
    me = next(client for client in clients["clients"] if client["role"] == role)
    form = TokenForm(
        grant_type="client_credentials",
        client_id=me["client_id"],
        client_secret=me["client_secret"],
    )
    base_url = clients["base_url"]
    token = answer(
        identity_token.sync_detailed(client=Client(base_url=base_url), body=form), TokenOut
    )
    return AuthenticatedClient(base_url=base_url, token=token.access_token)


def answer(response: Response[Any], model: type[T]) -> T:
    """Return the answer as the model it has to be, or end with the refusal's code."""
    if isinstance(response.parsed, Problem):
        raise SystemExit(f"{response.status_code} {response.parsed.code}")
    assert isinstance(response.parsed, model), response.status_code
    return response.parsed


def refusal(response: Response[Any]) -> str:
    """Return the code of an answer that has to be a refusal."""
    assert isinstance(response.parsed, Problem), response.status_code
    return response.parsed.code


def publish(doctor: AuthenticatedClient) -> tuple[SlotOut, SlotOut]:
    """Publish two hidden slots, some weeks ahead, at a time that is hardly taken."""
    me = answer(identity_me.sync_detailed(client=doctor), MeOut)
    places = answer(
        directory_list_locations.sync_detailed(client=doctor, practitioner=me.practitioner_id),
        LocationPage,
    )
    start = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(
        days=20,
        minutes=random.randrange(10_000),
    )

    def one(starts_at: datetime) -> SlotOut:
        slot = SlotIn(
            practitioner_id=me.practitioner_id,
            location_id=places.items[0].id,
            starts_at=starts_at,
            ends_at=starts_at + timedelta(minutes=5),
            modes=[Mode.AMB],
            visibility=[Visibility.SNP],
        )
        published = slots_publish.sync_detailed(
            client=doctor, body=slot, idempotency_key=str(uuid.uuid4())
        )
        return answer(published, SlotOut)

    return one(start), one(start + timedelta(minutes=5))


def booking_of(
    slot: SlotOut, case_id: str, hold: HoldOut | None = None, call: CallOut | None = None
) -> BookingIn:
    """Return the body of a booking, with the patient file inside."""
    body = BookingIn(
        slot_id=slot.id,
        case_id=case_id,
        patient_file=PatientIn(
            family_name=f"Exemple {case_id}",
            given_name="Dominique",
            birth_date=date(1980, 1, 1),
            sex=Sex.F,
            phone="+33600000000",
            commune="36044",
        ),
        reason=ReasonIn(motive="M03.14", text="fièvre depuis 2 jours"),
    )
    if hold:
        body.hold_id = hold.id
    if call:
        body.call_id = call.id
    return body


def book_and_give_back(regulator: AuthenticatedClient, first: SlotOut, second: SlotOut) -> None:
    """Search, hold, book twice with one key, read, reschedule, cancel."""
    found = answer(
        slots_search.sync_detailed(
            client=regulator,
            from_=first.starts_at,
            to=second.ends_at,
            near="46.81,1.69",
            radius_km=200,
        ),
        SearchOut,
    )
    assert {first.id, second.id} <= {slot.id for slot in found.items}

    hold = answer(
        slots_hold.sync_detailed(first.id, client=regulator, body=HoldIn(seconds=60)), HoldOut
    )
    case_id = f"LRM-{uuid.uuid4().hex[:12]}"
    body = booking_of(first, case_id, hold)
    made = bookings_book.sync_detailed(client=regulator, body=body, idempotency_key=case_id)
    again = bookings_book.sync_detailed(client=regulator, body=body, idempotency_key=case_id)
    booking = answer(made, BookingOut)
    assert answer(again, BookingOut).id == booking.id
    assert again.headers["Idempotency-Replayed"] == "true"
    assert refusal(bookings_book.sync_detailed(client=regulator, body=body)) == "hold-expired"
    print(f"booked {booking.slot.starts_at.isoformat()}")

    read = bookings_read.sync_detailed(booking.id, client=regulator)
    assert answer(read, BookingOut).case_id == case_id
    moved = answer(
        bookings_reschedule.sync_detailed(
            booking.id,
            client=regulator,
            body=ReschedulingIn(slot_id=second.id),
            if_match=read.headers["ETag"],
        ),
        BookingOut,
    )
    assert (moved.id, moved.slot.id) == (booking.id, second.id)
    stale = bookings_cancel.sync_detailed(
        booking.id,
        client=regulator,
        body=CancellationIn(by=CancellationInBy.PATIENT),
        if_match=read.headers["ETag"],
    )
    assert refusal(stale) == "version-mismatch"
    given_back = answer(
        bookings_cancel.sync_detailed(
            booking.id, client=regulator, body=CancellationIn(by=CancellationInBy.PATIENT)
        ),
        BookingOut,
    )
    assert given_back.state is BookingState.CANCELLED
    mine = answer(bookings_list.sync_detailed(client=regulator, case_id=case_id), BookingPage)
    assert [one.id for one in mine.items] == [booking.id]
    print("rescheduled and cancelled")


def regulate(regulator: AuthenticatedClient, slot: SlotOut) -> None:
    """Open a call, call back, book for it, advise, close."""
    case_id = f"LRM-{uuid.uuid4().hex[:12]}"
    call = answer(
        calls_open.sync_detailed(
            client=regulator,
            body=CallIn(
                line="116117",
                received_at=datetime.now(UTC),
                motive="M03.14",
                case_id=case_id,
                callback_requested=True,
            ),
        ),
        CallOut,
    )
    called = calls_call_back.sync_detailed(call.id, client=regulator, body=CallbackIn(reached=True))
    assert answer(called, CallbackAdded).call.id == call.id
    booked = bookings_book.sync_detailed(
        client=regulator, body=booking_of(slot, case_id, call=call), idempotency_key=case_id
    )
    assert answer(booked, BookingOut).call_id == call.id
    advised = calls_add_outcome.sync_detailed(
        call.id, client=regulator, body=OutcomeIn(outcome=OutcomeInOutcome.MEDICAL_ADVICE)
    )
    assert answer(advised, OutcomeAdded).decision == "CONSEIL"
    closed = answer(
        calls_close.sync_detailed(
            call.id, client=regulator, body=ClosureIn(otherwise=Otherwise.EMERGENCY_DEPARTMENT)
        ),
        CallOut,
    )
    print(f"call {closed.state}: {', '.join(sorted(str(o.outcome) for o in closed.outcomes))}")


def report(doctor: AuthenticatedClient) -> None:
    """Say of every booking that has begun that the patient came."""
    begun = answer(
        bookings_list.sync_detailed(client=doctor, state=BookingState.BOOKED, to=datetime.now(UTC)),
        BookingPage,
    )
    for booking in begun.items:
        reported = bookings_report.sync_detailed(
            booking.id,
            client=doctor,
            body=ReportIn(state=ReportInState.FULFILLED, sent_to_emergency=False),
        )
        print(f"reported {answer(reported, BookingOut).state}")


def main(clients: dict[str, Any]) -> None:
    """The whole flow, from both sides."""
    doctor, regulator = sign_in(clients, "doctor"), sign_in(clients, "regulator")
    me = answer(identity_me.sync_detailed(client=regulator), MeOut)
    first, second = publish(doctor)
    assert first.visibility == [Visibility.SNP]
    assert first.visibility_warnings == []
    amended = slots_amend.sync_detailed(
        first.id, client=doctor, body=SlotPatch(note="Entrée par la cour"), if_match='"1"'
    )
    assert answer(amended, SlotOut).version == 2

    book_and_give_back(regulator, first, second)
    regulate(regulator, first)
    report(doctor)

    today = datetime.now(UTC).date()
    figures = answer(
        analytics_call_outcomes.sync_detailed(
            client=regulator,
            territory=me.territories[0],
            from_=today - timedelta(days=1),
            to=today + timedelta(days=2),
        ),
        CallOutcomesOut,
    )
    oriented = next(c for c in figures.outcomes if c.category == "slot_orientation")
    assert figures.calls >= 1
    assert oriented.calls >= 1
    assert isinstance(oriented.share, float)
    print(f"calls {figures.calls}, oriented {oriented.calls}, share {oriented.share}")


if __name__ == "__main__":
    default = os.environ.get("SNP_DEMO_CLIENTS", "var/demo/demo-clients.json")
    file = Path(sys.argv[1] if len(sys.argv) > 1 else default)
    main(json.loads(file.read_text(encoding="utf-8")))
