"""What a search asks for, read from the query as it was sent. Pure.

The platform, the examples of the guide and its test kit write the same thing in many ways: `|` as
it is or encoded, a space after a comma, an offset whose `+` has become a space, no offset at all.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from itertools import chain
from urllib.parse import quote, unquote, unquote_plus
from zoneinfo import ZoneInfo

from service.fhir.codes import PRACTITIONER_ID, STRUCTURE_ID
from service.kernel.errors import FieldError, Malformed

IDENTIFIER = "schedule.actor:Practitioner.identifier"
STRUCTURE = "actor:Location.organization.identifier"
START, STATUS = "start", "status"
MOST_NAMED = 25
LONGEST_WINDOW = timedelta(days=31)
# An instant without an offset is one of the platform's own clock.
PARIS = ZoneInfo("Europe/Paris")

OF_SLOTS = "_has:Slot:schedule:"
_SERVICES = "Slot:service-type-reference"
_INCLUDES = ("_include", "_include:iterate")
_INSTANT = re.compile(
    r"(?P<date>(?:19|20|21)\d\d-\d\d-\d\d)"
    r"(?:T(?P<time>\d\d:\d\d(?::\d\d)?)(?:\.(?P<fraction>\d{1,9}))?(?P<offset>Z|[+-]\d\d:\d\d)?)?"
)
# What stays as it is in an address that we write: what the guide's own self links leave.
_PLAIN = ":,./@-_~"


class SearchRefused(Malformed):
    """The search cannot be executed as it was asked."""

    code = "fhir-search"
    title = "This search cannot be executed."


Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class SlotSearch:
    """Free slots of some practitioners that start from one instant to another, both included.

    `rpps`: only of those that are asked for by a number of that kind; maybe none. `communities`:
    what community members see, too (INT_R04).
    """

    rpps: tuple[str, ...]
    from_: datetime
    to: datetime
    communities: bool


@dataclass(frozen=True, slots=True)
class PointSearch:
    """Free slots of some structures, by SIRET, from one instant to another, both included."""

    sirets: tuple[str, ...]
    from_: datetime
    to: datetime


def pairs(query: bytes) -> Pairs:
    """Return names and values as they were meant; each name as often as it was sent.

    In an instant a `+` is a `+`; elsewhere it is how forms write a space.
    """
    found = []
    for part in query.decode("utf-8", "replace").split("&"):
        if part:
            name, _, value = part.partition("=")
            name = unquote_plus(name)
            is_instant = name.removeprefix(OF_SLOTS) == START
            found.append((name, _instant_text(value) if is_instant else unquote_plus(value)))
    return found


def _instant_text(sent: str) -> str:
    """Put back the `+` of an offset that somebody on the way took for a space."""
    return re.sub(r" (\d\d:\d\d)$", r"+\1", unquote(sent))


def self_link(path: str, asked: Pairs) -> str:
    """Write a search again, so that every reader understands it alike."""
    query = "&".join(f"{quote(name, _PLAIN)}={quote(value, _PLAIN)}" for name, value in asked)
    return f"{path}?{query}" if query else path


def read(asked: Pairs) -> SlotSearch:
    """Read a slot search; parameters that it does not know change nothing.

    Refusals: `fhir-search`, with all that is wrong.
    """
    values = _by_name(asked)
    wrong: list[FieldError] = []
    wanted = _named(IDENTIFIER, "practitioners", values, wrong)
    from_, to = _window(values, wrong)
    includes = chain.from_iterable(values.get(name, ()) for name in _INCLUDES)
    return SlotSearch(
        rpps=tuple(number for value in wanted if (number := _rpps(value))),
        from_=from_,
        to=to,
        communities=any(include.strip() == _SERVICES for include in includes),
    )


def read_points(asked: Pairs) -> PointSearch:
    """Read a search for consultation points of SOS Médecins. Refusals: `fhir-search`, likewise."""
    values = _by_name([(name.removeprefix(OF_SLOTS), value) for name, value in asked])
    wrong: list[FieldError] = []
    wanted = _named(STRUCTURE, "structures", values, wrong)
    from_, to = _window(values, wrong)
    return PointSearch(tuple(number for value in wanted if (number := _siret(value))), from_, to)


def _by_name(asked: Pairs) -> Mapping[str, Sequence[str]]:
    values: dict[str, list[str]] = {}
    for name, value in asked:
        values.setdefault(name, []).append(value)
    return values


def _window(
    values: Mapping[str, Sequence[str]], wrong: list[FieldError]
) -> tuple[datetime, datetime]:
    """Return the bounds. Refuses here with whatever is wrong."""
    from_ = _bound("ge", values.get(START, ()), wrong)
    to = _bound("le", values.get(START, ()), wrong)
    wrong += _misread(values)
    if from_ and to and to - from_ > LONGEST_WINDOW:
        days = LONGEST_WINDOW.days
        wrong.append(FieldError(START, "too-costly", f"No more than {days} days at once."))
    if wrong or from_ is None or to is None:
        raise SearchRefused(*wrong)
    return from_, to


def _named(
    parameter: str, what: str, values: Mapping[str, Sequence[str]], wrong: list[FieldError]
) -> Sequence[str]:
    """Return who is asked for; a name that comes again asks for more."""
    listed = (value.strip() for text in values.get(parameter, ()) for value in text.split(","))
    wanted = list(dict.fromkeys(value for value in listed if value))
    if not wanted:
        wrong.append(FieldError(parameter, "required", f"Whose slots: name 1 to 25 {what}."))
    elif len(wanted) > MOST_NAMED:
        most = f"No more than {MOST_NAMED} {what} at once."
        wrong.append(FieldError(parameter, "too-costly", most))
    return wanted


def _siret(identifier: str) -> str | None:
    """Return the SIRET of a token (system or none, with its prefix or without); None: another."""
    system, _, value = identifier.rpartition("|")
    found = re.fullmatch(r"3?(\d{14})", value.strip(), re.ASCII)
    return found[1] if found and system.strip() in {"", STRUCTURE_ID} else None


def _rpps(identifier: str) -> str | None:
    """Return the RPPS of a token (system or none, with its prefix or without); None: another."""
    system, _, value = identifier.rpartition("|")
    found = re.fullmatch(r"8?(\d{11})", value.strip(), re.ASCII)
    return found[1] if found and system.strip() in {"", PRACTITIONER_ID} else None


def _bound(prefix: str, sent: Sequence[str], wrong: list[FieldError]) -> datetime | None:
    """Return the bound that counts: each one that is sent has to hold."""
    texts = [text.strip()[2:] for text in sent if text.strip().startswith(prefix)]
    if not texts:
        wrong.append(FieldError(START, "required", f"A bound is missing: {START}={prefix}…"))
        return None
    found = [_instant(text, last=prefix == "le") for text in texts]
    read = [instant for instant in found if instant]
    if len(read) < len(found):
        wrong.append(FieldError(START, "value", "Write it like 2030-01-15T08:00:00.000+01:00."))
        return None
    return max(read) if prefix == "ge" else min(read)


def _instant(text: str, *, last: bool) -> datetime | None:
    """Read an instant; of a mere day, its first or `last`."""
    found = _INSTANT.fullmatch(text)
    if found is None:
        return None
    fraction = (found["fraction"] or "0")[:6].ljust(6, "0")
    offset = (found["offset"] or "").replace("Z", "+00:00")
    try:
        day = datetime.fromisoformat(found["date"])
        if found["time"] is None:
            return datetime.combine(day, time.max if last else time.min, PARIS)
        at = time.fromisoformat(found["time"]).replace(microsecond=int(fraction))
        zone = datetime.fromisoformat(f"2000-01-01T00:00:00{offset}").tzinfo
    except ValueError:
        return None
    return datetime.combine(day, at, zone or PARIS)


def _misread(values: Mapping[str, Sequence[str]]) -> Iterator[FieldError]:
    """Yield what would be answered wrongly if it were passed over."""
    if any(text.strip()[:2] not in {"ge", "le"} for text in values.get(START, ())):
        yield FieldError(START, "value", "The prefixes are ge and le.")
    statuses = values.get(STATUS, ())
    if not statuses:
        yield FieldError(STATUS, "required", "Ask for status=free: no other slots are shown.")
    elif any(status.strip() != "free" for status in statuses):
        yield FieldError(STATUS, "value", "No others than free slots are told of.")
