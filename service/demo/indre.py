"""The Indre in 2022: every row behind the published figures. Synthetic, and the same at every run.

The totals are those of the report "Tour de France des CPTS" (28 June 2023, chapter 5, action 4);
the people, the slots and the days are invented (simulated). Pure: no clock, no database, no file
but the packaged reference tables.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from service.demo import indre_rows
from service.demo.draw import Row
from service.demo.indre_bookings import appointments
from service.demo.indre_calls import calls
from service.demo.indre_events import events
from service.demo.indre_people import directory
from service.demo.indre_slots import rooms

NAME = "indre-2022"


@dataclass(frozen=True, slots=True)
class Dataset:
    """Rows by table, in an order that respects foreign keys; a column left out has its default."""

    name: str
    tables: Mapping[str, list[Row]]

    @property
    def total(self) -> int:
        """How many rows there are."""
        return sum(map(len, self.tables.values()))


def dataset() -> Dataset:
    """Make the whole data set, in about four seconds."""
    people, taken = directory(), calls()
    published = rooms(people)
    year = indre_rows.year(people, published, taken, appointments(taken, published))
    return Dataset(
        NAME,
        {
            "territories": people.territories,
            "organizations": people.organizations,
            "practitioners": people.practitioners,
            "locations": people.locations,
            "practitioner_locations": people.practitioner_locations,
            "slots": list(indre_rows.slots(year)),
            "patient_files": list(indre_rows.patient_files(year)),
            "calls": list(indre_rows.calls(year)),
            "call_callbacks": list(indre_rows.call_callbacks(year)),
            "call_outcomes": list(indre_rows.call_outcomes(year)),
            "bookings": list(indre_rows.bookings(year)),
            "events": list(events(year)),
        },
    )
