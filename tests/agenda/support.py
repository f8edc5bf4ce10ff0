"""What the tests of sessions and absences share."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from tests.support import PARIS, Caller

Body = dict[str, Any]
WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")


def today(zone: str = PARIS) -> date:
    """The local date now."""
    return datetime.now(ZoneInfo(zone)).date()


def in_days(number: int) -> date:
    """A local date in Paris, from today on."""
    return today() + timedelta(days=number)


def weekday(day: date) -> str:
    """The day of the week as iCalendar writes it."""
    return WEEKDAYS[day.weekday()]


def at(day: date, hour: int, minute: int = 0, zone: str = PARIS) -> datetime:
    """A local time as an instant."""
    return datetime.combine(day, time(hour, minute), ZoneInfo(zone)).astimezone(UTC)


def session(doctor: Caller, day: date, **members: Any) -> Body:
    """The body of a session from 14:00 to 15:00 with three slots."""
    return {
        "practitioner_id": doctor.practitioner_id and str(doctor.practitioner_id),
        "location_id": str(doctor.location_id),
        "date": day.isoformat(),
        "start": "14:00",
        "end": "15:00",
        "slot_minutes": 20,
        **members,
    }


def weekly(doctor: Caller, day: date, **members: Any) -> Body:
    """The body of a session that recurs every week on the weekday of its first date."""
    recurrence = {"weekly": [weekday(day)], **members.pop("recurrence", {})}
    return session(doctor, day, recurrence=recurrence, **members)


async def made(doctor: Caller, body: Body) -> Body:
    """Create a session; returns the answer's body."""
    answer = await doctor.post("/v1/slot-sessions", body)
    assert answer.status_code == 201, answer.text
    found: Body = answer.json()
    assert answer.headers["ETag"] == f'"{found["version"]}"'
    assert answer.headers["Location"] == f"/v1/slot-sessions/{found['id']}"
    return found


async def read(doctor: Caller, made_: Body) -> Body:
    """Read a session again."""
    answer = await doctor.get(f"/v1/slot-sessions/{made_['id']}")
    assert answer.status_code == 200, answer.text
    found: Body = answer.json()
    return found


async def amended(doctor: Caller, made_: Body, **changes: Any) -> Body:
    """Amend a session in the version that was read; returns the answer's body."""
    answer = await doctor.patch(
        f"/v1/slot-sessions/{made_['id']}", changes, if_match=made_["version"]
    )
    assert answer.status_code == 200, answer.text
    found: Body = answer.json()
    assert found["version"] == made_["version"] + 1
    return found


async def agenda(doctor: Caller, *states: str) -> list[Body]:
    """The doctor's slots of the coming months by start: open ones, or in these states."""
    items: list[Body] = []
    cursor: str | None = ""
    while cursor is not None:
        params = {
            "from": (datetime.now(UTC) - timedelta(days=1)).isoformat(),
            "to": (datetime.now(UTC) + timedelta(days=100)).isoformat(),
            "limit": 200,
            **({"cursor": cursor} if cursor else {}),
        }
        answer = await doctor.get(
            f"/v1/practitioners/{doctor.practitioner_id}/slots", params=params
        )
        assert answer.status_code == 200, answer.text
        items += answer.json()["items"]
        cursor = answer.json()["next_cursor"]
    return [item for item in items if item["state"] in (states or ("open",))]


def starts(slots: list[Body]) -> list[datetime]:
    """The starts of slots, as instants."""
    return [datetime.fromisoformat(slot["starts_at"]).astimezone(UTC) for slot in slots]
