"""The import of a CSV of structures, on a real PostgreSQL."""

import re
from pathlib import Path

import pytest

from service.directory.tasks.lines import ImportRefused
from service.identity import Role
from service.kernel.ids import new_id
from tests.conftest import DatabaseUrls
from tests.directory.desk import ZOE, Desk, entries, snapshot
from tests.support import World

CPTS = "cpts;CPTS Éclair;360000011;;;36044;\n"
HEAD = "type;name;finess;siret;id;commune;cpts\n"


async def test_structures_are_imported(desk: Desk) -> None:
    """Commas or semicolons, quotes, communities before their members, reasons for the rest."""
    report = await desk.structures(
        HEAD
        + 'msp;"Maison ""Sud"";\nannexe";;;m1;36044;360000011\n'
        + CPTS
        + "csnp;Sans lieu;;;m2;00000;\nfoo;Rien;;;m3;36044;\nmsp;Seule;;;m4;36044;999\n"
        + "msp;Deux fois;;;m1;36044;\nmsp;Sans numéro;;;;36044;\nmsp;Faux;;12345678901234;;36044;\n"
    )
    assert report.tally.lines == {"imported": 2, "refused": 6}
    assert set(report.tally.refused) == {"commune", "type", "cpts", "twice", "structure", "siret"}
    member, community = await desk.organization("id:m1"), await desk.organization("1360000011")
    assert (member.name, member.territory) == ('Maison "Sud";\nannexe', "36")
    assert (member.cpts_ids, community.name) == ([community.id], "CPTS Éclair")
    report = await desk.structures("name,type,id,territory\nAilleurs,sos,s1,18\n")
    assert report.tally.lines == {"imported": 1}
    assert member.active  # a file about the Cher
    assert (await desk.organization("id:m1")).active
    assert (await desk.told())["directory.imported"] == 2


async def test_structures_again_changed_and_vanished(
    desk: Desk, database_urls: DatabaseUrls
) -> None:
    """All or nothing; the same file is nothing to do; a dry run writes nothing."""
    first = HEAD + CPTS + "msp;Nord;;;m1;36044;360000011\nmsp;Sud;;;m2;36044;\n"
    await desk.structures(first)
    before = await snapshot(database_urls.owner)
    assert (await desk.structures(first)).already
    second = HEAD + CPTS + "cds;Nord;;;m1;36044;\n"
    dry = await desk.structures(second, dry_run=True)
    assert await snapshot(database_urls.owner) == before
    real = await desk.structures(second)
    assert dry.tally == real.tally
    assert entries(real, "organizations") == {"unchanged": 1, "changed": 1, "deactivated": 1}
    assert (await desk.organization("id:m1")).type == "cds"
    assert not (await desk.organization("id:m2")).active
    report = await desk.structures(first)
    assert entries(report, "organizations") == {"unchanged": 1, "changed": 1, "reactivated": 1}


async def test_structures_know_better_than_the_extract(desk: Desk) -> None:
    """What the extract listed as a practice becomes an MSP, and stays one."""
    await desk.extract(ZOE)
    head = "type;name;siret;commune\n"
    report = await desk.structures(head + "msp;MSP de Bourges;356 000 000 00048;18033\n")
    assert entries(report, "organizations") == {"new": 1}  # La Poste, whose SIRET fits
    poste = {**ZOE, "Numéro SIRET site": "35600000000048", "Identifiant PP": "10000000005"}
    report = await desk.extract(ZOE, poste)
    assert entries(report, "organizations") == {"unchanged": 1, "by_hand": 1}
    assert (await desk.organization("335600000000048")).type == "msp"
    report = await desk.structures("type;name;id;commune\npractice;Autre;x;18033\n")
    assert entries(report, "organizations") == {"new": 1, "deactivated": 1}


def _many(first: int, last: int) -> str:
    return "".join(f"msp;Maison {n};;;m{n};36044;\n" for n in range(first, last))


@pytest.mark.parametrize("dry_run", [True, False])
async def test_half_a_structures_file_ends_nothing(
    desk: Desk, database_urls: DatabaseUrls, *, dry_run: bool
) -> None:
    """A fifth lacking, or nothing but a header: refused whole, and told in a dry run too."""
    await desk.structures(HEAD + _many(0, 50), "36")
    before = await snapshot(database_urls.owner)
    for content, gone in ((HEAD, 50), (HEAD + _many(40, 60), 40), (HEAD + _many(11, 50), 11)):
        sentence = f"This file lacks {gone} of 50 structures: is it complete?"
        with pytest.raises(ImportRefused, match=re.escape(sentence)):
            await desk.structures(content, "36", dry_run=dry_run)
        assert await snapshot(database_urls.owner) == before
    report = await desk.structures(HEAD + _many(10, 50), "36", dry_run=dry_run)
    assert entries(report, "organizations") == {"unchanged": 40, "deactivated": 10}
    report = await desk.structures(HEAD, "36", accept_vanished=True)
    assert entries(report, "organizations") == {"deactivated": 50 if dry_run else 40}


@pytest.mark.parametrize(
    "broken",
    [
        "msp;Maison;360000022;;m1;36044;;more\n",
        "msp;Maison;360000022;;m1\n",
        "msp;Mais\0n;360000022;;m1;36044;\n",
        "msp;Mais\ufffdn;360000022;;m1;36044;\n",
        "msp;Maison;36000002;35600000000048;;36044;\n",
        "msp;Maison;360000022;12345678901234;;36044;\n",
        "msp;Maison;360000022;;;;\n",
        "msp;Maison;360000022;;;?;\n",
    ],
)
async def test_a_row_that_cannot_be_read_protects_what_it_may_name(desk: Desk, broken: str) -> None:
    """By any of its numbers."""
    await desk.structures(HEAD + CPTS + "msp;Maison;360000022;35600000000048;;36044;\n", "36")
    report = await desk.structures(HEAD + CPTS + broken, "36")
    assert report.tally.lines == {"imported": 1, "refused": 1}
    assert not report.tally.changes


async def test_grants_follow_an_imported_type(world: World, tmp_path: Path) -> None:
    """Whoever calls for an organization is of its new type, and of its communities, at once."""
    own = Desk(world.database, tmp_path)
    head, name = "type;name;id;territory;cpts\n", new_id().hex
    await own.structures(f"{head}other;Lieu;{name};{world.territory};\n")
    listed = await own.organization(f"id:{name}")
    caller = await world.caller(Role.PROFESSIONAL, listed.id, "other")
    await own.structures(
        f"{head}cds;Lieu;{name};{world.territory};c{name}\n"
        f"cpts;Communauté;c{name};{world.territory};\n"
    )
    community = await own.organization(f"id:c{name}")
    await caller.sign_in()
    me = (await caller.get("/v1/me")).json()
    assert (me["organization"]["type"], me["cpts_ids"]) == ("cds", [str(community.id)])


@pytest.mark.parametrize(
    ("head", "sentence"),
    [
        ("type;siret;commune\n", "The first line names no column “name”."),
        ("type;name;commune\n", "The first line names none of the columns finess, siret, id."),
        ("type;name;id\n", "The first line names neither commune nor territory."),
        ("", "structures.csv is empty: its first line names the columns."),
    ],
)
async def test_a_structures_file_without_a_column(desk: Desk, head: str, sentence: str) -> None:
    """One sentence tells which."""
    with pytest.raises(ImportRefused, match=f"^{re.escape(sentence)}$"):
        await desk.structures(head)
