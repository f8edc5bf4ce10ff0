"""Statement parts: the rows that figures are counted of."""

from service.needs.tables import unmet_needs

need = unmet_needs
