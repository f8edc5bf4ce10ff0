"""The packaged reference tables: complete, well placed, and read as the national files mean."""

import csv
from collections import Counter
from importlib import resources
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.directory import reference
from service.directory.reference import (
    Commune,
    code_list,
    commune,
    distance_km,
    search_radius,
    territories,
    territory_zone,
)

DATA = resources.files("service.directory") / "data"

CODE_FILES = {
    "priorities": "HubSante.priorite",
    "care_levels": "HubSante.niveauSoin",
    "decisions": "HubSante.typeDecision",
    "orientations": "HubSante.typeOrientation",
    "resources": "HubSante.typeRessource",
    "lines": "HubSante.origine",
    "caller_types": "HubSante.typeAppelant",
    "attributions": "HubSante.attribution",
    "motives": "HubSante.motif",
    "sexes": "HubSante.sexe",
    "age_classes": "HubSante.patient",
    "file_states": "HubSante.etat",
    "operator_roles": "HubSante.role",
    "visibilities": "TRE_R314-TypeCreneau",
    "specialties": "JDV_J239-SpecialitesSNP-SAS",
    "professions": "TRE_G15-ProfessionSante",
    "modes": "modes",
    "unmet_need_reasons": "unmet_need_reasons",
}


def rows(path: str) -> list[dict[str, str]]:
    return list(csv.DictReader((DATA / path).read_text(encoding="utf-8").splitlines(True)))


def place(code: str) -> Commune:
    found = commune(code)
    assert found is not None, code
    return found


def apart(a: str, b: str) -> float:
    first, second = place(a), place(b)
    return distance_km(first.latitude, first.longitude, second.latitude, second.longitude)


ALL = [place(row["code"]) for row in rows("communes.csv")]


# Communes


def test_every_commune_of_2026_and_every_arrondissement_is_there_once() -> None:
    assert len({each.code for each in ALL}) == len(ALL) == 34_969 + 45
    assert sum(each.parent is None for each in ALL) == 34_969


def test_precision_is_no_worse_than_documented() -> None:
    people: Counter[str] = Counter()
    for each in ALL:
        people[each.precision] += each.population if each.parent is None else 0
    assert set(people) == {"exact", "postal", "epci", "department"}
    assert people["exact"] / people.total() > 0.9
    assert people["department"] / people.total() < 0.001


def test_only_territories_without_inhabitants_lack_people_or_a_postal_code() -> None:
    assert {each.department for each in ALL if not each.postal_codes} == {"984"}
    assert {each.code for each in ALL if each.department in {"984", "989"}} == {
        "98411", "98412", "98413", "98414", "98415", "98901",
    }  # fmt: skip
    assert all(len(code) == 5 and code.isdigit() for each in ALL for code in each.postal_codes)


def test_chateauroux() -> None:
    found = place("36044")
    assert (found.name, found.department, found.parent) == ("Châteauroux", "36", None)
    assert (found.precision, found.postal_codes) == ("exact", ("36000",))
    assert found.population > 40_000
    assert distance_km(found.latitude, found.longitude, 46.81, 1.69) < 3


def test_the_indre_lies_around_chateauroux() -> None:
    indre = [each.code for each in ALL if each.department == "36"]
    assert len(indre) > 230
    assert max(apart("36044", code) for code in indre) < 100


# Wider than 100 km around its middle: the sea or the forest of these really is that large.
WIDE = {"973", "984", "986", "987", "988"}


def test_no_commune_is_far_from_the_middle_of_its_departement() -> None:
    departments: dict[str, list[Commune]] = {}
    for each in ALL:
        departments.setdefault(each.department, []).append(each)
    for department in departments.keys() - WIDE:
        members = departments[department]
        exact = [each for each in members if each.precision == "exact"] or members
        latitude = sum(each.latitude for each in exact) / len(exact)
        longitude = sum(each.longitude for each in exact) / len(exact)
        for each in members:
            gap = distance_km(each.latitude, each.longitude, latitude, longitude)
            assert gap < 100, each


def test_communes_surround_the_national_barycentre_of_their_territory() -> None:
    """The SAS table was made from other sources: a sign or a column mistaken would show."""
    for territory, radius in territories().items():
        members = [each for each in ALL if each.department == territory]
        assert members, territory
        if radius.barycentre and radius.department_km:
            for each in members:
                gap = distance_km(each.latitude, each.longitude, *radius.barycentre)
                assert gap < radius.department_km, each


@pytest.mark.parametrize(
    ("code", "name", "latitude", "longitude"),
    [
        ("2A004", "Ajaccio", 41.92, 8.74),
        ("2B033", "Bastia", 42.70, 9.45),
        ("59183", "Dunkerque", 51.04, 2.38),
        ("50129", "Cherbourg-en-Cotentin", 49.64, -1.62),
        ("97105", "Basse-Terre", 16.00, -61.73),
        ("97209", "Fort-de-France", 14.61, -61.07),
        ("97302", "Cayenne", 4.94, -52.33),
        ("97411", "Saint-Denis", -20.88, 55.45),
        ("97502", "Saint-Pierre", 46.78, -56.18),
        ("97611", "Mamoudzou", -12.78, 45.23),
        ("97701", "Saint-Barthélemy", 17.90, -62.85),
        ("97801", "Saint-Martin", 18.07, -63.08),
        ("98613", "Uvea", -13.28, -176.17),
        ("98735", "Papeete", -17.54, -149.57),
        ("98818", "Nouméa", -22.27, 166.45),
    ],
)
def test_corsica_and_overseas(code: str, name: str, latitude: float, longitude: float) -> None:
    found = place(code)
    assert found.name == name
    assert found.precision == "exact"
    assert distance_km(found.latitude, found.longitude, latitude, longitude) < 10


@pytest.mark.parametrize(
    ("code", "wrong_namesake"),
    [
        ("57424", (48.94, 3.80)),  # Lucy in Moselle is not the one of the Marne
        ("04194", (43.29, 5.41)),  # Saint-Pierre is not a district of Marseille
        ("18071", (47.42, 1.43)),  # Contres in the Cher is not the one of the Loir-et-Cher
    ],
)
def test_a_namesake_of_the_region_does_not_lend_its_position(
    code: str, wrong_namesake: tuple[float, float]
) -> None:
    found = place(code)
    assert distance_km(found.latitude, found.longitude, *wrong_namesake) > 50


def test_arrondissements_are_near_their_city() -> None:
    cities = {"75056": range(75101, 75121), "69123": range(69381, 69390)}
    cities["13055"] = range(13201, 13217)
    for city, codes in cities.items():
        for code in map(str, codes):
            assert place(code).parent == city
            assert place(code).precision == "exact"
            assert apart(city, code) < 10
            assert len(place(code).postal_codes) >= 1
    assert "75015" in place("75115").postal_codes


@pytest.mark.parametrize("code", ["", "36", "36000", "99999", "2a004", "01015 "])
def test_what_is_not_a_commune_today_is_none(code: str) -> None:
    assert commune(code) is None


# Territories


def test_radius_of_the_indre() -> None:
    indre = search_radius("36")
    assert (indre.territory, indre.label, indre.region) == ("36", "Indre", "Centre-Val de Loire")
    assert (indre.default_km, indre.enlargement_km, indre.department_km) == (50, 25, 117)
    assert indre.barycentre == pytest.approx((46.77777778, 1.575833333))


def test_every_row_of_the_national_table_is_a_territory() -> None:
    assert len(territories()) == len(rows("search_radius.csv")) == 101
    assert all(search_radius(code) is radius for code, radius in territories().items())
    assert all(code == radius.territory for code, radius in territories().items())
    assert {"01", "09", "2A", "2B", "971", "976"} <= set(territories())
    assert not {"1", "9", "20A", "20B", "20"} & set(territories())


def test_corsica_keeps_its_two_halves_apart() -> None:
    assert (search_radius("2A").label, search_radius("2A").default_km) == ("Corse-du-Sud", 30)
    assert (search_radius("2B").label, search_radius("2B").default_km) == ("Haute-Corse", 40)


@pytest.mark.parametrize("code", ["973", "976", "975", "988"])
def test_zero_and_missing_radii_are_thirty(code: str) -> None:
    radius = search_radius(code)
    assert (radius.territory, radius.default_km, radius.enlargement_km) == (code, 30, 15)
    assert radius.department_km is None
    assert radius.barycentre is None


def test_no_radius_is_zero() -> None:
    for radius in territories().values():
        assert radius.default_km >= radius.enlargement_km > 0
        assert (radius.department_km is None) == (radius.barycentre is None)


def test_zones() -> None:
    assert {territory_zone(code) for code in territories() if len(code) == 2} == {"Europe/Paris"}
    assert territory_zone("974") == "Indian/Reunion"
    assert territory_zone("973") == "America/Cayenne"
    assert territory_zone("988") == "Pacific/Noumea"
    overseas = {each.department for each in ALL if len(each.department) == 3} - {"984", "989"}
    assert len(overseas) == 11
    for department in overseas:
        zone = territory_zone(department)
        assert zone != "Europe/Paris"
        assert ZoneInfo(zone).key == zone


# Code lists


@pytest.mark.parametrize(("name", "file"), CODE_FILES.items())
def test_code_lists_are_complete_and_labelled(name: str, file: str) -> None:
    codes = code_list(name)
    assert list(codes) == [row["code"] for row in rows(f"codes/{file}.csv")]
    for code, entry in codes.items():
        assert entry.code == code == code.strip()
        assert entry.label
        assert entry.label == entry.label.strip()
        assert not entry.label.startswith("#")
        assert entry.parent is None or (entry.parent in codes and entry.parent != code)


def test_every_shipped_code_list_has_an_english_name() -> None:
    shipped = {file.name for file in (DATA / "codes").iterdir() if file.name.endswith(".csv")}
    assert shipped == {f"{file}.csv" for file in CODE_FILES.values()}


@pytest.mark.parametrize(
    ("name", "code", "label", "parent"),
    [
        ("priorities", "P2", "Non Urgent", None),
        ("care_levels", "R3", "Continuité de soins", None),
        ("decisions", "ORIENT", "Décision d’orientation ou de transport", None),
        ("lines", "116117", "Ligne PDSA", None),
        ("motives", "M01.00", "Détresse vitale", None),
        ("motives", "M01.01", "Suspicion d’arrêt cardiaque, mort subite", "M01.00"),
        ("motives", "M07.00", "Non renseigné", None),
        ("caller_types", "AMBULANC", "Ambulancier", None),
        ("caller_types", "SANTE.PHARMA", "Pharmacien", "SANTE"),
        ("resources", "LIBERAL.SOS", "Association de permanence de soins", "LIBERAL"),
        ("attributions", "DRM", "DRM", None),
        ("attributions", "DRM.MRL", "DRM MRL", "DRM"),
        ("attributions", "DRM.MRL.MG", "Régulation ML", "DRM.MRL"),
        ("attributions", "DRM.MRU.MU", "Régulation MU", "DRM.MRU"),
        ("attributions", "D.D-MALV.NRP", "Appel raccroché\xa0/ pas de réponse", "D.D-MALV"),
        ("specialties", "SM54", "Médecine générale", None),
        ("professions", "21", "Pharmacien", None),
    ],
)
def test_labels_and_parents(name: str, code: str, label: str, parent: str | None) -> None:
    entry = code_list(name)[code]
    assert (entry.label, entry.parent) == (label, parent)


def test_every_dotted_code_has_a_parent_but_the_heads_of_the_motives() -> None:
    for name in CODE_FILES:
        for code, entry in code_list(name).items():
            is_head = name == "motives" and code.endswith(".00")
            assert (entry.parent is not None) == ("." in code and not is_head), code


def test_an_unknown_list_names_the_known_ones() -> None:
    with pytest.raises(KeyError, match=r"motifs.*motives.*priorities"):
        code_list("motifs")


def test_tables_cannot_be_changed_by_a_reader() -> None:
    with pytest.raises(TypeError):
        code_list("sexes")["X"] = code_list("sexes")["M"]  # type: ignore[index]  # is refused
    with pytest.raises(TypeError):
        territories()["36"] = search_radius("75")  # type: ignore[index]  # is refused


# Distances


@pytest.mark.parametrize(
    ("a", "b", "kilometres"),
    [
        ((48.8566, 2.3522), (43.2965, 5.3698), 660.5),  # Paris to Marseille
        ((48.8566, 2.3522), (45.7640, 4.8357), 391.5),  # Paris to Lyon
        ((48.8566, 2.3522), (-20.8789, 55.4481), 9361),  # Paris to Saint-Denis de La Réunion
        ((0, 0), (0, 180), 20015.1),  # half the Earth
        ((-17.5, 179.9), (-17.5, -179.9), 21.2),  # across the antimeridian
    ],
)
def test_known_distances(a: tuple[float, float], b: tuple[float, float], kilometres: float) -> None:
    assert distance_km(*a, *b) == pytest.approx(kilometres, rel=2e-3)


def test_distances_between_communes() -> None:
    assert apart("36044", "36088") == pytest.approx(27, abs=2)  # Châteauroux to Issoudun
    assert apart("36044", "18033") == pytest.approx(61, abs=3)  # Châteauroux to Bourges
    assert apart("75056", "36044") == pytest.approx(232, abs=5)


position = st.tuples(st.floats(-90, 90), st.floats(-180, 180))


@given(position, position)
def test_distance_is_symmetric_and_bounded(a: tuple[float, float], b: tuple[float, float]) -> None:
    there, back = distance_km(*a, *b), distance_km(*b, *a)
    assert there == pytest.approx(back, abs=1e-6)
    assert 0 <= there <= reference.EARTH_RADIUS_KM * 3.1416


@given(position)
def test_distance_to_oneself_is_zero(a: tuple[float, float]) -> None:
    assert distance_km(*a, *a) == 0


@given(position, position, position)
def test_a_detour_is_never_shorter(
    a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]
) -> None:
    assert distance_km(*a, *c) <= distance_km(*a, *b) + distance_km(*b, *c) + 1e-3
