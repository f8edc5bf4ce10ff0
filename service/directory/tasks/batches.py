"""Lines gathered into batches: each entry once, as the first lines that name it say."""

from dataclasses import dataclass, field

from service.directory.domain import PractitionerStatus
from service.directory.tasks.extract import link
from service.directory.tasks.lines import Activity, Person, Structure
from service.directory.tasks.seen import Seen, key

# Each batch is one transaction of well below a second; statements may take 10.
BATCH = 5_000

_CLOSEST = tuple(PractitionerStatus)


@dataclass
class Batch:
    """Entries that no batch before has named, and the work (RPPS, key) of these lines."""

    people: dict[str, Person] = field(default_factory=dict)
    structures: dict[str, Structure] = field(default_factory=dict)
    work: list[tuple[str, str]] = field(default_factory=list)
    activities: int = 0


class Gatherer:
    """Fills batches, and remembers in little memory whom and what the file has named."""

    def __init__(self) -> None:
        self.batch = Batch()
        self._seen, self._protected = Seen(), Seen()
        self._last = ""

    def full(self, activity: Activity) -> bool:
        """Tell whether the batch is full before this line; it never ends amid one person."""
        return self.batch.activities >= BATCH and activity.person.rpps != self._last

    def take(self) -> Batch:
        """Hand over the batch, and begin a new one."""
        taken, self.batch = self.batch, Batch()
        return taken

    def add(self, activity: Activity) -> None:
        """Add a line."""
        person, structure = activity
        batch, self._last = self.batch, person.rpps
        batch.activities += 1
        if self._seen.add(key(person.rpps)):
            batch.people[person.rpps] = person
        elif person.rpps in batch.people:
            batch.people[person.rpps] = merged(batch.people[person.rpps], person)
        if self._seen.add(key(structure.key)):
            batch.structures[structure.key] = structure
        if self._seen.add(key(link(person.rpps, structure.key))):
            batch.work.append((person.rpps, structure.key))

    def protect(self, names: tuple[str, ...]) -> None:
        """Remember what a refused line names: it has not vanished."""
        for name in names:
            self._protected.add(key(name))

    def named(self, name: str) -> bool:
        """Tell whether the file names a person (RPPS), a structure (key) or a work (`link`)."""
        return key(name) in self._seen or key(name) in self._protected


def merged(first: Person, other: Person) -> Person:
    """Return one person from two lines: an ordinal specialty (SM...) and a practice come first."""
    return first._replace(
        specialty=min((first.specialty, other.specialty), key=_rank),
        status=min((first.status, other.status), key=_CLOSEST.index),
    )


def _rank(specialty: str | None) -> tuple[bool, bool, str]:
    text = specialty or ""
    return not text, not text.startswith("SM"), text
