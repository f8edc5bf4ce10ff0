"""`snp keys`: made, registered, replaced while servers serve."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from service.cli.shared import Refused, in_database, with_database
from service.kernel.settings import Settings

if TYPE_CHECKING:
    from service.kernel.crypto import Keys

app = typer.Typer(help="The secret keys of an installation.", no_args_is_help=True)
KeysFile = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The keys of today.")]
NewKeysFile = Annotated[Path, typer.Argument(help="A new file; an existing one is never touched.")]
KindOfKey = Annotated[
    Literal["encryption", "token", "server", "audit"], typer.Option(help="Which one.")
]


@app.command("generate")
def generate_keys(file: NewKeysFile) -> None:
    """Make new secret keys. Back them up: without them no patient's identity can be read again."""
    from service.kernel.crypto import Keys

    _write_keys(file, Keys.generate())
    typer.echo(f"New keys are in {file}: back them up, and set SNP_KEYS_FILE={file}.")


@app.command("register")
def register_keys() -> None:
    """Let the database remember which keys are its own, so that `snp check` knows a wrong copy.

    It keeps fingerprints, which tell nothing about a key. Refused when the keys do not read its
    patients. Again after a key was added, or one of server and token changed on purpose.
    """
    from service.kernel import checks

    typer.echo(f"Registered: {', '.join(in_database(checks.register))}.")


@app.command("add")
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


@app.command("turn")
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


@app.command("rotate")
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
        done = with_database(lambda d: rotation.rotate(d, metadata, told, batch=batch))
    typer.echo(f"{done.rows} rows encrypted anew: everything is under key {done.key}.")
    if done.unneeded:
        numbers = ", ".join(map(str, done.unneeded))
        typer.echo(f"No row needs {numbers}: take it out of the keys file, and keep a copy apart.")


def _write_keys(file: Path, keys: "Keys") -> None:
    from service.kernel.crypto import write_keys

    try:
        write_keys(file, keys)
    except FileExistsError:
        raise Refused(f"{file} exists already: keys are never overwritten.") from None
