"""`snp directory`: what an operator reads of a directory, and what an import takes away."""

import subprocess
import sys
from pathlib import Path

from service.kernel.crypto import Keys
from tests.conftest import DatabaseUrls
from tests.demo.processes import environment

HEAD = "type;name;finess;commune\n"
SAS = "sas;SAS de l'Indre;360000011;36044\n"
PHARMACY = "pharmacy;Pharmacie de l'Église;360000022;36044\n"
CHER = "practice;Cabinet de Bourges;180000011;18033\n"


def snp(urls: DatabaseUrls, keys: Keys, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run `snp directory` as an operator does, its output in a pipe."""
    ours = {"SNP_DATABASE_URL": urls.app, "SNP_KEYS": keys.model_dump_json()}
    return subprocess.run(
        [sys.executable, "-m", "service.cli", "directory", *arguments],
        check=False,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**environment(), **ours},
    )


def listed(told: str) -> list[list[str]]:
    """Return type and name of each line below the head; each line begins with an id."""
    rows = [line.strip().split(maxsplit=2) for line in told.splitlines() if line.count("-") == 4]
    return [row[1:] for row in rows]


async def test_organizations_of_a_territory_are_listed(
    database_urls: DatabaseUrls, keys: Keys, tmp_path: Path
) -> None:
    """The ids of what was imported, by type and name; what a later file lacks is gone."""
    file = tmp_path / "structures.csv"

    def imported(*lines: str) -> None:
        file.write_text(HEAD + "".join(lines), encoding="utf-8")
        done = snp(database_urls, keys, "import-structures", "--file", str(file))
        assert done.returncode == 0, done.stderr

    def organizations(*asked: str) -> list[list[str]]:
        done = snp(database_urls, keys, "organizations", *asked)
        assert done.returncode == 0, done.stderr
        return listed(done.stdout)

    imported(SAS, PHARMACY, CHER)
    pharmacy, sas = ["pharmacy", "Pharmacie de l'Église"], ["sas", "SAS de l'Indre"]
    assert organizations("--territory", "36") == [pharmacy, sas]
    assert organizations("--territory", "36", "--type", "sas") == [sas]
    imported(SAS)
    assert organizations("--territory", "36") == [sas]
    assert organizations("--territory", "18") == [["practice", "Cabinet de Bourges"]]


async def test_what_cannot_be_listed_is_told(database_urls: DatabaseUrls, keys: Keys) -> None:
    """One sentence, no traceback."""
    nowhere = snp(database_urls, keys, "organizations", "--territory", "0X")
    assert (nowhere.returncode, nowhere.stderr) == (1, "snp: No territory has this code.\n")
    unknown = snp(database_urls, keys, "organizations", "--territory", "36", "--type", "chu")
    assert unknown.returncode == 1
    assert unknown.stderr.startswith("snp: No type is called chu: choose among cpts, sas, ")
