"""Territories: every département, Corsica's two, and the inhabited overseas collectivities.

Names and radii (kilometres) are those of the national table of search radii of 2025; where it has
none, 30 and 15. The rows are written out, so that this migration never changes.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_territories = sa.table(
    "territories",
    sa.column("id", sa.Text),
    sa.column("name", sa.Text),
    sa.column("region", sa.Text),
    sa.column("zone", sa.Text),
    sa.column("default_radius_km", sa.Float),
    sa.column("enlargement_km", sa.Float),
)

# code, name, region, time zone, default radius, enlargement
_ROWS = (
    ("01", "Ain", "Auvergne-Rhône-Alpes", "Europe/Paris", 20, 10),
    ("02", "Aisne", "Hauts-de-France", "Europe/Paris", 30, 15),
    ("03", "Allier", "Auvergne-Rhône-Alpes", "Europe/Paris", 30, 15),
    ("04", "Alpes-de-Haute-Provence", "Provence-Alpes-Côte d'Azur", "Europe/Paris", 50, 25),
    ("05", "Hautes-Alpes", "Provence-Alpes-Côte d'Azur", "Europe/Paris", 40, 20),
    ("06", "Alpes-Maritimes", "Provence-Alpes-Côte d'Azur", "Europe/Paris", 10, 5),
    ("07", "Ardèche", "Auvergne-Rhône-Alpes", "Europe/Paris", 30, 15),
    ("08", "Ardennes", "Grand Est", "Europe/Paris", 30, 15),
    ("09", "Ariège", "Occitanie", "Europe/Paris", 40, 20),
    ("10", "Aube", "Grand Est", "Europe/Paris", 40, 20),
    ("11", "Aude", "Occitanie", "Europe/Paris", 30, 15),
    ("12", "Aveyron", "Occitanie", "Europe/Paris", 50, 25),
    ("13", "Bouches-du-Rhône", "Provence-Alpes-Côte d'Azur", "Europe/Paris", 10, 5),
    ("14", "Calvados", "Normandie", "Europe/Paris", 10, 5),
    ("15", "Cantal", "Auvergne-Rhône-Alpes", "Europe/Paris", 50, 25),
    ("16", "Charente", "Nouvelle-Aquitaine", "Europe/Paris", 30, 15),
    ("17", "Charente-Maritime", "Nouvelle-Aquitaine", "Europe/Paris", 20, 10),
    ("18", "Cher", "Centre-Val de Loire", "Europe/Paris", 40, 20),
    ("19", "Corrèze", "Nouvelle-Aquitaine", "Europe/Paris", 40, 20),
    ("21", "Côte-d'Or", "Bourgogne-Franche-Comté", "Europe/Paris", 20, 10),
    ("22", "Côtes-d'Armor", "Bretagne", "Europe/Paris", 20, 10),
    ("23", "Creuse", "Nouvelle-Aquitaine", "Europe/Paris", 50, 25),
    ("24", "Dordogne", "Nouvelle-Aquitaine", "Europe/Paris", 40, 20),
    ("25", "Doubs", "Bourgogne-Franche-Comté", "Europe/Paris", 20, 10),
    ("26", "Drôme", "Auvergne-Rhône-Alpes", "Europe/Paris", 20, 10),
    ("27", "Eure", "Normandie", "Europe/Paris", 20, 10),
    ("28", "Eure-et-Loir", "Centre-Val de Loire", "Europe/Paris", 30, 15),
    ("29", "Finistère", "Bretagne", "Europe/Paris", 10, 5),
    ("2A", "Corse-du-Sud", "Corse", "Europe/Paris", 30, 15),
    ("2B", "Haute-Corse", "Corse", "Europe/Paris", 40, 20),
    ("30", "Gard", "Occitanie", "Europe/Paris", 10, 5),
    ("31", "Haute-Garonne", "Occitanie", "Europe/Paris", 10, 5),
    ("32", "Gers", "Occitanie", "Europe/Paris", 40, 20),
    ("33", "Gironde", "Nouvelle-Aquitaine", "Europe/Paris", 10, 5),
    ("34", "Hérault", "Occitanie", "Europe/Paris", 10, 5),
    ("35", "Ille-et-Vilaine", "Bretagne", "Europe/Paris", 10, 5),
    ("36", "Indre", "Centre-Val de Loire", "Europe/Paris", 50, 25),
    ("37", "Indre-et-Loire", "Centre-Val de Loire", "Europe/Paris", 20, 10),
    ("38", "Isère", "Auvergne-Rhône-Alpes", "Europe/Paris", 10, 5),
    ("39", "Jura", "Bourgogne-Franche-Comté", "Europe/Paris", 30, 15),
    ("40", "Landes", "Nouvelle-Aquitaine", "Europe/Paris", 30, 15),
    ("41", "Loir-et-Cher", "Centre-Val de Loire", "Europe/Paris", 30, 15),
    ("42", "Loire", "Auvergne-Rhône-Alpes", "Europe/Paris", 10, 5),
    ("43", "Haute-Loire", "Auvergne-Rhône-Alpes", "Europe/Paris", 30, 15),
    ("44", "Loire-Atlantique", "Pays de la Loire", "Europe/Paris", 10, 5),
    ("45", "Loiret", "Centre-Val de Loire", "Europe/Paris", 20, 10),
    ("46", "Lot", "Occitanie", "Europe/Paris", 40, 20),
    ("47", "Lot-et-Garonne", "Nouvelle-Aquitaine", "Europe/Paris", 30, 15),
    ("48", "Lozère", "Occitanie", "Europe/Paris", 50, 25),
    ("49", "Maine-et-Loire", "Pays de la Loire", "Europe/Paris", 20, 10),
    ("50", "Manche", "Normandie", "Europe/Paris", 20, 10),
    ("51", "Marne", "Grand Est", "Europe/Paris", 20, 10),
    ("52", "Haute-Marne", "Grand Est", "Europe/Paris", 50, 25),
    ("53", "Mayenne", "Pays de la Loire", "Europe/Paris", 30, 15),
    ("54", "Meurthe-et-Moselle", "Grand Est", "Europe/Paris", 10, 5),
    ("55", "Meuse", "Grand Est", "Europe/Paris", 50, 25),
    ("56", "Morbihan", "Bretagne", "Europe/Paris", 20, 10),
    ("57", "Moselle", "Grand Est", "Europe/Paris", 10, 5),
    ("58", "Nièvre", "Bourgogne-Franche-Comté", "Europe/Paris", 50, 25),
    ("59", "Nord", "Hauts-de-France", "Europe/Paris", 10, 5),
    ("60", "Oise", "Hauts-de-France", "Europe/Paris", 20, 10),
    ("61", "Orne", "Normandie", "Europe/Paris", 40, 20),
    ("62", "Pas-de-Calais", "Hauts-de-France", "Europe/Paris", 10, 5),
    ("63", "Puy-de-Dôme", "Auvergne-Rhône-Alpes", "Europe/Paris", 20, 10),
    ("64", "Pyrénées-Atlantiques", "Nouvelle-Aquitaine", "Europe/Paris", 20, 10),
    ("65", "Hautes-Pyrénées", "Occitanie", "Europe/Paris", 30, 15),
    ("66", "Pyrénées-Orientales", "Occitanie", "Europe/Paris", 10, 5),
    ("67", "Bas-Rhin", "Grand Est", "Europe/Paris", 10, 5),
    ("68", "Haut-Rhin", "Grand Est", "Europe/Paris", 10, 5),
    ("69", "Rhône", "Auvergne-Rhône-Alpes", "Europe/Paris", 5, 3),
    ("70", "Haute-Saône", "Bourgogne-Franche-Comté", "Europe/Paris", 40, 20),
    ("71", "Saône-et-Loire", "Bourgogne-Franche-Comté", "Europe/Paris", 30, 15),
    ("72", "Sarthe", "Pays de la Loire", "Europe/Paris", 20, 10),
    ("73", "Savoie", "Auvergne-Rhône-Alpes", "Europe/Paris", 20, 10),
    ("74", "Haute-Savoie", "Auvergne-Rhône-Alpes", "Europe/Paris", 10, 5),
    ("75", "Paris", "Île-de-France", "Europe/Paris", 5, 3),
    ("76", "Seine-Maritime", "Normandie", "Europe/Paris", 10, 5),
    ("77", "Seine-et-Marne", "Île-de-France", "Europe/Paris", 10, 5),
    ("78", "Yvelines", "Île-de-France", "Europe/Paris", 10, 5),
    ("79", "Deux-Sèvres", "Nouvelle-Aquitaine", "Europe/Paris", 30, 15),
    ("80", "Somme", "Hauts-de-France", "Europe/Paris", 20, 10),
    ("81", "Tarn", "Occitanie", "Europe/Paris", 20, 10),
    ("82", "Tarn-et-Garonne", "Occitanie", "Europe/Paris", 20, 10),
    ("83", "Var", "Provence-Alpes-Côte d'Azur", "Europe/Paris", 10, 5),
    ("84", "Vaucluse", "Provence-Alpes-Côte d'Azur", "Europe/Paris", 10, 5),
    ("85", "Vendée", "Pays de la Loire", "Europe/Paris", 20, 10),
    ("86", "Vienne", "Nouvelle-Aquitaine", "Europe/Paris", 20, 10),
    ("87", "Haute-Vienne", "Nouvelle-Aquitaine", "Europe/Paris", 20, 10),
    ("88", "Vosges", "Grand Est", "Europe/Paris", 30, 15),
    ("89", "Yonne", "Bourgogne-Franche-Comté", "Europe/Paris", 40, 20),
    ("90", "Territoire de Belfort", "Bourgogne-Franche-Comté", "Europe/Paris", 10, 5),
    ("91", "Essonne", "Île-de-France", "Europe/Paris", 10, 5),
    ("92", "Hauts-de-Seine", "Île-de-France", "Europe/Paris", 5, 3),
    ("93", "Seine-Saint-Denis", "Île-de-France", "Europe/Paris", 5, 3),
    ("94", "Val-de-Marne", "Île-de-France", "Europe/Paris", 5, 3),
    ("95", "Val-d'Oise", "Île-de-France", "Europe/Paris", 5, 3),
    ("971", "Guadeloupe", "Guadeloupe", "America/Guadeloupe", 10, 5),
    ("972", "Martinique", "Martinique", "America/Martinique", 10, 5),
    ("973", "Guyane", "Guyane", "America/Cayenne", 30, 15),
    ("974", "La Réunion", "La Réunion", "Indian/Reunion", 10, 5),
    ("975", "Saint-Pierre-et-Miquelon", "Saint-Pierre-et-Miquelon", "America/Miquelon", 30, 15),
    ("976", "Mayotte", "Mayotte", "Indian/Mayotte", 30, 15),
    ("977", "Saint-Barthélemy", "Saint-Barthélemy", "America/St_Barthelemy", 30, 15),
    ("978", "Saint-Martin", "Saint-Martin", "America/Marigot", 30, 15),
    ("986", "Wallis-et-Futuna", "Wallis-et-Futuna", "Pacific/Wallis", 30, 15),
    ("987", "Polynésie française", "Polynésie française", "Pacific/Tahiti", 30, 15),
    ("988", "Nouvelle-Calédonie", "Nouvelle-Calédonie", "Pacific/Noumea", 30, 15),
)


def upgrade() -> None:
    """Apply. Forward only: a mistake is mended by the next migration."""
    names = [column.name for column in _territories.columns]
    rows = [dict(zip(names, row, strict=True)) for row in _ROWS]
    # What an installation wrote itself is kept (bulk_insert has no ON CONFLICT).
    op.execute(postgresql.insert(_territories).values(rows).on_conflict_do_nothing())
