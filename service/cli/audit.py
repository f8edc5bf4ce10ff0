"""`snp audit`: the traces, sealed, verified, deleted past their limit."""

from pathlib import Path
from typing import Annotated

import typer

from service.cli.shared import DryRun, Refused, cell, say, show_table, with_database
from service.kernel.settings import Settings

app = typer.Typer(help="Who saw and changed what: seal it, verify it.", no_args_is_help=True)


@app.command("seal")
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
    done = with_database(audit.seal)
    tasks.note(done, head_file)
    typer.echo(f"{done.seals} seals over {done.rows} traces. {done.head}".rstrip())
    if watch:
        from service.kernel import logs

        logs.configure(Settings())
        with serving.until_told():
            with_database(lambda database: tasks.keep_sealed(database, every, head_file))


@app.command("verify")
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
        found = with_database(lambda database: tasks.verify(database, anchor, told))
    for one in found.chain.tombstones:
        typer.echo(
            f"{one['gone']}: {one['rows']} lines of {one['source']} from before {one['before']},"
            f" in seals {one['seals'][0]} to {one['seals'][-1]}, by {one['by']}: {one['why']}"
        )
    for finding in found.findings:
        typer.echo(finding)
    if found.without_key:
        say(f"{found.without_key} seals were made without the key `audit`: see --expect.")
    typer.echo(
        f"{found.chain.position} seals, {found.rows} traces, {len(found.findings)} findings. "
        f"{found.chain.head.hex()}"
    )
    if found.findings:
        raise typer.Exit(1)


@app.command("prune")
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
        found = with_database(lambda database: audit.due(database, limits), owner=True)
    else:
        with bar("lines") as told:
            found = with_database(
                lambda database: audit.prune(
                    database, limits, retention.held_subjects, told, why=why, batch=batch
                ),
                owner=True,
            )
    rows = [
        (one.limit.source, one.limit.gone, one.limit.kept, cell(one.before), str(one.rows))
        for one in found
    ]
    show_table(("of", "to be" if dry_run else "was", "kept", "before", "lines"), rows)
