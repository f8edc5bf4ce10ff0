"""What messages say, in both zones and over the nights when clocks change."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from service.bookings import BookingState, Inform
from service.kernel.settings import Settings
from service.messages.domain import (
    TRIED,
    About,
    Channel,
    Contact,
    Kind,
    Recipient,
    due,
    said,
    wait,
    why_not,
)
from service.messages.letters import letter, spoken

PARIS, REUNION = "Europe/Paris", "Indian/Reunion"
_ID = UUID(int=1)
START = datetime(2026, 11, 27, 13, 30, tzinfo=UTC)
ABOUT = About(
    id=_ID,
    kind=Kind.BOOKED,
    recipient=Recipient.DOCTOR,
    practitioner_id=_ID,
    booking_id=_ID,
    slot_id=_ID,
    was_at=START - timedelta(hours=1),
    attempts=0,
    queued_at=START - timedelta(days=2),
    starts_at=START,
    ends_at=START + timedelta(minutes=20),
    zone=PARIS,
    modes=("AMB", "VR"),
    withdrawn=True,
    place="Maison de santé",
    address="3 rue Haute",
    postal_code="36000",
    commune="Châteauroux",
    place_phone=None,
    organization_phone="+33254001122",
    contact=Contact(_ID, email="x@cabinet.example"),
    with_id=_ID,
    state=BookingState.BOOKED,
    on_slot_id=_ID,
    moved_since=False,
    inform=frozenset(),
    patient_file_id=_ID,
    case_id="LRM-9",
    asked_by="SAS <36>",
    received_by="Camille Épreuve",
    now=START - timedelta(days=2),
)


@pytest.mark.parametrize(
    ("instant", "zone", "text"),
    [
        (START, PARIS, "vendredi 27 novembre 2026 à 14 h 30"),
        (START, REUNION, "vendredi 27 novembre 2026 à 17 h 30"),
        (datetime(2027, 3, 28, 0, 30, tzinfo=UTC), PARIS, "dimanche 28 mars 2027 à 1 h 30"),
        (datetime(2027, 3, 28, 1, 30, tzinfo=UTC), PARIS, "dimanche 28 mars 2027 à 3 h 30"),
        (datetime(2027, 10, 31, 1, 5, tzinfo=UTC), PARIS, "dimanche 31 octobre 2027 à 2 h 05"),
        (datetime(2026, 12, 31, 20, 0, tzinfo=UTC), REUNION, "vendredi 1er janvier 2027 à 0 h 00"),
    ],
)
def test_an_instant_is_said_as_people_there_have_it(
    instant: datetime, zone: str, text: str
) -> None:
    assert said(instant, zone) == text


@pytest.mark.parametrize("zone", [PARIS, REUNION])
@pytest.mark.parametrize("kind", list(Kind))
def test_every_kind_has_its_words(kind: Kind, zone: str) -> None:
    patient = kind in {Kind.CONFIRMED, Kind.CHANGED, Kind.CALLED_OFF, Kind.REMINDER}
    recipient = Recipient.PATIENT if patient else Recipient.DOCTOR
    about = replace(ABOUT, kind=kind, recipient=recipient, zone=zone)
    written = letter(about, [(Channel.EMAIL, "x@y.example")], "https://snp.example/r/abc")
    assert said(START, zone) in written.subject
    assert "Maison de santé, 3 rue Haute, 36000 Châteauroux" in written.text
    assert "Maison de santé, 3 rue Haute, 36000 Châteauroux" in written.html
    assert "{" not in written.subject + written.text + written.html + written.sms
    links = {Kind.BOOKED, Kind.RESCHEDULED, Kind.REPORT_DUE}
    assert ("https://snp.example/r/abc" in written.text) == (kind in links)
    assert ("LRM-9" in written.text) == (not patient and kind is not Kind.RECEIVED)
    assert ("02 54 00 11 22" in written.text) == (patient and kind is not Kind.CALLED_OFF)
    assert bool(written.sms) == patient
    assert "SAS <36>" not in written.html  # escaped


def test_over_the_night_when_clocks_change_a_day_before_is_24_hours() -> None:
    start = datetime(2027, 3, 28, 7, 0, tzinfo=UTC)  # 9 h; the day before, 8 h
    about = replace(
        ABOUT, kind=Kind.REMINDER, recipient=Recipient.PATIENT, starts_at=start,
        queued_at=start - timedelta(days=3), now=start - timedelta(days=3),
        inform=frozenset(Inform),
    )  # fmt: skip
    when = due(about, Settings.model_validate({}))
    assert when == start - timedelta(hours=24)
    assert said(start - timedelta(hours=24), PARIS).endswith("samedi 27 mars 2027 à 8 h 00")


def test_a_message_holds_only_while_it_is_true() -> None:
    assert why_not(ABOUT) is None
    assert why_not(replace(ABOUT, now=START)) == "past"
    assert why_not(replace(ABOUT, state=BookingState.CANCELLED)) == "outdated"
    assert why_not(replace(ABOUT, on_slot_id=UUID(int=2))) == "outdated"
    assert why_not(replace(ABOUT, moved_since=True)) == "outdated"
    assert why_not(replace(ABOUT, kind=Kind.MOVED_AWAY)) == "outdated"  # and back again
    assert why_not(replace(ABOUT, kind=Kind.GIVEN_BACK, withdrawn=False)) == "outdated"
    assert why_not(replace(ABOUT, kind=Kind.REPORT_DUE, now=START + timedelta(days=1))) is None
    assert why_not(replace(ABOUT, contact=None)) == "not_wanted"
    assert why_not(replace(ABOUT, contact=Contact(_ID))) == "not_wanted"


def test_attempts_are_a_minute_then_at_most_an_hour_apart() -> None:
    waits = [wait(attempts) for attempts in range(1, 60)]
    assert waits[:3] == [timedelta(minutes=minutes) for minutes in (1, 2, 4)]
    assert max(waits) == waits[-1] == timedelta(hours=1)
    assert sum(waits, timedelta()) > TRIED


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("+33254001122", "02 54 00 11 22"),
        ("+262262901234", "0262 90 12 34"),
        ("+3222345678", "+32 2 234 56 78"),
        ("15", "15"),
    ],
)
def test_numbers_are_said_as_they_are_dialled(number: str, text: str) -> None:
    assert spoken(number) == text
