"""What the guide asks of appointments that SAS is told of (INT_R03) [IG], in both its versions."""

from datetime import UTC, datetime, timedelta

import pytest

from service.identity import IDNPS, SAS, Identifier
from service.kernel.ids import new_id
from service.sas.domain.appointments import Appointment, resource
from tests.fhir.validator import GUIDES, findings

VENDOR = "urn:oid:1.2.250.1.999.1"


def _appointment(
    state: str, operator: Identifier, rpps: str | None, *, at_point: bool = False
) -> Appointment:
    start = datetime(2030, 1, 15, 10, tzinfo=UTC)
    end, zone = start + timedelta(minutes=15), "Europe/Paris"
    return Appointment(new_id(), operator, state, start, end, start, zone, rpps, at_point)


@pytest.mark.parametrize("version", sorted(GUIDES))
@pytest.mark.parametrize("state", ["booked", "fulfilled", "noshow", "cancelled"])
@pytest.mark.parametrize(
    "operator", [Identifier(IDNPS, "3456780581/11242343"), Identifier(SAS, str(new_id()))]
)
@pytest.mark.parametrize(
    ("rpps", "at_point", "wanted"),
    [
        ("10100000011", False, "FrAppointmentSAS"),
        ("10100000011", True, "sas-sos-appointment"),
        (None, True, "sas-sos-appointment"),
        (None, False, "sas-sos-appointment"),
    ],
)
def test_ig_an_appointment_is_valid_in_every_state(
    version: str, state: str, operator: Identifier, rpps: str | None, at_point: bool, wanted: str
) -> None:
    guide = GUIDES[version]
    told = resource(_appointment(state, operator, rpps, at_point=at_point), VENDOR)
    (profile,) = told["meta"]["profile"]
    assert profile.rpartition("/")[2] == wanted
    assert findings(guide, told) == []


def test_ig_nobody_who_comes_and_no_reason_is_in_an_appointment() -> None:
    operator = Identifier(SAS, str(new_id()))
    told = resource(_appointment("cancelled", operator, "10100000011"), VENDOR)
    assert told.keys() == {
        "resourceType", "meta", "extension", "identifier", "status", "start", "end", "created",
        "participant",
    }  # fmt: skip
    assert len(told["participant"]) == 1
    assert told["participant"][0]["actor"]["identifier"]["value"] == "810100000011"
