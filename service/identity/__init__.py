"""Identity: who is calling, and what they may do here.

Clients are software; a grant gives a client one role for one organization in some territories; a
token carries one grant for some minutes. Rights are local, dated and revocable with effect on the
next request. The second door of the room is `service.identity.http`, for routers.
"""

from service.identity.domain import (
    BOOKERS,
    PERMISSIONS,
    PROFESSIONALS,
    PUBLISHERS,
    REGULATION,
    Actor,
    GrantEnded,
    Role,
)
from service.identity.parts import grant_is_live, grant_parameters, live_grants
from service.identity.tokens import Tokens
from service.identity.usecases import (
    NewSecret,
    create_client,
    ensure_live,
    follow_organization,
    give_grant,
    issue_token,
    list_clients,
    revoke_client,
    rotate_secret,
)

__all__ = [
    "BOOKERS",
    "PERMISSIONS",
    "PROFESSIONALS",
    "PUBLISHERS",
    "REGULATION",
    "Actor",
    "GrantEnded",
    "NewSecret",
    "Role",
    "Tokens",
    "create_client",
    "ensure_live",
    "follow_organization",
    "give_grant",
    "grant_is_live",
    "grant_parameters",
    "issue_token",
    "list_clients",
    "live_grants",
    "revoke_client",
    "rotate_secret",
]
