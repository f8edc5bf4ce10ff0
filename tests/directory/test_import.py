"""The import of the national extract, on a real PostgreSQL."""

import gzip
import importlib
import re
import zipfile
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Select, UpdateBase, func, select, update

from service.directory.tables import directory_imports, organizations, practitioners
from service.directory.tasks.batches import merged
from service.directory.tasks.lines import Filter, ImportRefused, Person
from service.directory.tasks.repository import ledger
from service.directory.tasks.seen import Seen
from service.directory.tasks.tally import Tally
from service.directory.tasks.writing import fate
from service.kernel.ids import new_id
from tests.architecture import test_statements
from tests.conftest import DatabaseUrls
from tests.directory.desk import HEADER, INES, LEA, ZOE, Desk, entries, snapshot, text

# --- reading --------------------------------------------------------------------------------------


def _packed(path: Path, content: bytes, how: str) -> Path:
    if how == "gzip":
        path.write_bytes(gzip.compress(content))
    elif how == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("PS_LibreAcces_Dipl_AutExerc_202611200815.txt", "other")
            archive.writestr("PS_LibreAcces_Personne_activite_202611200815.txt", content)
    else:
        path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("encoding", "how"),
    [
        ("utf-8", ""),
        ("utf-8-sig", ""),
        ("cp1252", ""),
        ("cp1252", "gzip"),
        ("utf-8", "zip"),
    ],
)
async def test_encodings_and_packing_are_found_out(desk: Desk, encoding: str, how: str) -> None:
    """UTF-8 with or without BOM, Windows-1252, gzip and the national archive say the same."""
    path = _packed(desk.folder / "extract_202611200815", text([LEA]).encode(encoding), how)
    report = await desk.file(path)
    assert report.encoding == encoding.removesuffix("-sig")
    assert report.source_date == date(2026, 11, 20)
    person = await desk.person("10000000001")
    assert (person.family_name, person.given_name) == ("ÉPREUVE", "Léa")
    assert (person.specialty, person.territory, person.status) == ("SM54", "36", "self_employed")
    assert (person.source, person.source_date) == ("annuaire", date(2026, 11, 20))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (gzip.compress(text([LEA] * 50).encode(), mtime=0)[:-20], "broken cannot be unpacked"),
        (text([LEA]).encode("utf-16"), "broken is UTF-16: save it as UTF-8"),
        (b"", "broken is empty"),
        (b"a;b;c\n", "its fields stand between “|”"),
    ],
)
async def test_what_cannot_be_read_is_refused(desk: Desk, content: bytes, sentence: str) -> None:
    """In one sentence, before anything is begun."""
    path = desk.folder / "broken"
    path.write_bytes(content)
    with pytest.raises(ImportRefused, match=re.escape(sentence)):
        await desk.file(path)


async def test_columns_are_found_by_name(desk: Desk) -> None:
    """Any order, columns nobody knows, an empty one at the end of each line."""
    header = ["Libellé inconnu", *reversed(HEADER), ""]
    path = desk.folder / "extract.txt"
    path.write_text(text([LEA, ZOE, INES], header), encoding="utf-8")
    report = await desk.file(path)
    assert report.tally.lines == {"imported": 3}
    practice, shop = (
        await desk.organization("390000000000002"),
        await desk.organization("1360000003"),
    )
    assert (practice.type, practice.siret, practice.territory) == (
        "practice",
        "90000000000002",
        "18",
    )
    assert (shop.type, shop.finess, shop.siret) == ("pharmacy", "360000003", None)
    assert (await desk.organization("R1")).name == "Cabinet de la Forêt"


async def test_a_missing_column_is_named(desk: Desk) -> None:
    """One sentence, and nothing is begun."""
    header = [name for name in HEADER if name != "Code profession"]
    path = desk.folder / "extract.txt"
    path.write_text(text([LEA], header), encoding="utf-8")
    with pytest.raises(
        ImportRefused, match=r"^The first line names no column “Code profession”\.$"
    ):
        await desk.file(path)
    assert (await desk.run(select(func.count()).select_from(directory_imports))).scalar_one() == 0


async def test_bad_lines_are_told_and_left_out(desk: Desk) -> None:
    """Each with its line and reason; the good ones around them are imported."""
    report = await desk.extract(
        LEA,
        "8|too|short",
        {**ZOE, "Identifiant PP": "123"},
        {**ZOE, "Type d'identifiant PP": "0", "Identifiant PP": "361234567"},
        {**ZOE, "Code commune (coord. structure)": "99999"},
        {**ZOE, "Nom d'exercice": " "},
        {**LEA, "Identifiant PP": "10000000009", "Identifiant technique de la structure": ""},
        {**ZOE, "Nom d'exercice": "N\0L"},
        INES,
    )
    assert report.tally.lines == {"imported": 2, "refused": 7}
    assert {reason: of["examples"][0] for reason, of in report.tally.refused.items()} == {
        "fields": [3, "3 instead of 17"],
        "rpps": [4, "“123” is not 11 digits"],
        "not-rpps": [5, "an identifier of type 0"],
        "commune": [6, "“99999” is no commune of today"],
        "person": [7, "no name, given name or profession"],
        "structure": [8, "neither FINESS, SIRET nor technical identifier"],
        "unreadable": [9, "it holds a NUL"],
    }
    assert entries(report, "practitioners") == {"new": 2}


async def test_a_broken_byte_does_not_change_the_encoding(desk: Desk) -> None:
    """Most lines decide; the others are refused."""
    good = [{**LEA, "Identifiant PP": f"1000000001{n}"} for n in range(5)]
    path = desk.folder / "extract.txt"
    path.write_bytes(text(good).encode() + text([ZOE], HEADER).encode("cp1252").splitlines()[1])
    report = await desk.file(path)
    assert (report.encoding, report.tally.lines) == ("utf-8", {"imported": 5, "refused": 1})
    assert report.tally.refused["unreadable"]["examples"] == [[7, "it is not utf-8"]]


async def test_only_what_is_wanted(desk: Desk) -> None:
    """Filters by territory, profession and specialty; an unknown territory is refused."""
    report = await desk.extract(LEA, ZOE, INES, wanted=Filter(("36",), ("10",), ("SM54",)))
    assert report.tally.lines == {"imported": 1, "filtered": 2}
    with pytest.raises(ImportRefused, match="No territory has this code: 99"):
        await desk.extract(LEA, wanted=Filter(("99",)))


def test_lines_of_one_person_become_one() -> None:
    """An ordinal specialty comes before another skill, a practice before an employment."""
    one = Person("1" * 11, "A", "B", "10", "C54", "employee", "36")
    other = one._replace(specialty="SM54", status="self_employed")
    for both in (merged(one, other), merged(other, one)):
        assert (both.specialty, both.status) == ("SM54", "self_employed")
    assert merged(one._replace(specialty=None), one).specialty == "C54"


# --- again and again ------------------------------------------------------------------------------


async def test_the_same_file_changes_nothing(desk: Desk, database_urls: DatabaseUrls) -> None:
    """And says so; a new file with the same lines changes nothing either."""
    assert not (await desk.extract(LEA, ZOE, INES)).already
    before, told = await snapshot(database_urls.owner), await desk.told()
    assert told == {"directory.import_advanced": 1, "directory.imported": 1}
    assert (await desk.extract(LEA, ZOE, INES)).already
    report = await desk.extract(ZOE, INES, LEA)
    assert not report.already
    assert not report.tally.changes
    assert await snapshot(database_urls.owner) == before
    assert await desk.told() == {**told, "directory.imported": 2}


async def test_only_what_the_source_changed_is_written(desk: Desk) -> None:
    """A caller's amendment stays until the source says something new of that entry."""
    await desk.extract(LEA, ZOE)
    mine = update(practitioners).where(practitioners.c.rpps == LEA["Identifiant PP"])
    await desk.run(mine.values(given_name="Léa-Marie", active=False))
    moved = {**ZOE, "Libellé Voie (coord. structure)": "RUE NEUVE", "Code savoir-faire": "SM53"}
    report = await desk.extract(LEA, moved, source_date=date(2026, 12, 1))
    assert entries(report, "practitioners") == {"unchanged": 1, "changed": 1}
    assert entries(report, "locations") == {"unchanged": 1, "changed": 1}
    assert entries(report, "organizations") == {"unchanged": 2}
    lea, zoe = await desk.person(LEA["Identifiant PP"]), await desk.person(ZOE["Identifiant PP"])
    assert (lea.given_name, lea.active, lea.version) == ("Léa-Marie", False, 1)
    assert (zoe.specialty, zoe.version, zoe.source_date) == ("SM53", 2, date(2026, 12, 1))
    await desk.extract({**LEA, "Nom d'exercice": "AUTRE"}, moved, source_date=date(2026, 12, 2))
    lea = await desk.person(LEA["Identifiant PP"])
    assert (lea.family_name, lea.given_name, lea.active) == ("AUTRE", "Léa", False)


async def test_what_vanished_is_deactivated_and_comes_back(desk: Desk) -> None:
    """Person, place and organization: never deleted, active again when the source names them."""
    await desk.extract(LEA, ZOE, INES)
    report = await desk.extract(LEA, INES)
    for kind in ("practitioners", "organizations", "locations", "workplaces"):
        assert entries(report, kind) == {"unchanged": 2, "deactivated": 1}, kind
    gone, practice = await desk.person(ZOE["Identifiant PP"]), ZOE["Numéro SIRET site"]
    assert (gone.active, gone.version, gone.source_digest) == (False, 2, None)
    assert not (await desk.organization(f"3{practice}")).active
    report = await desk.extract(LEA, ZOE, INES)
    assert entries(report, "practitioners") == {"unchanged": 2, "reactivated": 1}
    assert entries(report, "workplaces") == {"unchanged": 2, "new": 1}
    back = await desk.person(ZOE["Identifiant PP"])
    assert (back.active, back.id, back.version) == (True, gone.id, 3)
    assert (await desk.organization(f"3{practice}")).active


async def test_a_filter_says_nothing_about_the_rest(desk: Desk) -> None:
    """A file of the Indre ends nothing in the Cher, of doctors nothing of pharmacists."""
    both = {**LEA, **{k: ZOE[k] for k in ZOE if "structure" in k or "site" in k}}
    await desk.extract(LEA, both, ZOE, INES)
    report = await desk.extract(wanted=Filter(("36",), ("10",)), accept_vanished=True)
    assert entries(report, "workplaces") == {"deactivated": 1}
    assert entries(report, "practitioners") == {}  # Léa still works in the Cher
    assert entries(report, "organizations") == {"deactivated": 1}
    assert (await desk.person(LEA["Identifiant PP"])).territory == "18"
    report = await desk.extract(wanted=Filter(("18",)), accept_vanished=True)
    assert entries(report, "practitioners") == {"deactivated": 2}
    assert (await desk.person(INES["Identifiant PP"])).active


async def test_a_refused_line_protects_what_it_names(desk: Desk) -> None:
    """A commune that was merged away ends nobody's practice."""
    await desk.extract(LEA, ZOE)
    report = await desk.extract(LEA, {**ZOE, "Code commune (coord. structure)": "18999"})
    assert report.tally.lines == {"imported": 1, "refused": 1}
    assert not report.tally.changes


async def test_what_was_made_by_hand_is_never_touched(desk: Desk) -> None:
    """A practitioner with this RPPS stays as they are; an organization with this SIRET too."""
    person, practice = new_id(), new_id()
    await desk.run(
        organizations.insert().values(
            id=practice, territory="18", type="msp", name="La nôtre", siret="90000000000002"
        )
    )
    await desk.run(
        practitioners.insert().values(
            id=person, rpps=ZOE["Identifiant PP"], family_name="À", given_name="La main",
            territory="36",
        )
    )  # fmt: skip
    other = {**ZOE, "Identifiant PP": "10000000004"}
    report = await desk.extract(ZOE, other)
    assert entries(report, "practitioners") == {"by_hand": 1, "new": 1}
    assert entries(report, "organizations") == {"by_hand": 1}
    assert entries(report, "workplaces") == {"by_hand": 1, "new": 1}
    await desk.extract(LEA)
    ours = await desk.person(ZOE["Identifiant PP"])
    assert (ours.family_name, ours.active, ours.version) == ("À", True, 1)
    row = (await desk.run(select(organizations).where(organizations.c.id == practice))).one()
    assert (row.name, row.type, row.active, row.version) == ("La nôtre", "msp", True, 1)


async def test_a_dry_run_counts_and_writes_nothing(desk: Desk, database_urls: DatabaseUrls) -> None:
    """It tells what the import then does."""
    await desk.extract(LEA, ZOE)
    before, told = await snapshot(database_urls.owner), await desk.told()
    new = [{**LEA, "Nom d'exercice": "AUTRE"}, INES]
    dry = await desk.extract(*new, dry_run=True)
    assert await snapshot(database_urls.owner) == before
    assert await desk.told() == told
    assert (await desk.run(select(func.count()).select_from(directory_imports))).scalar_one() == 1
    real = await desk.extract(*new)
    assert dry.tally == real.tally
    assert entries(real, "practitioners") == {"changed": 1, "new": 1, "deactivated": 1}


def crowd(number: int) -> list[dict[str, str]]:
    """Doctors of the Indre, each with a practice of their own."""
    return [
        {
            **LEA,
            "Identifiant PP": f"1000001{n:04d}",
            "Identifiant technique de la structure": f"R1{n:04d}",
        }
        for n in range(number)
    ]


@pytest.mark.parametrize("dry_run", [True, False])
async def test_half_a_file_empties_no_directory(desk: Desk, *, dry_run: bool) -> None:
    """A fifth vanished: refused, unless it is said to be right; a dry run tells it too."""
    wanted, all_ = Filter(("36",), ("10",)), crowd(60)
    await desk.extract(*all_, wanted=wanted)
    news = {**LEA, "Identifiant PP": "10000020001"}
    sentence = "This file lacks 13 of 60 practitioners: is it complete? "
    sentence += "Dry run: nothing is written" if dry_run else "All that it names is imported"
    with pytest.raises(ImportRefused, match=re.escape(sentence)):
        await desk.extract(*all_[13:], news, wanted=wanted, dry_run=dry_run)
    assert (await desk.person(all_[0]["Identifiant PP"])).active
    report = await desk.extract(*all_[12:], news, wanted=wanted, dry_run=dry_run)
    assert entries(report, "practitioners")["deactivated"] == 12
    report = await desk.extract(*all_[40:], wanted=wanted, dry_run=dry_run, accept_vanished=True)
    assert entries(report, "practitioners")["deactivated"] == (40 if dry_run else 29)


@pytest.mark.parametrize("dry_run", [True, False])
async def test_a_file_of_nobody_ends_nobody(
    desk: Desk, database_urls: DatabaseUrls, *, dry_run: bool
) -> None:
    """A header alone, or nothing that is wanted: refused, however few would vanish."""
    wanted = Filter(("36",), ("10",))
    await desk.extract(LEA, wanted=wanted)
    before = await snapshot(database_urls.owner)
    for lines in ([], [ZOE]):
        with pytest.raises(ImportRefused, match="This file names nobody who is wanted"):
            await desk.extract(*lines, wanted=wanted, dry_run=dry_run)
        assert await snapshot(database_urls.owner) == before
    report = await desk.extract(ZOE, wanted=wanted, accept_vanished=True)
    assert entries(report, "practitioners") == {"deactivated": 1}


async def test_places_that_all_changed_their_numbers(desk: Desk) -> None:
    """Everybody is there, and nobody works where they did: the numbers are broken."""
    await desk.extract(*crowd(20))
    moved = [
        {**one, "Identifiant technique de la structure": f"X{n}"} for n, one in enumerate(crowd(20))
    ]
    with pytest.raises(ImportRefused, match="This file lacks 20 of 20 locations"):
        await desk.extract(*moved)
    assert (await desk.organization("R10000")).active


async def test_a_file_that_came_through_a_spreadsheet(desk: Desk) -> None:
    """Every field between quotes, the header too: it says what it said before."""
    await desk.extract(LEA, INES)

    def quoted(*lines: dict[str, str]) -> str:
        rows = [HEADER, *([line.get(name, "") for name in HEADER] for line in lines)]
        return "".join("|".join(f'"{text}"' for text in row) + "\r\n" for row in rows)

    path = desk.folder / "extract_202611210815.txt"
    path.write_text(quoted(LEA, INES), encoding="utf-8", newline="")
    report = await desk.file(path, Filter(("36",)))
    assert report.tally.lines == {"imported": 2}
    assert not report.tally.changes
    sign = {**ZOE, "Raison sociale site": 'Cabinet ""Le | Pré""'}
    path.write_text(quoted(LEA, INES, sign), encoding="utf-8", newline="")
    await desk.file(path)
    assert (await desk.organization("390000000000002")).name == 'Cabinet "Le | Pré"'


BROKEN: dict[str, Callable[[str], str]] = {
    "a byte": lambda line: line.replace("É", "\udcff"),
    "a NUL": lambda line: line.replace("É", "\0"),
    "a field too many": lambda line: f"{line}|more|still more",
    "a field too few": lambda line: line.partition("|RUE")[0],
    "a quote that does not end": lambda line: f'"{line}',
    "no kind of identifier": lambda line: f"9{line[1:]}",
    "an RPPS with its prefix only": lambda line: line.replace("8|1", "8|X|81", 1),
    "a name with a bar": lambda line: line.replace("Léa|10", "Léa|Anne|10", 1),
    "no profession": lambda line: line.replace("|10|", "||", 1),
    "an unknown commune and no department": lambda line: line.replace("|36044|", "|?|", 1),
    "no commune": lambda line: line.replace("|36044|", "||", 1),
}


@pytest.mark.parametrize("how", BROKEN)
async def test_a_line_that_cannot_be_read_protects_whom_it_may_name(desk: Desk, how: str) -> None:
    """Person, place and work: one broken line ends nobody's practice."""
    wanted = Filter(("36",), ("10",))
    two = crowd(2)
    await desk.extract(LEA, *two, wanted=wanted)
    line = text([LEA]).splitlines()[1]
    content = text([*two, BROKEN[how](line)])
    path = desk.folder / "extract_202611210815.txt"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    report = await desk.file(path, wanted)
    assert report.tally.lines["imported"] == 2
    assert not report.tally.changes, (report.tally.refused, report.tally.changes)


async def test_too_many_broken_lines(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that they may name is kept in memory: not of millions of them."""
    monkeypatch.setattr("service.directory.tasks.national._MOST_BROKEN", 3)
    broken = [f"{one['Identifiant PP']}|alone" for one in crowd(4)]
    with pytest.raises(ImportRefused, match="More than 3 lines name somebody"):
        await desk.extract(LEA, *broken)


@pytest.mark.parametrize("dry_run", [True, False])
async def test_an_older_file_undoes_nothing(desk: Desk, *, dry_run: bool) -> None:
    """Refused by the dates, whatever the filters; the same file again is no other one."""
    await desk.extract(LEA, ZOE)
    old = desk.folder / "extract_202501010000.txt"
    old.write_text(text([{**LEA, "Nom d'exercice": "ANCIENNE"}, ZOE]), encoding="utf-8")
    for wanted in (Filter(), Filter(("36",))):
        with pytest.raises(
            ImportRefused, match=r"is of 2025-01-01, and the last import, .* of 2026"
        ):
            await desk.file(old, wanted, dry_run=dry_run)
    assert (await desk.person(LEA["Identifiant PP"])).family_name == "ÉPREUVE"
    assert (await desk.extract(LEA, ZOE)).already
    report = await desk.file(old, accept_older=True)
    assert entries(report, "practitioners") == {"changed": 1, "unchanged": 1}


async def test_an_import_that_was_given_up_does_not_go_on(desk: Desk) -> None:
    """One import of a source at a time: the later one wins, the other is told."""
    ids = [new_id(), new_id()]
    for import_id in ids:
        async with desk.database.unit_of_work() as uow:
            await ledger.start(
                uow, import_id, source="annuaire", wanted="", file_name="f",
                file_digest=str(import_id), source_date=date(2026, 11, 20), counts={},
            )  # fmt: skip
    async with desk.database.unit_of_work() as uow:
        await ledger.advance(uow, ids[1], before=0, after=5, counts={})
    with pytest.raises(ImportRefused, match="Another import of the same source runs"):
        async with desk.database.unit_of_work() as uow:
            await ledger.advance(uow, ids[0], before=0, after=5, counts={})


# --- small parts ----------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 2**64 - 1)), st.lists(st.integers(1, 2**64 - 1)))
def test_seen_is_a_set(added: list[int], asked: list[int]) -> None:
    """It answers as a set does, also after it has grown."""
    seen, plain = Seen(), set(range(1, 4000))
    for number in plain:
        assert seen.add(number)
    for number in added:
        assert seen.add(number) is (number not in plain)
        plain.add(number)
    assert len(seen) == len(plain)
    assert all((number in seen) is (number in plain) for number in [*added, *asked])


def test_fates_and_counts() -> None:
    """Nothing known is new; counts survive being stored."""
    assert fate(None, 1, "annuaire") == "new"
    tally = Tally()
    tally.count("practitioners", "new", 3)
    assert Tally.read(replace(tally).stored()) == tally


@pytest.mark.parametrize("module", ["entries", "ledger", "owned", "vanished"])
def test_no_parameter_is_taken_for_a_column(module: str) -> None:
    """As for every other repository; `_AMEND` is meant to set what it is given."""
    found = importlib.import_module(f"service.directory.tasks.repository.{module}")
    for name, statement in vars(found).items():
        if isinstance(statement, Select | UpdateBase):
            test_statements.test_no_parameter_is_taken_for_a_column(name, statement)
