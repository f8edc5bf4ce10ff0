"""Calendar: a practitioner's slots and bookings in whatever calendar software they use.

Such software asks for an address and can say nothing else: the address holds a secret, made by the
doctor's side, revoked by it, and worth nothing from the moment its maker may no longer act for the
practitioner. What it opens names no patient, so no reading is traced (docs/adr/0017); when it was
last used is kept. Events: calendar_token.created, calendar_token.revoked.
"""

from service.calendar.usecases import delete, ended

__all__ = ["delete", "ended"]
