"""What the journeys of unmet needs share."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from service.directory import reference
from tests.support import Caller, soon

Body = dict[str, Any]


def need(commune: str = "36044", **members: Any) -> Body:
    """The body of a need: this afternoon, at a practice."""
    return {
        "motive": "M03.14",
        "commune": commune,
        "from": soon(1).isoformat(),
        "to": soon(9).isoformat(),
        "mode": "AMB",
        "reason": "too_far",
        **members,
    }


async def recorded(caller: Caller, body: Body) -> Body:
    """Record a need, and return the answer's body."""
    answer = await caller.post("/v1/unmet-needs", body)
    assert answer.status_code == 201, answer.text
    found: Body = answer.json()
    return found


async def listed(caller: Caller, **params: Any) -> list[Body]:
    """Walk through the list of needs, one page after the other."""
    items: list[Body] = []
    cursor: str | None = ""
    while cursor is not None:
        page = await caller.get(
            "/v1/unmet-needs", params={**params, **({"cursor": cursor} if cursor else {})}
        )
        assert page.status_code == 200, page.text
        items += page.json()["items"]
        cursor = page.json()["next_cursor"]
    return items


def place(commune: str, *, north_km: float = 0) -> tuple[float, float]:
    """The position of a commune, or of a place so many kilometres north of it."""
    found = reference.commune(commune)
    assert found is not None
    return found.latitude + north_km / 111.195, found.longitude


async def agenda(doctor: Caller, hours: Sequence[float], **members: Any) -> list[Body]:
    """Publish slots that start in so many hours."""
    bodies = [doctor.slot(soon(0) + timedelta(hours=h), **members) for h in hours]
    answer = await doctor.post("/v1/slots", {"slots": bodies})
    assert answer.status_code == 201, answer.text
    slots: list[Body] = answer.json()["slots"]
    return slots
