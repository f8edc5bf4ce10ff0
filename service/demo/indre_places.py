"""Where: the six CPTS of the Indre, and where their practices, pharmacies and hospitals stand.

The six names are those of the report (chapter 5, action 4). Which communes each one covers is set
by general geography, not by the official perimeters; organizations are invented, communes are real
(INSEE codes).
"""

from collections.abc import Mapping

from service.directory.reference import Commune, commune

TERRITORY = "36"

CPTS: Mapping[str, tuple[str, ...]] = {
    # Châteauroux, Déols, Le Poinçonnet, Saint-Maur, Ardentes, Villedieu-sur-Indre, Montierchaume,
    # Luant, Niherne, Étrechet, Coings, Arthon, Vineuil, Velles, Mâron
    "Châteauroux and Co": (
        *("36044", "36063", "36159", "36202", "36005", "36241", "36128", "36101"),
        *("36142", "36071", "36057", "36009", "36247", "36231", "36112"),
    ),
    # Buzançais, Levroux, Chabris, Châtillon-sur-Indre, Valençay, Luçay-le-Mâle, Écueillé, Clion,
    # Val-Fouzon, Villentrois, Poulaines, La Vernelle, Pellevoisin, Palluau-sur-Indre, Lye
    "Boischaut Nord": (
        *("36031", "36093", "36034", "36045", "36228", "36103", "36069", "36055"),
        *("36229", "36244", "36162", "36233", "36155", "36149", "36107"),
    ),
    # Le Blanc, Tournon-Saint-Martin, Vendœuvres, Pouligny-Saint-Pierre, Martizay, Mézières-en-
    # Brenne, Bélâbre, Azay-le-Ferron, Concremiers, Ruffec, Mérigny, Rosnay, Ciron, Lignac
    "Pays des Mille Étangs": (
        *("36018", "36224", "36232", "36165", "36113", "36123", "36016", "36010"),
        *("36058", "36176", "36119", "36173", "36053", "36094"),
    ),
    # La Châtre, Neuvy-Saint-Sépulchre, Montgivray, Aigurande, Le Magny, Cluis, Saint-Août,
    # Sainte-Sévère, Orsennes, Crevant, Lacs, Pouligny-Notre-Dame, Briantes, Chassignolles
    "Boischaut Sud": (
        *("36046", "36141", "36127", "36001", "36109", "36056", "36180", "36208"),
        *("36146", "36060", "36091", "36163", "36025", "36043"),
    ),
    # Argenton-sur-Creuse, Le Pêchereau, Saint-Gaultier, Saint-Marcel, Éguzon-Chantôme, Chaillac,
    # Le Pont-Chrétien-Chabenet, Thenay, Badecon-le-Pin, Chasseneuil, Ceaulmont, Prissac,
    # Saint-Benoît-du-Sault, Cuzion
    "Val de Creuse": (
        *("36006", "36154", "36192", "36200", "36070", "36035", "36161", "36220"),
        *("36158", "36042", "36032", "36168", "36182", "36062"),
    ),
    # Issoudun, Vatan, Reuilly, Neuvy-Pailloux, Sainte-Lizaigne, Les Bordes, Ségry, Pruniers,
    # Saint-Georges-sur-Arnon, Paudy
    "Issoudun": (
        *("36088", "36230", "36171", "36140", "36199", "36021", "36215", "36169"),
        *("36195", "36152"),
    ),
}

# (type, commune) of the 35 places where volunteer doctors work.
PRACTICES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "Châteauroux and Co": (
        ("practice", "36044"),
        ("msp", "36044"),
        ("cds", "36044"),
        ("practice", "36044"),
        ("msp", "36044"),
        ("practice", "36063"),
        ("msp", "36159"),
        ("practice", "36202"),
        ("msp", "36005"),
        ("practice", "36241"),
    ),
    "Boischaut Nord": (
        ("msp", "36093"),
        ("msp", "36228"),
        ("practice", "36034"),
        ("msp", "36031"),
        ("practice", "36045"),
        ("msp", "36069"),
        ("practice", "36103"),
    ),
    "Pays des Mille Étangs": (
        ("msp", "36018"),
        ("msp", "36123"),
        ("practice", "36224"),
        ("practice", "36016"),
    ),
    "Boischaut Sud": (
        ("msp", "36046"),
        ("practice", "36046"),
        ("practice", "36001"),
        ("msp", "36141"),
        ("msp", "36208"),
    ),
    "Val de Creuse": (
        ("msp", "36006"),
        ("practice", "36006"),
        ("cds", "36192"),
        ("practice", "36070"),
        ("practice", "36182"),
    ),
    "Issoudun": (
        ("msp", "36088"),
        ("cds", "36088"),
        ("practice", "36171"),
        ("msp", "36230"),
    ),
}

PHARMACIES = (
    *("36044", "36044", "36044", "36063", "36093", "36228"),
    *("36031", "36018", "36046", "36006", "36088", "36088"),
)
EMERGENCY_DEPARTMENTS = ("36044", "36018")
CENTRE = "36044"  # regulation centre and unscheduled-care centre: Châteauroux


def place(code: str) -> Commune:
    """A commune that is known to exist."""
    found = commune(code)
    if found is None:
        raise LookupError(f"no commune {code}")
    return found


def cpts_of(code: str) -> str:
    """The name of the CPTS that covers a commune."""
    return next(name for name, codes in CPTS.items() if code in codes)


def populations() -> dict[str, int]:
    """Inhabitants of each CPTS: what its share of the calls and of the doctors follows."""
    return {name: sum(place(c).population for c in codes) for name, codes in CPTS.items()}
