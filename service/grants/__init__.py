"""Grants of people: given, listed and revoked by those who keep a territory's accounts.

Doctors give, list and revoke the right to act for themselves; nobody else gives that one.

Identity knows what a grant is and asks for it at every request; this room knows who may give which
one, as that takes the directory: whose organization, which practitioner. A profession that somebody
proves gives no right by itself.
"""

from service.grants.domain import GrantDraft, Named
from service.grants.usecases import give, list_all, revoke, stop

__all__ = ["GrantDraft", "Named", "give", "list_all", "revoke", "stop"]
