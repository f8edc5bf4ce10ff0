"""Dependencies that every router uses."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Annotated, TypeVar
from uuid import UUID

import orjson
from fastapi import Depends, Header, Query, Request, Response

from service.kernel import idempotency
from service.kernel.db import ConstraintViolated, Database, UnitOfWork
from service.kernel.errors import (
    DomainError,
    FieldError,
    Forbidden,
    Invalid,
    Malformed,
    Unauthenticated,
)
from service.kernel.idempotency import IdempotencyKey, Remembered
from service.kernel.paging import DEFAULT_LIMIT, MAX_LIMIT
from service.kernel.versions import Expected

T = TypeVar("T")


async def _unit_of_work(request: Request) -> AsyncIterator[UnitOfWork]:
    database: Database = request.app.state.database
    async with database.unit_of_work() as uow:
        yield uow


# scope="function": commits before the first byte of the answer leaves. The default scope would
# commit after it, and a failed commit would have been told as a success.
Uow = Annotated[UnitOfWork, Depends(_unit_of_work, scope="function")]

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT)]
Cursor = Annotated[str | None, Query(max_length=500)]
LIMIT = DEFAULT_LIMIT


_TAG = re.compile(r'^(?:W/)?"v?(\d{1,9})"$|^v?(\d{1,9})$')


async def _expected(
    if_match: Annotated[
        str | None, Header(description='Version you read, as in the last ETag: `"3"`, or `*`.')
    ] = None,
) -> Expected:
    return expected(if_match)


def expected(if_match: str | None) -> Expected:
    """Read the versions that an `If-Match` header admits."""
    if if_match is None:
        return Expected(None)
    if if_match.strip() == "*":
        return Expected(frozenset())
    found = [_TAG.match(tag.strip()) for tag in if_match.split(",")]
    versions = frozenset(int(m[1] or m[2]) for m in found if m)
    # A tag that we never made matches nothing: stale, not malformed (RFC 9110 §13.1.1).
    return Expected(versions or frozenset({-1}))


IfMatch = Annotated[Expected, Depends(_expected)]


def tag(response: Response, version: int) -> None:
    """Set the ETag of an answer from its row's version."""
    response.headers["ETag"] = f'"{version}"'


IfNoneMatch = Annotated[str | None, Header(description="ETag of the answer that you have.")]


def is_known(etag: str, if_none_match: str | None) -> bool:
    """Tell whether the caller has the answer of this ETag already (RFC 9110 §13.1.2)."""
    return etag in (if_none_match or "").replace(",", " ").replace("W/", "").split()


def written(content: object) -> Response:
    """Write an answer made of our own rows as it is, where validating it first costs too much.

    The operation still declares its model, and a test holds the answer against it.
    """
    return Response(orjson.dumps(content, default=str), media_type="application/json")


class KeyReused(Invalid):
    """The same Idempotency-Key came with another body."""

    code = "idempotency-key-reused"
    title = "This Idempotency-Key was used for another request: make a new key."


class KeyMalformed(Malformed):
    """The Idempotency-Key is not 1 to 255 visible ASCII characters."""

    code = "idempotency-key-malformed"
    title = "An Idempotency-Key is 1 to 255 visible ASCII characters."


class Once:
    """Does a creation once per Idempotency-Key, and renders the first answer again afterwards."""

    def __init__(self, key: IdempotencyKey | None, response: Response) -> None:
        self.key = key
        self._response = response

    async def create(
        self,
        uow: UnitOfWork,
        make: Callable[[], Awaitable[T]],
        *,
        again: Callable[[list[UUID]], Awaitable[T]],
        ids: Callable[[T], Sequence[UUID]] | None = None,
        status: int = 201,
    ) -> T:
        """Run `make`; when it loses against an earlier use of the key, answer as that one did.

        `ids` names what was made, to be remembered as the transaction's last row; leave it out
        when `make` remembers the key in its own statement.
        """
        if self.key is None:
            return await make()
        try:
            return await self._first(uow, self.key, make, ids, status)
        except (Unauthenticated, Forbidden):
            raise  # whoever may not do it may not read it again either
        except DomainError as refusal:
            if refusal.settled:
                raise
            await uow.rollback()
            stored = await idempotency.find(uow, self.key)
            if stored is None and _lost_to_key(refusal):
                stored = await self._renew(uow, self.key)
            if stored is None:
                if not _lost_to_key(refusal):
                    raise
                return await self._first(uow, self.key, make, ids, status)
        self._replay(stored, self.key)
        return await again(stored.ids)

    def _replay(self, stored: Remembered, key: IdempotencyKey) -> None:
        """Announce the first answer again, to the same request only."""
        if stored.fingerprint != key.fingerprint:
            raise KeyReused(FieldError("Idempotency-Key", KeyReused.code, KeyReused.title))
        self._response.headers["Idempotency-Replayed"] = "true"
        self._response.status_code = stored.status

    @staticmethod
    async def _renew(uow: UnitOfWork, key: IdempotencyKey) -> Remembered | None:
        """Free a key past its life; a duplicate may have used it anew meanwhile."""
        await idempotency.forget_expired(uow, key)
        return await idempotency.find(uow, key)

    async def _first(
        self,
        uow: UnitOfWork,
        key: IdempotencyKey,
        make: Callable[[], Awaitable[T]],
        ids: Callable[[T], Sequence[UUID]] | None,
        status: int,
    ) -> T:
        made = await make()
        if ids is not None:
            await idempotency.remember(uow, key, status, ids(made))
        return made


def _lost_to_key(refusal: DomainError) -> bool:
    return isinstance(refusal, ConstraintViolated) and refusal.name == idempotency.CONSTRAINT


_SCOPE_BYTES = 16


async def _once(
    request: Request,
    response: Response,
    idempotency_key: Annotated[
        str | None, Header(description="Makes a retry safe: one effect per key, kept 24 hours.")
    ] = None,
) -> Once:
    if idempotency_key is None:
        return Once(None, response)
    key = idempotency_key.strip()
    if len(key) > 1 and key[0] == key[-1] == '"':
        key = key[1:-1]
    if not re.fullmatch(r"[\x21-\x7e]{1,255}", key):
        raise KeyMalformed(FieldError("Idempotency-Key", KeyMalformed.code, KeyMalformed.title))
    vault, actor = request.app.state.database.vault, request.state.actor
    # The same software counts for each of its people, and each of their rights.
    somebody = vault.fingerprint(orjson.dumps(actor.somebody, option=orjson.OPT_SORT_KEYS))
    content = await request.body()
    with suppress(orjson.JSONDecodeError):  # an empty body, or one that is refused elsewhere
        content = orjson.dumps(orjson.loads(content), option=orjson.OPT_SORT_KEYS)
    return Once(
        IdempotencyKey(
            client_id=actor.client_id,
            method=request.method,
            path=request.url.path,
            key=f"{somebody[:_SCOPE_BYTES].hex()} {key}",
            fingerprint=vault.fingerprint(content),
        ),
        response,
    )


IdempotentOnce = Annotated[Once, Depends(_once)]
