"""Identity: who is calling, and what they may do here.

Clients are software, accounts are people; a grant gives one of them one role for one organization
in some territories; a token carries one grant for some minutes. `authenticators` say who it is,
grants say what they may do: rights are local, dated and revocable with effect on the next request.
The second door of the room is `service.identity.http`, for routers.
"""

from service.identity.authenticators.credentials import client
from service.identity.domain import (
    AGGREGATES_ONLY,
    BOOKERS,
    PERMISSIONS,
    PROFESSIONALS,
    PUBLISHERS,
    REGULATION,
    Actor,
    GrantEnded,
    GrantInvalid,
    Role,
)
from service.identity.parts import (
    grant_is_live,
    grant_parameters,
    live_grants,
    right_ended,
    software_is_live,
    still_acts,
)
from service.identity.people import (
    ASSERTED,
    IDNPS,
    Account,
    Identifier,
    IdentifierInvalid,
    identifier,
)
from service.identity.repository import GrantEntry
from service.identity.tokens import Tokens
from service.identity.usecases import (
    NewSecret,
    are_live,
    certify_client,
    closed_accounts,
    create_client,
    ensure_live,
    find_account,
    find_grant,
    follow_organization,
    forget,
    give_grant,
    issue_token,
    list_clients,
    list_grants,
    lock_account,
    open_account,
    revoke_client,
    revoke_grant,
    rotate_secret,
    unused_accounts,
    unused_clients,
)
from service.kernel.events import OPERATOR

__all__ = [
    "AGGREGATES_ONLY",
    "ASSERTED",
    "BOOKERS",
    "IDNPS",
    "OPERATOR",
    "PERMISSIONS",
    "PROFESSIONALS",
    "PUBLISHERS",
    "REGULATION",
    "Account",
    "Actor",
    "GrantEnded",
    "GrantEntry",
    "GrantInvalid",
    "Identifier",
    "IdentifierInvalid",
    "NewSecret",
    "Role",
    "Tokens",
    "are_live",
    "certify_client",
    "client",
    "closed_accounts",
    "create_client",
    "ensure_live",
    "find_account",
    "find_grant",
    "follow_organization",
    "forget",
    "give_grant",
    "grant_is_live",
    "grant_parameters",
    "identifier",
    "issue_token",
    "list_clients",
    "list_grants",
    "live_grants",
    "lock_account",
    "open_account",
    "revoke_client",
    "revoke_grant",
    "right_ended",
    "rotate_secret",
    "software_is_live",
    "still_acts",
    "unused_accounts",
    "unused_clients",
]
