"""The contextual call (INT_L01): regulation software opens a search with what its case file knows.

It comes in the words of the national platform (`/sas/recherche?origin=…&practitioner=…&…`), and is
said here in those of our search. What that cannot use is named, not passed over in silence.
"""

import re
from collections.abc import Container
from dataclasses import dataclass
from urllib.parse import urlencode
from uuid import UUID

SEARCH = "/v1/slots"

# IDNPS: 8 before an RPPS. Software writes it with its system, or leaves that out.
_RPPS = re.compile(r"(?:urn:oid:1\.2\.250\.1\.71\.4\.2\.1\|)?8([0-9]{11})")


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a search begins: paths with queries. `unused`: parameters that changed nothing."""

    search: str
    preferred: str | None
    unused: tuple[str, ...]


def rpps_of(practitioner: str) -> str | None:
    """Return the RPPS of the doctor whom a caller prefers; None of a name or another number."""
    found = _RPPS.fullmatch(practitioner.strip())
    return found[1] if found else None


def specialty_of(specialty: str, known: Container[str]) -> str | None:
    """Return the code of a specialty (`urn:oid:…|SM54`, or bare); None of words or another code."""
    code = specialty.rpartition("|")[2].strip()
    return code if code in known else None


def entry(
    *,
    commune: str | None,
    specialty: str | None,
    practitioner: UUID | None,
    unused: tuple[str, ...],
) -> Entry:
    """Return where to search: near the commune's centre, or wherever the caller may."""
    near = {"commune": commune, "sort": "distance"} if commune else {}
    wanted = {**near, **({"specialty": specialty} if specialty else {})}
    return Entry(
        search=f"{SEARCH}?{urlencode(wanted)}" if wanted else SEARCH,
        preferred=f"{SEARCH}?{urlencode({'practitioner': practitioner})}" if practitioner else None,
        unused=unused,
    )
