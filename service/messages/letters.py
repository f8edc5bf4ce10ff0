"""What messages and pages look like: French, plain text beside minimal HTML (`templates/`)."""

import base64
import re
from functools import cache
from hashlib import sha256
from pathlib import Path

import phonenumbers
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from service.messages import reference
from service.messages.domain import About, Channel, Kind, Letter, Recipient, said

_ASK_FOR_REPORT = frozenset({Kind.BOOKED, Kind.RESCHEDULED, Kind.REPORT_DUE})
_LEFT = frozenset({Kind.CALLED_OFF})
# Country codes that share one plan of numbers: France, and overseas.
_DIALLED_WITH_ZERO = frozenset({33, 262, 590, 594, 596})
_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=select_autoescape(["html"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


def letter(about: About, ways: list[tuple[Channel, str]], link: str | None) -> Letter:
    """Write a message. `link`: where the doctor reports, if the service has an address."""
    subject, sentence = reference.WORDS[about.kind]
    when = {
        "when": said(about.starts_at, about.zone),
        "was": said(about.was_at, about.zone) if about.was_at else "",
    }
    patient = about.recipient is Recipient.PATIENT
    subject = subject.format(**when)
    told = {
        "subject": subject,
        "sentence": sentence.format(**when),
        "facts": _for_patient(about) if patient else _for_doctor(about),
        "link": link if about.kind in _ASK_FOR_REPORT else None,
        "report": reference.REPORT,
        "end": reference.NO_MORE if patient else _end(about),
    }
    return Letter(
        id=about.id,
        ways=tuple(ways),
        subject=subject,
        text=_templates.get_template("letter.txt").render(told),
        html=_templates.get_template("letter.html").render(told),
        sms=_sms(about) if patient else "",
    )


def _end(about: About) -> str:
    return reference.AUTOMATIC if about.booking_id is None else reference.NO_IDENTITY


def _for_doctor(about: About) -> dict[str, str]:
    """Return what a doctor is told of an appointment: nothing of who comes."""
    modes = ", ".join(reference.MODES[mode] for mode in about.modes)
    facts = {"Quand": said(about.starts_at, about.zone), "Lieu": _place(about)}
    if about.kind is Kind.RECEIVED:
        return {**facts, "Reçu par": about.received_by or about.place}
    return {
        **facts,
        "Mode": modes,
        **({"Demandé par": about.asked_by} if about.asked_by else {}),
        **({"Référence du dossier": about.case_id} if about.case_id else {}),
    }


def _for_patient(about: About) -> dict[str, str]:
    """Return when and where, and whom to call: nothing else."""
    call = {"Pour annuler": about.phone and f"appelez le {spoken(about.phone)}"}
    return {
        "Quand": said(about.starts_at, about.zone),
        "Lieu": _place(about),
        **{name: text for name, text in call.items() if text and about.kind not in _LEFT},
    }


def _place(about: About) -> str:
    town = " ".join(part for part in (about.postal_code, about.commune) if part)
    return ", ".join(part for part in (about.place, about.address, town) if part)


def _sms(about: About) -> str:
    subject, _ = reference.WORDS[about.kind]
    parts = [f"{subject.format(when=said(about.starts_at, about.zone))}, {_place(about)}."]
    if about.phone and about.kind not in _LEFT:
        parts.append(reference.CALL.format(phone=spoken(about.phone)))
    return " ".join([*parts, reference.STOP])


def spoken(phone: str) -> str:
    """Return a number as it is dialled in France: `02 54 00 00 00`, `+32 2 234 56 78`."""
    try:
        number = phonenumbers.parse(phone, "FR")
    except phonenumbers.NumberParseException:
        return phone
    form = phonenumbers.PhoneNumberFormat
    here = number.country_code in _DIALLED_WITH_ZERO
    return phonenumbers.format_number(number, form.NATIONAL if here else form.INTERNATIONAL)


def page(name: str, **told: object) -> str:
    """Render a page that a link leads to."""
    return _templates.get_template(f"{name}.html").render(told)


@cache
def page_policy() -> str:
    """Return the pages' Content-Security-Policy: their own style, their own form, nothing else."""
    (style,) = re.findall(r"<style>(.*?)</style>", page("page", title="", lines=[]), re.DOTALL)
    digest = base64.b64encode(sha256(style.encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; form-action 'self';"
        " frame-ancestors 'none'; base-uri 'none'"
    )
