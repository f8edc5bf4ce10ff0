"""The second wall around identities: row-level security on `patient_files` (docs/adr/0018).

A row of that table is seen only in a transaction that said who reads, and proved that it is the
service that says so: what is said is authenticated with a key of the keys file, which the database
checks and the application's role cannot read. It is one of

- `reader`: ids of an organization and its practitioners, who see the rows that they stand on;
- `sought`: one file's id, case id or blind index, which shows the rows that have it;
- `upkeep`: every row. Only commands say it, never a request; it holds for its transaction alone.

A statement that forgot its condition, or somebody with the application's password, reads nobody.
"""

from collections.abc import Iterable
from datetime import timedelta
from hashlib import sha256
from uuid import UUID

from sqlalchemy import Column, LargeBinary, Select, Table, Text, func, select, text

from service.kernel import clock
from service.kernel.crypto import KeysError, Prover, Vault
from service.kernel.db import UnitOfWork
from service.kernel.sql import bind
from service.kernel.tables import metadata

# HMAC keys by which the database knows who speaks: each XORed with its two pads (RFC 2104).
wall_keys = Table(
    "wall_keys",
    metadata,
    Column("inner_pad", LargeBinary, primary_key=True),
    Column("outer_pad", LargeBinary, nullable=False),
    info={"rights": ()},
)

# So long what was said to see a file is believed; so far a server's clock may be behind.
_BELIEVED = timedelta(minutes=5)
# Says who reads, until the transaction ends.
READS_AS: Select[tuple[str]] = select(
    func.set_config("snp.reader", bind("reads_as", Text), True).label("reader")
)
_THIS_TRANSACTION = text("SELECT pg_backend_pid() || '@' || extract(epoch FROM now())")
_TRUST = text("SELECT snp_trust(:inner_pad, :outer_pad)")
_FORGET = text("SELECT snp_forget_others()")
# Who sees every file reads whole tables.
_PATIENTLY = text("SELECT set_config('statement_timeout', '10min', true)")
_KNOWN = text("SELECT snp_proven('upkeep') IS NOT NULL")


def reading(vault: Vault, ids: Iterable[UUID]) -> dict[str, str]:
    """Return the parameter of `READS_AS` for those who see the files that they stand on."""
    return _until(vault.provers[0], "reader", f"{{{','.join(map(str, ids))}}}")


def seeking(vault: Vault, value: UUID | bytes | str) -> dict[str, str]:
    """Return the parameter of `READS_AS` for the files of one id, case id or blind index."""
    found = value.hex() if isinstance(value, bytes) else str(value)
    return _until(vault.provers[0], "sought", found)


def _until(prover: Prover, kind: str, value: str) -> dict[str, str]:
    until = int((clock.now() + _BELIEVED).timestamp())
    return {"reads_as": prover.prove(f"{kind} {until} {value}")}


async def as_upkeep(uow: UnitOfWork) -> None:
    """See every file in the rest of this transaction; for commands that work on all of them.

    Each of its statements may take 10 minutes.
    """
    await uow.execute(_PATIENTLY)
    await _as_upkeep(uow, uow.vault.provers[0])


async def _as_upkeep(uow: UnitOfWork, prover: Prover) -> None:
    this = (await uow.execute(_THIS_TRANSACTION)).scalar_one()
    await uow.execute(READS_AS, {"reads_as": prover.prove(f"upkeep {this} all")})


async def is_known(uow: UnitOfWork, prover: Prover | None = None) -> bool:
    """Tell whether the database believes a key, or the one that proves; reads as upkeep then."""
    await _as_upkeep(uow, prover or uow.vault.provers[0])
    return bool((await uow.execute(_KNOWN)).scalar_one())


async def ensure_trusted(uow: UnitOfWork) -> None:
    """Let the database believe the loaded keys: the first ever, or another on a known one's word.

    Refuses with `KeysError` keys of which it knows none.
    """
    known = [prover for prover in uow.vault.provers if await is_known(uow, prover)]
    for prover in uow.vault.provers:
        if prover not in known:
            await _trust(uow, prover, by=(known or [prover])[0])
            known.append(prover)


async def _trust(uow: UnitOfWork, prover: Prover, *, by: Prover) -> None:
    inner, outer = prover.pads
    await uow.execute(READS_AS, _until(by, "trust", sha256(inner).hexdigest()))
    trusted = await uow.execute(_TRUST, {"inner_pad": inner, "outer_pad": outer})
    if not trusted.scalar_one():
        raise KeysError(
            "The key server is not the one that this database shows identities to: put the right"
            " file back, or, if it was changed on purpose, as the owner: TRUNCATE wall_keys;"
        )


async def forget_others(uow: UnitOfWork) -> None:
    """Let the database believe the loaded keys alone; they are known to it."""
    named = " ".join(sha256(prover.pads[0]).hexdigest() for prover in uow.vault.provers)
    await uow.execute(READS_AS, _until(uow.vault.provers[0], "only", named))
    await uow.execute(_FORGET)
