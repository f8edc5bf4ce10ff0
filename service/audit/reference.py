"""What traces say, in French: for patients who ask who had access to their file."""

from collections.abc import Mapping

# By operation id (readings, refusals) and by type of event (changes) of files and bookings.
OPERATIONS: Mapping[str, str] = {
    "patients.open": "Ouverture de la fiche",
    "patients.read": "Consultation de la fiche",
    "patients.search": "Recherche de la fiche",
    "patients.amend": "Correction de la fiche",
    "patients.break_glass": "Accès d’urgence à la fiche",
    "patients.accesses": "Édition de la liste des accès",
    "bookings.book": "Prise de rendez-vous",
    "bookings.read": "Consultation d’un rendez-vous",
    "bookings.list": "Consultation d’une liste de rendez-vous",
    "bookings.history": "Consultation de l’historique d’un rendez-vous",
    "bookings.cancel": "Annulation d’un rendez-vous",
    "bookings.reschedule": "Report d’un rendez-vous",
    "bookings.report": "Compte rendu de venue",
    "audit.list": "Consultation des traces",
    "retention.export_patient": "Édition de tout ce qui est détenu",
    "messages.inform": "Envoi d’un message au patient",
    "messages.opt_out": "Refus des messages",
    "messages.opt_in": "Fin du refus des messages",
    "patient_file.opted_out": "Refus des messages",
    "patient_file.opted_in": "Fin du refus des messages",
    "patient_file.opened": "Ouverture de la fiche",
    "patient_file.amended": "Correction de la fiche",
    "patient_file.exported": "Édition de tout ce qui est détenu",
    "booking.created": "Prise de rendez-vous",
    "booking.cancelled": "Annulation d’un rendez-vous",
    "booking.rescheduled": "Report d’un rendez-vous",
    "booking.reported": "Compte rendu de venue",
}
RESULTS: Mapping[str, str] = {"shown": "montré", "done": "fait"}
REFUSED = "refusé"
PURPOSES: Mapping[str, str] = {
    "regulation": "Régulation médicale",
    "care": "Prise en charge",
    "booking": "Prise de rendez-vous",
    "correction": "Correction",
    "steering": "Coordination",
    "administration": "Administration",
    "patient_rights": "Droits du patient",
    "inform_patient": "Information du patient",
}
ROLES: Mapping[str, str] = {
    "regulator": "Médecin régulateur",
    "osnp": "Opérateur de soins non programmés",
    "arm": "Assistant de régulation médicale",
    "pharmacist": "Pharmacien",
    "emergency_nurse": "Infirmier d’accueil des urgences",
    "professional": "Professionnel de santé",
    "platform_operator": "Opérateur de plateforme téléphonique",
    "doctor": "Médecin effecteur",
    "delegate": "Secrétaire, délégataire",
    "manager": "Coordinateur (CPTS, SAS)",
    "analyst": "Chargé d’études",
    "sas_platform": "Plateforme numérique SAS",
    "admin": "Administrateur",
    "operator": "Exploitant du service",
    "service": "Le service lui-même",
}
# Of the person: whether somebody proved who they are.
ASSERTED, PROVEN = "déclarée par le logiciel", "authentifiée"
BREAK_GLASS: Mapping[str, str] = {
    "vital_emergency": "Urgence vitale",
    "patient_unable": "Patient hors d’état de s’exprimer",
    "continuity_of_care": "Continuité des soins",
}
