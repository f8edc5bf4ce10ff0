"""Use cases: sessions, absences, leaving, and what a session lacks (`filling`)."""

from service.agenda.usecases.absences import (
    declare_absence,
    end_absence,
    find_absence,
    list_absences,
)
from service.agenda.usecases.leaving import amend_practitioner
from service.agenda.usecases.sessions import (
    amend_session,
    create_session,
    end_session,
    extend_one,
    list_sessions,
    read_session,
    seat_given_back,
)

__all__ = [
    "amend_practitioner",
    "amend_session",
    "create_session",
    "declare_absence",
    "end_absence",
    "end_session",
    "extend_one",
    "find_absence",
    "list_absences",
    "list_sessions",
    "read_session",
    "seat_given_back",
]
