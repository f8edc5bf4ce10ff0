"""Composition root of the command line: `snp COMMAND --help` says more about each.

Commands are thin. What goes wrong is told in one sentence on stderr: exit code 2 for a mistake in
the command itself, 1 for anything else. Each command imports what it needs: the health check of a
container must not load the whole service every few seconds.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar
from uuid import UUID

import typer
from typer.exceptions import TyperException

from service.kernel.settings import Settings

if TYPE_CHECKING:
    from service.directory import Organization
    from service.identity import Account, GrantEntry, Identifier, Role
    from service.kernel.crypto import Keys
    from service.kernel.db import Database, UnitOfWork
    from service.retention import Done

T = TypeVar("T")
_WIDE = 300

app = typer.Typer(
    help="Broker of unscheduled-care slots. Settings are environment variables SNP_*.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
keys = typer.Typer(help="The secret keys of an installation.", no_args_is_help=True)
clients = typer.Typer(help="Client software, and what it may do.", no_args_is_help=True)
app.add_typer(keys, name="keys")
app.add_typer(clients, name="clients")
grants = typer.Typer(help="The rights of people: who may do what, where.", no_args_is_help=True)
app.add_typer(grants, name="grants")
people = typer.Typer(help="People who have rights.", no_args_is_help=True)
app.add_typer(people, name="people")
sessions = typer.Typer(help="Sessions: weekly slots of doctors.", no_args_is_help=True)
app.add_typer(sessions, name="sessions")
entries = typer.Typer(help="The directory: look into it, import.", no_args_is_help=True)
app.add_typer(entries, name="directory")

traces = typer.Typer(help="Who saw and changed what: seal it, verify it.", no_args_is_help=True)
app.add_typer(traces, name="audit")
retention = typer.Typer(help="How long what is kept; legal holds.", no_args_is_help=True)
app.add_typer(retention, name="retention")
patients = typer.Typer(help="What is held about a patient.", no_args_is_help=True)
app.add_typer(patients, name="patients")

KeysFile = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The keys of today.")]
NewKeysFile = Annotated[Path, typer.Argument(help="A new file; an existing one is never touched.")]
KindOfKey = Annotated[
    Literal["encryption", "token", "server", "audit"], typer.Option(help="Which one.")
]
Port = Annotated[int | None, typer.Option(min=0, max=65535, help="Default: SNP_PORT.")]
Host = Annotated[str | None, typer.Option(help="Default: SNP_HOST.")]


class Refused(Exception):
    """The command cannot be done as given; the message is the sentence to show."""


def main() -> None:
    """Run `snp`."""
    try:
        code = app(prog_name="snp", standalone_mode=False)
    except TyperException as mistake:
        if mistake.format_message():  # else the help was shown
            _say(f"{mistake.format_message()} See snp --help.")
        code = mistake.exit_code
    except Exception as error:
        from service.sentences import sentence

        told = str(error) if isinstance(error, Refused) else sentence(error)
        if told is None:
            raise
        _say(told)
        code = 1
    sys.exit(code)


def _say(sentence: str) -> None:
    typer.echo(f"snp: {' '.join(sentence.split())}", err=True)


# --- serving --------------------------------------------------------------------------------------


@app.command()
def serve(
    host: Host = None,
    port: Port = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Server processes.")] = 1,
) -> None:
    """Serve the API until told to stop; requests under way are finished first (10 s at most)."""
    from service import serving

    settings = Settings()
    serving.run(
        settings,
        settings.host if host is None else host,
        settings.port if port is None else port,
        workers,
    )


@app.command()
def demo(
    port: Port = None,
    data_dir: Annotated[Path, typer.Option(help="Where its data is kept.")] = Path("var/demo"),
) -> None:
    """Serve invented people on this machine: the Indre of 2022, and free slots for today.

    The database is embedded, unless SNP_DATABASE_URL names one. A restart keeps the data.
    """
    from service import serving
    from service.demo import run

    settings = Settings()
    number = settings.port if port is None else port
    with serving.until_told(), serving.listen("127.0.0.1", number) as listener:
        run.run(
            data_dir,
            serving.address(listener),
            settings,
            lambda ours, ready: serving.serve(ours, listener, ready),
        )


@app.command()
def health(host: Host = None, port: Port = None) -> None:
    """Ask the server on this machine whether it is alive: exit code 0 if so (for containers)."""
    settings = Settings()
    found = settings.host if host is None else host
    here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(found, found)  # noqa: S104  not listening
    connection = HTTPConnection(here, settings.port if port is None else port, timeout=3)
    try:
        connection.request("GET", "/health/live")
        status = connection.getresponse().status
    except (OSError, HTTPException) as error:
        raise Refused(f"No server answers on {here} port {connection.port} ({error}).") from error
    finally:
        connection.close()
    if status != 200:  # noqa: PLR2004  HTTP's OK
        raise Refused(f"The server on {here} port {connection.port} answers {status}.")


@app.command()
def check() -> None:
    """Tell whether this installation is set up as it must be: one line an item, 1 on an error."""
    from pydantic import ValidationError

    from service.kernel import checks
    from service.schema import metadata
    from service.sentences import sentence

    try:
        found = asyncio.run(checks.check(Settings(), metadata))
    except ValidationError as error:
        told = sentence(error) or "Not readable."
        found = [checks.Finding("settings", checks.Level.ERROR, told)]
    for finding in found:
        typer.echo(f"{finding.level:<8} {finding.item:<12} {finding.told}")
    if any(finding.level is checks.Level.ERROR for finding in found):
        raise typer.Exit(1)


@app.command()
def migrate() -> None:
    """Bring the database's schema to the newest revision, as its owner (SNP_OWNER_DATABASE_URL)."""
    from service.kernel.migrations import head, upgrade

    upgrade(_owner_url())
    typer.echo(f"The schema is at revision {head()}.")


@app.command()
def openapi(
    output: Annotated[Path | None, typer.Option(help="A file, instead of standard output.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only tell whether the file is up to date.")
    ] = False,
) -> None:
    """Write the API's description (OpenAPI 3.1); needs no database and no keys."""
    from service.description import description

    text = description()
    if output is None:
        typer.echo(text, nl=False)
    elif not check:
        output.write_text(text, encoding="utf-8")
    elif not output.is_file() or output.read_text(encoding="utf-8") != text:
        raise Refused(f"{output} is not what the code says: run make openapi.")


# --- keys and clients -----------------------------------------------------------------------------


@keys.command("generate")
def generate_keys(
    file: Annotated[Path, typer.Argument(help="A new file; an existing one is never touched.")],
) -> None:
    """Make new secret keys. Back them up: without them no patient's identity can be read again."""
    from service.kernel.crypto import Keys

    _write_keys(file, Keys.generate())
    typer.echo(f"New keys are in {file}: back them up, and set SNP_KEYS_FILE={file}.")


@keys.command("register")
def register_keys() -> None:
    """Let the database remember which keys are its own, so that `snp check` knows a wrong copy.

    It keeps fingerprints, which tell nothing about a key. Refused when the keys do not read its
    patients. Again after a key was added, or one of server and token changed on purpose.
    """
    from service.kernel import checks

    typer.echo(f"Registered: {', '.join(_in_database(checks.register))}.")


@keys.command("add")
def add_key(file: KeysFile, new_file: NewKeysFile, kind: KindOfKey = "encryption") -> None:
    """Add a key of a kind. In the new file it is known, and makes nothing yet.

    1. Back the new file up, and restart every server with it.
    2. `snp keys turn`, and restart every server again.
    3. Of `encryption`: `snp keys rotate`.
    """
    from service.kernel.crypto import load_keys

    known = load_keys(Settings(keys_file=file, keys=None))
    added = known.with_another() if kind == "encryption" else known.with_next(kind)
    _write_keys(new_file, added)
    number = f" {max(added.encryption)}" if kind == "encryption" else ""
    typer.echo(f"{new_file} has another key {kind}{number}: back it up.")


@keys.command("turn")
def turn_key(file: KeysFile, new_file: NewKeysFile, kind: KindOfKey = "encryption") -> None:
    """Let the key that was added make what the one before made, which stays known.

    Every server must have been restarted with the file that `snp keys add` wrote before.
    """
    from service.kernel.crypto import load_keys

    known = load_keys(Settings(keys_file=file, keys=None))
    if kind == "encryption":
        _write_keys(new_file, known.model_copy(update={"writes_with": None}))
    else:
        _write_keys(new_file, known.turned(kind))
    typer.echo(f"In {new_file} the newest key {kind} is used: restart every server with it.")


def _write_keys(file: Path, keys: "Keys") -> None:
    from service.kernel.crypto import write_keys

    try:
        write_keys(file, keys)
    except FileExistsError:
        raise Refused(f"{file} exists already: keys are never overwritten.") from None


@keys.command("rotate")
def rotate_keys(
    batch: Annotated[int, typer.Option(min=1, max=10_000, help="Rows of a transaction.")] = 200,
) -> None:
    """Encrypt everything anew with the key that writes, while servers serve.

    May be cut off at any moment, and goes on when it is run again. Every server must have been
    restarted with the newest keys file before.
    """
    from service.kernel import rotation
    from service.kernel.progress import bar
    from service.schema import metadata

    with bar("rows") as told:
        done = _with_database(lambda d: rotation.rotate(d, metadata, told, batch=batch))
    typer.echo(f"{done.rows} rows encrypted anew: everything is under key {done.key}.")
    if done.unneeded:
        numbers = ", ".join(map(str, done.unneeded))
        typer.echo(f"No row needs {numbers}: take it out of the keys file, and keep a copy apart.")


@clients.command("create")
def create_client(
    name: Annotated[str, typer.Option(help="What the software is called.")],
    role: Annotated[
        str | None, typer.Option(help="regulator, osnp, doctor, pharmacist, ...")
    ] = None,
    organization: Annotated[UUID | None, typer.Option(help="Id of its organization.")] = None,
    territory: Annotated[
        list[str] | None, typer.Option(help="Such as 36; may be repeated.")
    ] = None,
    practitioner: Annotated[
        list[UUID] | None, typer.Option(help="Id of whom it acts for; may be repeated.")
    ] = None,
    valid_until: Annotated[
        str | None, typer.Option(help="Such as 2027-01-01T00:00:00+01:00. Default: no end.")
    ] = None,
) -> None:
    """Create client software with one grant; its secret is shown once.

    Without role, organization and territory it has no right of its own: people who sign in with
    an issuer work with it, each with their own rights (snp grants).
    """
    from service import directory, identity

    end = _instant(valid_until)
    given = (role, organization, territory)
    if any(given) and not all(given):
        raise Refused("A grant is made of --role, --organization and --territory: all or none.")
    granted = None if role is None else _role(role)

    async def work(uow: "UnitOfWork") -> identity.NewSecret:
        secret = await identity.create_client(uow, name=name)
        if granted is None or organization is None or territory is None:
            return secret
        found = await directory.organization(uow, organization)
        await identity.give_grant(
            uow,
            client_id=secret.client_id,
            role=granted,
            organization_id=organization,
            organization_type=found.type,
            cpts_ids=directory.grant_communities(found),
            territories=territory,
            practitioner_ids=practitioner or (),
            valid_until=end,
        )
        return secret

    _show_secret(_in_database(work))


@clients.command("list")
def list_clients() -> None:
    """List clients and their grants in force."""
    from service import identity

    titles = ("id", "name", "role", "territories", "organization", "until", "revoked")
    _show_table(titles, map(_cells, _in_database(identity.list_clients)))


@clients.command("rotate")
def rotate_client(
    client_id: UUID,
    grace_hours: Annotated[int, typer.Option(min=0, help="How long the old one works.")] = 24,
) -> None:
    """Give a client a new secret, shown once; the old one works for some hours more."""
    from service import identity

    _show_secret(
        _in_database(lambda uow: identity.rotate_secret(uow, client_id, grace_hours=grace_hours))
    )


@clients.command("revoke")
def revoke_client(client_id: UUID) -> None:
    """Revoke a client and its grants, with effect on the next request."""
    from service import identity

    _in_database(lambda uow: identity.revoke_client(uow, client_id))
    typer.echo(f"Client {client_id} is revoked.")


@clients.command("certify")
def certify_client(
    client_id: UUID,
    subject: Annotated[
        str | None, typer.Option(help="What its subject must hold: OU=318751275100020,O=...")
    ] = None,
    any_structure: Annotated[
        bool, typer.Option("--any-structure", help="OU or CN is enough: no O and OU are asked.")
    ] = False,
    no_certificate: Annotated[
        bool, typer.Option("--none", help="Its secret counts again instead.")
    ] = False,
) -> None:
    """Let a client sign in with its certificate, and no more with its secret.

    See SNP_CERTIFICATE_HEADER. Parts of the subject that are not named here may be anything: so
    O and OU must be named, as national certificates have them. Tokens that it got before end.
    """
    from service import identity

    if (subject is None) is not no_certificate:
        raise Refused("Say --subject, or --none.")
    _in_database(
        lambda uow: identity.certify_client(uow, client_id, subject, structure=not any_structure)
    )
    typer.echo(f"Client {client_id} signs in with {'its certificate' if subject else 'a secret'}.")


# --- rights of people -----------------------------------------------------------------------------


_PERSON = "SYSTEM|NUMBER: rpps|10005681340, sas|UUID, https://issuer|sub."


def _identifier(person: str) -> "Identifier":
    from service import identity

    system, _, value = person.partition("|")
    return identity.identifier(system, value, check_key=Settings().rpps_check == "luhn")


@grants.command("give")
def give_grant(
    person: Annotated[str, typer.Option(help=_PERSON)],
    role: Annotated[str, typer.Option(help="regulator, osnp, doctor, manager, ...")],
    organization: Annotated[UUID, typer.Option(help="Id of the organization.")],
    family_name: Annotated[str | None, typer.Option(help="For lists and traces.")] = None,
    given_name: Annotated[str | None, typer.Option(help="For lists and traces.")] = None,
    territory: Annotated[
        list[str] | None, typer.Option(help="May be repeated. Default: the organization's.")
    ] = None,
    practitioner: Annotated[
        list[UUID] | None, typer.Option(help="Id of whom they act for; may be repeated.")
    ] = None,
    valid_from: Annotated[
        str | None, typer.Option(help="Such as 2026-12-01T00:00:00+01:00. Default: now.")
    ] = None,
    valid_until: Annotated[
        str | None, typer.Option(help="Such as 2027-12-01T00:00:00+01:00. Default: in a year.")
    ] = None,
) -> None:
    """Give a person who signs in elsewhere (SNP_ISSUERS) one role, for an organization."""
    from service import grants, identity

    granted = _role(role)
    draft = grants.GrantDraft(
        person=grants.Named(_identifier(person), family_name, given_name),
        role=granted,
        organization_id=organization,
        territories=tuple(territory or ()),
        practitioner_ids=tuple(practitioner or ()),
        valid_from=_instant(valid_from),
        valid_until=_instant(valid_until),
    )
    given = _in_database(lambda uow: grants.give(uow, identity.OPERATOR, draft))
    typer.echo(f"grant {given.id} until {_cell(given.valid_until)}")


@grants.command("list")
def list_grants(
    territory: Annotated[str | None, typer.Option(help="Such as 36. Default: all.")] = None,
    role: Annotated[str | None, typer.Option(help="Such as regulator. Default: all.")] = None,
    person: Annotated[str | None, typer.Option(help=f"{_PERSON} Default: all.")] = None,
) -> None:
    """List rights in force or to come, of people and of software, newest first."""
    from service import grants, identity
    from service.kernel.paging import MAX_LIMIT, PageRequest

    wanted: dict[str, object] = {
        "territory": territory,
        "role": None if role is None else _role(role),
    }
    whose = None if person is None else _identifier(person)

    async def work(uow: "UnitOfWork") -> "list[GrantEntry]":
        if whose is not None:
            wanted["account"] = (await _account(uow, whose)).id
        found: list[GrantEntry] = []
        cursor = None
        while True:
            asked = PageRequest(MAX_LIMIT, cursor, wanted)
            page = await grants.list_all(uow, identity.OPERATOR, wanted, asked)
            found += page.items
            cursor = page.next_cursor
            if cursor is None:
                return found

    titles = ("id", "whose", "role", "territories", "organization", "from", "until")
    _show_table(titles, map(_granted, _in_database(work)))


@grants.command("revoke")
def revoke_grant(grant_id: UUID) -> None:
    """Revoke a right, with effect on its holder's next request."""
    from service import grants, identity

    _in_database(lambda uow: grants.revoke(uow, identity.OPERATOR, grant_id))
    typer.echo(f"Grant {grant_id} is revoked.")


@people.command("close")
def close_person(person: Annotated[str, typer.Argument(help=_PERSON)]) -> None:
    """Stop a person at once: revoke all their rights, with effect on their next request."""
    from service import grants, identity

    whose = _identifier(person)

    async def work(uow: "UnitOfWork") -> int:
        return await grants.stop(uow, identity.OPERATOR, (await _account(uow, whose)).id)

    typer.echo(f"{_in_database(work)} rights are revoked.")


async def _account(uow: "UnitOfWork", whose: "Identifier") -> "Account":
    from service import identity

    found = await identity.find_account(uow, whose)
    if found is None:
        raise Refused("Nobody here has this number: `snp grants list` shows who there is.")
    return found


def _granted(grant: "GrantEntry") -> tuple[str, ...]:
    if grant.account is None:
        whose = grant.client.name if grant.client else ""
    else:
        numbers = (f"{one.system}|{one.value}" for one in grant.account.identifiers)
        names = (grant.account.family_name, grant.account.given_name, *numbers)
        whose = " ".join(filter(None, names))
    return (
        str(grant.id),
        whose,
        grant.role,
        " ".join(grant.territories),
        str(grant.organization_id),
        _cell(grant.valid_from),
        _cell(grant.valid_until),
    )


# --- the directory --------------------------------------------------------------------------------

File = Annotated[Path, typer.Option(exists=True, dir_okay=False, help="Plain, gzip or zip.")]
Territories = Annotated[
    list[str] | None, typer.Option("--territory", help="Such as 36; may be repeated. Default: all.")
]
SourceDate = Annotated[
    str | None, typer.Option(help="Date of the data. Default: in the file's name, or its own.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Count; write nothing.")]
AcceptVanished = Annotated[
    bool, typer.Option("--accept-vanished", help="Though the file lacks a fifth of them, or all.")
]


@entries.command("organizations")
def list_organizations(
    territory: Annotated[str, typer.Option(help="Such as 36.")],
    kind: Annotated[str | None, typer.Option("--type", help="Such as sas, pharmacy.")] = None,
) -> None:
    """List a territory's active organizations, with the ids that `snp clients create` wants."""
    from service import directory
    from service.kernel.paging import MAX_LIMIT, PageRequest

    kinds = directory.OrganizationType
    if kind is not None and kind not in set(kinds):
        raise Refused(f"No type is called {kind}: choose among {', '.join(kinds)}.")
    wanted = {"territory": territory, "type": kind, "active": True}

    async def work(uow: "UnitOfWork") -> "list[Organization]":
        await directory.territory(uow, territory)
        found: list[Organization] = []
        cursor = None
        while True:
            page = await directory.list_organizations(
                uow, wanted, PageRequest(MAX_LIMIT, cursor, wanted)
            )
            found += page.items
            cursor = page.next_cursor
            if cursor is None:
                return sorted(found, key=lambda entry: (entry.type, entry.name))

    rows = ((str(entry.id), entry.type, entry.name) for entry in _in_database(work))
    _show_table(("id", "type", "name"), rows)


@entries.command("import")
def import_extract(
    file: File,
    territory: Territories = None,
    profession: Annotated[list[str] | None, typer.Option(help="Such as 10,21.")] = None,
    specialty: Annotated[list[str] | None, typer.Option(help="Such as SM54,SM53,SM26.")] = None,
    source_date: SourceDate = None,
    dry_run: DryRun = False,
    accept_vanished: AcceptVanished = False,
    accept_older: Annotated[
        bool, typer.Option("--accept-older", help="Though the last import was of later data.")
    ] = False,
) -> None:
    """Import the free national extract (PS_LibreAcces_Personne_activite); goes on where it ended.

    What the file no longer names, among what imports made by the same filter, is deactivated.
    """
    from service.directory.tasks import command
    from service.directory.tasks.lines import ImportRefused

    try:
        command.extract(
            file,
            territories=territory or (),
            professions=profession or (),
            specialties=specialty or (),
            source_date=source_date,
            dry_run=dry_run,
            accept_vanished=accept_vanished,
            accept_older=accept_older,
        )
    except ImportRefused as refusal:
        raise Refused(str(refusal)) from None
    if not dry_run:
        _tell_left_behind()


def _tell_left_behind() -> None:
    """Name who practises no more and has slots to come: an extract may be wrong, a human judges."""
    from service import slots

    found = _in_database(slots.left_behind)
    if not found:
        return
    typer.echo("Not active, and with slots to come (an import withdraws none of them):")
    for one in found:
        typer.echo(f"  RPPS {one.rpps}: {one.free} free, {one.booked} booked")
    typer.echo(
        "PATCH /v1/practitioners/ID with active=false withdraws the free ones, true keeps all."
    )


@entries.command("import-structures")
def import_structures(
    file: File,
    territory: Territories = None,
    source_date: SourceDate = None,
    dry_run: DryRun = False,
    accept_vanished: AcceptVanished = False,
) -> None:
    """Import a CSV of structures: the whole list of its territories, not an addition.

    What an earlier CSV named and this one lacks is DEACTIVATED, in each
    territory that this one names (or --territory). Try with --dry-run first.

    The first line names the columns, in any order, `;` or `,` between them:
    type, name; finess, siret or id (a lasting name of your own);
    commune or territory; phone; cpts (numbers of the CPTS it belongs to).
    `snp directory organizations` shows the ids.
    """
    from service.directory.tasks import command
    from service.directory.tasks.lines import ImportRefused

    try:
        command.structures(
            file,
            territories=territory or (),
            source_date=source_date,
            dry_run=dry_run,
            accept_vanished=accept_vanished,
        )
    except ImportRefused as refusal:
        raise Refused(str(refusal)) from None


# --- sessions -------------------------------------------------------------------------------------


@sessions.command("extend")
def extend_sessions() -> None:
    """Publish what sessions lack within eight weeks; `snp serve` does so every hour by itself."""
    from service import agenda

    done = _with_database(agenda.extend)
    typer.echo(
        f"{done.sessions} sessions looked at, {done.slots} slots published, "
        f"{done.skipped} left out, {done.failed} sessions failed."
    )
    if done.failed:
        raise typer.Exit(1)


# --- traces ---------------------------------------------------------------------------------------


@traces.command("seal")
def seal_traces(
    watch: Annotated[bool, typer.Option("--watch", help="Go on until told to stop.")] = False,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two runs.")] = 10,
) -> None:
    """Chain the traces that no seal covers yet; every server does so by itself.

    Safe beside servers: only one seals at a time. Note the last hash somewhere else: with
    `snp audit verify --expect HASH` nobody can shorten the chain or make it anew unnoticed.
    """
    from service import audit, serving
    from service.audit import tasks

    head_file = Settings().audit_head_file
    done = _with_database(audit.seal)
    tasks.note(done, head_file)
    typer.echo(f"{done.seals} seals over {done.rows} traces. {done.head}".rstrip())
    if watch:
        from service.kernel import logs

        logs.configure(Settings())
        with serving.until_told():
            _with_database(lambda database: tasks.keep_sealed(database, every, head_file))


@traces.command("verify")
def verify_traces(
    expect: Annotated[
        str | None, typer.Option(help="Hash of a seal, as noted before: it must be in the chain.")
    ] = None,
    head: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="The same, in a file: SNP_AUDIT_HEAD_FILE."),
    ] = None,
) -> None:
    """Compare every trace with its seal, and tell which was changed, removed or inserted.

    Without a hash that was kept elsewhere, nobody knows whether the newest seals are still there.
    """
    from service.audit import tasks
    from service.kernel.progress import bar

    if head is not None:
        expect = head.read_text(encoding="utf-8").strip()
    try:
        anchor = None if expect is None else bytes.fromhex(expect)
    except ValueError:
        raise Refused(f"{expect} is not the hash of a seal.") from None
    with bar("seals") as told:
        found = _with_database(lambda database: tasks.verify(database, anchor, told))
    for one in found.chain.tombstones:
        typer.echo(
            f"{one['gone']}: {one['rows']} lines of {one['source']} from before {one['before']},"
            f" in seals {one['seals'][0]} to {one['seals'][-1]}, by {one['by']}: {one['why']}"
        )
    for finding in found.findings:
        typer.echo(finding)
    if found.without_key:
        _say(f"{found.without_key} seals were made without the key `audit`: see --expect.")
    typer.echo(
        f"{found.chain.position} seals, {found.rows} traces, {len(found.findings)} findings. "
        f"{found.chain.head.hex()}"
    )
    if found.findings:
        raise typer.Exit(1)


@traces.command("prune")
def prune_traces(
    why: Annotated[str, typer.Option(help="Kept in the tombstones, for ever.")] = "past its limit",
    dry_run: DryRun = False,
    batch: Annotated[
        int, typer.Option(min=1, max=100_000, help="Lines of a transaction, at least.")
    ] = 5000,
) -> None:
    """Delete traces past their limit, and who did it where only that is, as the owner.

    Whole sealed ranges; a tombstone in the chain says so, and `snp audit verify` still proves the
    rest. What a legal hold covers stays, with its range. May be cut off and run again.
    """
    from service import audit, retention
    from service.kernel.progress import bar

    limits = audit.limits(Settings())
    if dry_run:
        found = _with_database(lambda database: audit.due(database, limits), owner=True)
    else:
        with bar("lines") as told:
            found = _with_database(
                lambda database: audit.prune(
                    database, limits, retention.held_subjects, told, why=why, batch=batch
                ),
                owner=True,
            )
    rows = [
        (one.limit.source, one.limit.gone, one.limit.kept, _cell(one.before), str(one.rows))
        for one in found
    ]
    _show_table(("of", "to be" if dry_run else "was", "kept", "before", "lines"), rows)


# --- retention ------------------------------------------------------------------------------------


@retention.command("show")
def show_retention() -> None:
    """Show every limit, and how many rows are past it now; changes nothing."""
    from service.retention import due, rules

    limits = rules(Settings())
    _show_done("due", _with_database(lambda database: due(database, limits)))


@retention.command("run")
def run_retention(
    dry_run: DryRun = False,
    batch: Annotated[int, typer.Option(min=1, max=10_000, help="Rows of a transaction.")] = 500,
) -> None:
    """Erase what is past its limit, while servers serve. Once a day, by cron or a timer.

    May be cut off at any moment: the next run does the rest. What a legal hold covers stays.
    """
    from service.kernel.progress import bar
    from service.retention import rules
    from service.retention import run as erase

    if dry_run:
        show_retention()
        return
    limits = rules(Settings())
    with bar("rows") as told:
        done = _with_database(lambda database: erase(database, limits, told, batch=batch))
    _show_done("done", done)


def _show_done(what: str, found: "list[Done]") -> None:
    rows = [(d.rule.kind, d.rule.kept, _cell(d.before), str(d.rows), d.rule.told) for d in found]
    _show_table(("rule", "kept", "before", what, ""), rows)


@retention.command("hold")
def place_hold(
    reason: Annotated[str, typer.Option(help="Why; kept encrypted until it is lifted.")],
    patient_file: Annotated[UUID | None, typer.Option(help="Id of a patient file.")] = None,
    case: Annotated[str | None, typer.Option(help="Id of a case, whatever its territory.")] = None,
) -> None:
    """Keep everything of a patient file or a case from being erased, until the hold is lifted."""
    from service.retention import Target, place

    if (patient_file is None) == (case is None):
        raise Refused("Give --patient-file or --case.")
    target = Target(patient_file, case)
    held = _in_database(lambda uow: place(uow, None, target, reason=reason))
    typer.echo(f"Held: {held.id}.")


@retention.command("lift")
def lift_hold(hold_id: UUID) -> None:
    """Lift a hold: what is due goes with the next run."""
    from service.retention import lift

    _in_database(lambda uow: lift(uow, None, hold_id))
    typer.echo(f"Hold {hold_id} is lifted.")


@retention.command("holds")
def list_holds() -> None:
    """List the holds, newest first; a lifted one shows when."""
    from service.retention import holds

    names = ("id", "territory", "patient_file_id", "case_id", "reason", "created_at", "lifted_at")
    found = _in_database(holds)
    _show_table(names, [[_cell(getattr(hold, name)) for name in names] for hold in found])


@patients.command("export")
def export_patient(
    file_id: UUID,
    output: Annotated[Path, typer.Option(help="A new file, its owner's alone.")],
) -> None:
    """Write all that is held about a patient (JSON, French labels); the trace keeps it."""
    import json
    import os

    from service.retention import everything_about

    told = _in_database(lambda uow: everything_about(uow, None, file_id))
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise Refused(f"{output} exists already.") from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(told, file, ensure_ascii=False, indent=2)
    typer.echo(f"{output} holds everything about this patient.")


# --- what commands share --------------------------------------------------------------------------


def _in_database(work: "Callable[[UnitOfWork], Awaitable[T]]") -> T:
    """Do one unit of work on the configured database, as the application's role."""

    async def run(database: "Database") -> T:
        async with database.unit_of_work() as uow:
            return await work(uow)

    return _with_database(run)


def _owner_url() -> str:
    url = Settings().owner_database_url
    if url is None:
        raise Refused(
            "No owner: set SNP_OWNER_DATABASE_URL to the database's URL as the role that owns it."
        )
    return url.get_secret_value()


def _app_url() -> str:
    url = Settings().database_url
    if url is None:
        raise Refused("No database: set SNP_DATABASE_URL.")
    return url.get_secret_value()


def _with_database(work: "Callable[[Database], Awaitable[T]]", *, owner: bool = False) -> T:
    """Do some work on the configured database, as the application's role, or as its owner."""
    from service.kernel.crypto import Vault, load_keys
    from service.kernel.db import Database

    settings = Settings()
    url, vault = _owner_url() if owner else _app_url(), Vault(load_keys(settings))

    async def run() -> T:
        database = Database(url, settings, vault)
        try:
            return await work(database)
        finally:
            await database.dispose()

    return asyncio.run(run())


def _show_table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in titles:
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*row)
    # What reads a pipe wants each row on one line.
    width = None if sys.stdout.isatty() else _WIDE
    Console(width=width, highlight=False, markup=False).print(table)


def _show_secret(made: Any) -> None:
    typer.echo(f"client_id      {made.client_id}")
    typer.echo(f"client_secret  {made.client_secret}")
    typer.echo("The secret is shown this once and kept nowhere.", err=True)


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    names = ("id", "name", "role", "territories", "organization_id", "valid_until", "revoked_at")
    return tuple(_cell(row[name]) for name in names)


def _cell(value: object) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    if isinstance(value, datetime):
        return value.isoformat(timespec="minutes")
    return "" if value is None else str(value)


def _role(name: str) -> "Role":
    from service.identity import Role

    try:
        return Role(name)
    except ValueError:
        raise Refused(f"No role is called {name}: choose among {', '.join(Role)}.") from None


def _instant(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise Refused(f"{text} is not a time such as 2027-01-01T00:00:00+01:00.") from None
    if instant.tzinfo is None:
        raise Refused(f"{text} has no offset: write it such as 2027-01-01T00:00:00+01:00.")
    return instant


if __name__ == "__main__":
    main()
