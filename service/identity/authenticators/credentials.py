"""Client software proves itself by its id and its secret."""

import hmac
from uuid import UUID

from service.identity import repository
from service.identity.domain import ClientRefused, Method, Principal
from service.kernel.db import UnitOfWork


async def client(uow: UnitOfWork, client_id: str, secret: str) -> Principal:
    """Return the client with this id and secret. Refusals: `invalid_client`."""
    found = await repository.find_client(uow, identifier_of(client_id))
    offered = uow.vault.secret_digests(secret)
    known = [found.secret_digest, found.previous_digest] if found else [bytes(32)]
    # Every comparison runs, so that an unknown client takes as long as a wrong secret.
    matches = [hmac.compare_digest(one, digest or b"") for one in offered for digest in known]
    if found is None or not any(matches):
        raise ClientRefused
    if found.has_certificate:
        raise ClientRefused("This client signs in with its certificate.")
    if not any(matches[: len(known)]):  # known by the key of before (snp keys turn)
        await repository.renew_digest(uow, found.id, offered)
    return Principal(found.id, found.name, found.revision, Method.SECRET)


def identifier_of(client_id: str) -> UUID:
    """Return the client that a text names, however it spells the id; of nonsense, nobody's."""
    try:
        return UUID(client_id)
    except ValueError:
        return UUID(int=0)
