"""What messages and pages say, in French."""

from collections.abc import Mapping
from datetime import datetime

_DAYS = ("lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche")
_MONTHS = (
    *("janvier", "février", "mars", "avril", "mai", "juin"),
    *("juillet", "août", "septembre", "octobre", "novembre", "décembre"),
)
MODES: Mapping[str, str] = {
    "AMB": "Consultation au cabinet",
    "HH": "Visite à domicile",
    "VR": "Téléconsultation",
}

# By kind: the subject, and the sentence that a message begins with. `when` is `day à time`.
WORDS: Mapping[str, tuple[str, str]] = {
    "booked": (
        "Nouveau rendez-vous le {when}",
        "Un patient vous est adressé sur un de vos créneaux de soins non programmés.",
    ),
    "rescheduled": (
        "Rendez-vous déplacé au {when}",
        "Un rendez-vous pris sur vos créneaux a changé d’horaire ; il était prévu le {was}.",
    ),
    "moved_away": (
        "Rendez-vous du {when} retiré",
        "Ce rendez-vous a été déplacé chez un autre praticien : le créneau est libre à nouveau.",
    ),
    "cancelled": (
        "Rendez-vous du {when} annulé",
        "Ce rendez-vous a été annulé.",
    ),
    "given_back": (
        "Créneau du {when} rendu",
        "Personne n’a été adressé sur ce créneau : il vous est rendu, et n’est plus proposé.",
    ),
    "report_due": (
        "Le patient du {when} est-il venu ?",
        "Ce rendez-vous est passé et personne n’a encore dit ce qu’il en a été.",
    ),
    "received": (
        "Un de vos patients a été reçu le {when}",
        "Vous êtes le médecin traitant d’un patient reçu, qui a accepté que vous en soyez informé.",
    ),
    "confirmed": (
        "Votre rendez-vous du {when}",
        "Votre rendez-vous est pris.",
    ),
    "changed": (
        "Votre rendez-vous est déplacé au {when}",
        "L’horaire de votre rendez-vous a changé.",
    ),
    "called_off": (
        "Votre rendez-vous du {when} est annulé",
        "Votre rendez-vous est annulé.",
    ),
    "reminder": (
        "Rappel : votre rendez-vous du {when}",
        "N’oubliez pas votre rendez-vous.",
    ),
}

AUTOMATIC = "Message automatique : merci de ne pas y répondre."
NO_IDENTITY = (
    "Ce message ne dit pas qui est le patient : cela se lit dans votre logiciel."
    " Message automatique : merci de ne pas y répondre."
)
NO_MORE = (
    "Pour ne plus recevoir ces messages, dites-le à qui a pris ce rendez-vous."
    " Message automatique : merci de ne pas y répondre."
)
REPORT = "Dire en un clic si le patient est venu"
CALL = "Pour annuler, appelez le {phone}."
STOP = "STOP pour ne plus recevoir ces SMS."

# The pages that a link leads to: title, and the lines below it.
ANSWERS: Mapping[str, str] = {
    "came": "Le patient est venu",
    "no_show": "Le patient n’est pas venu",
    "emergency": "Il est venu, et a été adressé aux urgences",
}
APPOINTMENT = "Rendez-vous du {when}, {place}."
PAGES: Mapping[str, tuple[str, str]] = {
    "ask": ("Le patient est-il venu ?", "Une réponse suffit ; vous pourrez la corriger."),
    "told": ("Déjà renseigné", "Réponse enregistrée : {answer}. Vous pouvez la corriger."),
    "told_for_good": ("Déjà renseigné", "Réponse enregistrée : {answer}. Elle ne se corrige plus."),
    "early": ("C’est trop tôt", "La réponse est possible à partir de l’heure du rendez-vous."),
    "cancelled": ("Rendez-vous annulé", "Il n’y a rien à renseigner."),
    "done": ("Merci", "Réponse enregistrée : {answer}."),
    "corrected": ("Merci", "Réponse corrigée : {answer}."),
    "worthless": (
        "Ce lien n’est plus valable",
        "Le rendez-vous est trop ancien, ou n’est plus à vous. Répondez dans votre logiciel.",
    ),
    "later": ("Un instant", "Le service ne peut pas répondre : réessayez dans quelques minutes."),
}


def said(at: datetime) -> str:
    """Say when, as its own zone has it: `vendredi 27 novembre 2026 à 14 h 30`."""
    first = "1er" if at.day == 1 else str(at.day)
    day = f"{_DAYS[at.weekday()]} {first} {_MONTHS[at.month - 1]} {at.year}"
    return f"{day} à {at.hour} h {at.minute:02d}"
