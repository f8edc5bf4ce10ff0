"""Statement parts: absences, of which retention erases the reasons."""

from service.agenda.tables import absences

absence = absences
