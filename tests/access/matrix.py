"""The table of who may do what, and who reaches what. Written by hand: the code must agree.

Of a caller only this counts: the role, and how far the organization stands from what is asked for.

    reg   regulator, osnp, arm             own   the organization that it belongs to (a doctor's
    pro   pharmacist, emergency_nurse,           side: the practitioner too)
          professional, platform_operator  near  another organization of the same territory
    doc   doctor, delegate                 far   another territory
    man, ana, sas, adm                     each one role

`reg` opened the call and its patient file; `pro` made the booking, its file, its hold and the unmet
need; `doc` offers the slots, the sessions and the absences, and receives the booking. Nobody else
has a part in them. Each role at the own organization has a webhook endpoint, which is disabled.

A row: who may call the operation at all (everybody else: 403); who of them reaches the thing; the
status that says so; the status for the others, 404 being what an id that never existed gets. What
changes something is sent with a stale `If-Match`, so that whoever reaches it is told 412 and
nothing is changed. A row may look for the thing in a list (`listed`) instead.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from service.identity import Role

GROUPS: Mapping[str, tuple[Role, ...]] = {
    "reg": (Role.REGULATOR, Role.OSNP, Role.ARM),
    "pro": (
        Role.PHARMACIST,
        Role.EMERGENCY_NURSE,
        Role.PROFESSIONAL,
        Role.PLATFORM_OPERATOR,
    ),
    "doc": (Role.DOCTOR, Role.DELEGATE),
    "man": (Role.MANAGER,),
    "ana": (Role.ANALYST,),
    "sas": (Role.SAS_PLATFORM,),
    "adm": (Role.ADMIN,),
}
DISTANCES = ("own", "near", "far")
# Parts of a group, where not all of it may.
_PARTS: Mapping[str, tuple[Role, ...]] = {
    "regulator": (Role.REGULATOR,),
    "closers": (Role.REGULATOR, Role.OSNP),
    "nurse": (Role.EMERGENCY_NURSE,),
    "doctor": (Role.DOCTOR,),
}
BOOK, READ_DIRECTORY, KEEP = "reg pro doc", "reg pro doc man ana adm", "man adm"
GIVE = "man adm doctor"
SUBSCRIBE, SUBSCRIBED = "reg pro doc man adm", "reg.own pro.own doc.own man.own adm.own"
ALL = "reg pro doc man ana sas adm"
# A calendar is opened by the secret in its address (tests/calendar).
# What the national interface can is told to everybody (tests/fhir).
NO_TOKEN_NEEDED = frozenset(
    {"identity.token", "health.live", "health.ready", "calendar.feed", "fhir.metadata"}
)


@dataclass(frozen=True)
class Row:
    """What one operation answers to whom; names in braces are things of the house."""

    operation: str
    may: str
    reach: str = "*"
    found: Sequence[int] = (200,)
    others: int = 404
    listed: str | None = None
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str | list[str]] = field(default_factory=dict)
    body: Any = None

    @property
    def roles(self) -> frozenset[Role]:
        """The roles that may call the operation."""
        known = {**GROUPS, **_PARTS}
        return frozenset(role for name in self.may.split() for role in known[name])

    def reached_by(self, group: str, distance: str) -> bool:
        """Tell whether a caller who may ask reaches the thing."""
        return self.reach == "*" or not {group, f"{group}.{distance}"}.isdisjoint(
            self.reach.split()
        )


SLOT, PRO_SLOT, WALK_IN = {"slot_id": "{slot}"}, {"slot_id": "{pro_slot}"}, "{walk_in}"
BOOKING, CALL = {"booking_id": "{booking}"}, {"call_id": "{call}"}
ENDPOINT = {"endpoint_id": "{endpoint}"}
PRACTITIONER, SESSION = {"practitioner_id": "{practitioner}"}, {"session_id": "{session}"}
REGULATION = "reg.own reg.near"
PLATFORM = "sas.own sas.near"
MEMBERS = "pro.own doc.own"  # the two sides of the booking
HOLDERS = f"{REGULATION} man.own man.near adm.own adm.near"
YEAR = {"territory": "{territory}", "from": "2022-01-01", "to": "2023-01-01"}
STALE = (412,)

_RIGHT = {
    "person": {"system": "urn:x", "value": "{call}"}, "valid_until": "2000-01-01T00:00:00Z",
}  # fmt: skip
_SLOT_BODY = {
    "practitioner_id": "{practitioner}",
    "location_id": "{location}",
    "starts_at": "{starts_at}",
    "ends_at": "{ends_at}",
}

MATRIX = (
    Row("identity.me", ALL),
    # --- rights: kept at home; that of the administration is nobody's to take --------------------
    Row(
        "grants.list", GIVE, "man.own man.near adm", listed="{grant}", query={"role": "admin"},
    ),
    Row(
        "grants.list", GIVE, "man.own man.near adm doc.own", listed="{delegation}",
        query={"role": "delegate"},
    ),
    Row(
        "grants.give", GIVE, "adm", (422,), 403,
        body={**_RIGHT, "role": "professional", "organization_id": "{organization}"},
    ),
    Row(
        "grants.give", GIVE, "man.own adm", (422,), 403,
        body={**_RIGHT, "role": "professional", "organization_id": "{community}"},
    ),
    Row(
        "grants.give", GIVE, "doc.own", (422,), 403,
        body={
            **_RIGHT, "role": "delegate", "organization_id": "{organization}",
            "practitioner_ids": ["{practitioner}"],
        },
    ),
    Row("grants.revoke", GIVE, "man.own man.near adm", (403,), path={"grant_id": "{grant}"}),
    Row("grants.stop", KEEP, "man.own man.near adm", (403,), path={"account_id": "{person}"}),
    # --- traces: those of the own territories (elsewhere, who was refused there, maybe) -----------
    Row(
        "audit.list", KEEP, "man.own man.near adm", listed="{booking}",
        query={"patient": "{file}", "organization": "{booker}"},
    ),
    # --- directory: read by whoever works with it, kept at home ----------------------------------
    Row("directory.list_territories", ALL),
    Row("directory.read_territory", ALL, path={"territory_id": "{territory}"}),
    Row("directory.list_organizations", READ_DIRECTORY),
    Row(
        "directory.read_organization", READ_DIRECTORY, path={"organization_id": "{organization}"}
    ),
    Row(
        "directory.create_organization", KEEP, "man.own man.near adm", (422,), 403,
        body={"territory": "{territory}", "type": "other", "name": "x", "cpts_ids": ["{call}"]},
    ),
    Row(
        "directory.amend_organization", KEEP, "man.own man.near adm", STALE, 403,
        path={"organization_id": "{organization}"}, body={"name": "x"},
    ),
    Row("directory.list_practitioners", READ_DIRECTORY),
    Row("directory.read_practitioner", READ_DIRECTORY, path=PRACTITIONER),
    Row(
        "directory.create_practitioner", KEEP, "man.own man.near adm", (409,), 403,
        body={
            "rpps": "{rpps}", "family_name": "x", "given_name": "x", "territory": "{territory}",
        },
    ),
    Row(
        "directory.amend_practitioner", KEEP, "man.own man.near adm", STALE, 403,
        path=PRACTITIONER, body={"given_name": "x"},
    ),
    Row("directory.list_locations", READ_DIRECTORY),
    Row("directory.read_location", READ_DIRECTORY, path={"location_id": "{location}"}),
    Row(
        "directory.create_location", "man adm doc", "man.own man.near adm doc.own", (201,), 403,
        body={"organization_id": "{organization}", "name": "x", "commune": "36044"},
    ),
    Row(
        "directory.amend_location", "man adm doc", "man.own man.near adm doc.own", STALE, 403,
        path={"location_id": "{location}"}, body={"name": "x"},
    ),
    Row("directory.list_code_lists", ALL),
    Row("directory.read_code_list", ALL, path={"name": "motives"}),
    # --- slots: hidden is SNP (regulation alone), shown is PRO ------------------------------------
    Row("slots.publish", "doc", "doc.own", (409,), 403, body=_SLOT_BODY),
    Row("slots.search", BOOK, f"{REGULATION} doc.own", listed="{slot}"),
    Row(
        "slots.search", BOOK, f"{REGULATION} pro.own pro.near doc.own doc.near",
        listed="{pro_slot}",
    ),
    Row("slots.contextual_call", BOOK, query={"inseecode": "36044"}),
    Row("slots.read", BOOK, f"{REGULATION} doc.own", path=SLOT),
    Row("slots.read", BOOK, f"{REGULATION} pro.own pro.near doc.own doc.near", path=PRO_SLOT),
    Row("slots.amend", "doc", "doc.own", STALE, path=SLOT, body={"note": "x"}),
    Row("slots.withdraw", "doc", "doc.own", STALE, path=SLOT),
    Row("slots.agenda", "doc", "doc.own", others=403, path=PRACTITIONER),
    Row("slots.visibility", "doc", "doc.own", path=SLOT),
    Row("slots.hold", BOOK, f"{REGULATION} doc.own", (409,), path={"slot_id": WALK_IN}),
    Row("slots.release_hold", BOOK, "pro.own", (204,), path={"hold_id": "{hold}"}),
    # --- patients: who opened the file, who booked on it, who receives ---------------------------
    Row("patients.open", BOOK, found=(201,), body={"age": 40}),
    Row("patients.read", BOOK, MEMBERS, path={"file_id": "{file}"}),
    Row("patients.read", BOOK, "reg.own", path={"file_id": "{call_file}"}),
    Row("patients.amend", BOOK, MEMBERS, STALE, path={"file_id": "{file}"}, body={"age": 41}),
    Row(
        "patients.amend", BOOK, "reg.own", STALE, path={"file_id": "{call_file}"},
        body={"age": 41},
    ),
    Row(
        "patients.search", BOOK, MEMBERS, listed="{file}",
        body={"phone": "{phone}", "purpose": "booking"},
    ),
    Row("patients.accesses", "regulator doc", "doc.own", path={"file_id": "{file}"}),
    Row("patients.accesses", "regulator doc", "reg.own", path={"file_id": "{call_file}"}),
    Row(
        "patients.break_glass", "regulator nurse doctor",
        f"{REGULATION} pro.own pro.near doc.own doc.near", listed="{file}",
        body={"phone": "{phone}", "reason": "vital_emergency"},
    ),
    Row("retention.export_patient", "regulator", "reg.own", path={"file_id": "{call_file}"}),
    Row("retention.list_holds", "regulator man adm", HOLDERS, listed="{legal_hold}"),
    Row(
        "retention.place_hold", "regulator man adm", HOLDERS, (201,), 403,
        body={"case_id": "x1", "territory": "{territory}", "reason": "Épreuve"},
    ),
    Row(
        "retention.lift_hold", "regulator man adm", "reg.own man.own man.near", (409,),
        path={"hold_id": "{legal_hold}"},
    ),
    # --- calls: regulation staff of the organization that opened them ----------------------------
    Row(
        "calls.open", "reg", REGULATION, (422,), 403,
        body={"line": "116117", "received_at": "2199-01-01T00:00:00Z", "territory": "{territory}"},
    ),
    Row("calls.read", "reg", "reg.own", path=CALL),
    Row("calls.list", "reg", "reg.own", listed="{call}"),
    Row("calls.amend", "reg", "reg.own", STALE, path=CALL, body={"motive": "M07.00"}),
    Row("calls.assign", "closers", "reg.own", (200, 409), path=CALL),
    Row("calls.unassign", "closers", "reg.own", (200, 204, 409), path=CALL),
    Row("calls.call_back", "regulator", "reg.own", STALE, path=CALL, body={"reached": True}),
    Row(
        "calls.add_outcome", "closers", "reg.own", STALE, path=CALL,
        body={"outcome": "medical_advice"},
    ),
    Row(
        "calls.remove_outcome", "closers", "reg.own", STALE,
        path={**CALL, "outcome_id": "{outcome}"},
    ),
    Row("calls.close", "closers", "reg.own", STALE, path=CALL, body={}),
    # --- unmet needs: the organization that told of them -----------------------------------------
    Row(
        "needs.record", BOOK, found=(422,),
        body={
            "motive": "M07.00", "commune": "36044", "mode": "AMB", "reason": "no_room",
            "from": "{ends_at}", "to": "{starts_at}",
        },
    ),
    Row("needs.list", BOOK, "pro.own", listed="{need}"),
    # --- bookings: the organization that asked, the doctor's side --------------------------------
    Row(
        "bookings.book", BOOK, f"{REGULATION} doc.own", (409,),
        body={
            "slot_id": WALK_IN, "patient_file": {"age": 40},
            "on_behalf_of": {"name": "Dr Épreuve"},
        },
    ),
    Row("bookings.read", BOOK, MEMBERS, path=BOOKING),
    Row("bookings.list", BOOK, MEMBERS, listed="{booking}"),
    Row("bookings.history", BOOK, MEMBERS, path=BOOKING),
    Row("bookings.cancel", BOOK, MEMBERS, STALE, path=BOOKING, body={"by": "patient"}),
    Row("bookings.reschedule", BOOK, MEMBERS, STALE, path=BOOKING, body={"slot_id": "{slot}"}),
    Row("bookings.report", "doc", "doc.own", STALE, path=BOOKING, body={"state": "fulfilled"}),
    # --- what happens: what each may know of it is in tests/stream ------------------------------
    Row("stream.events", "reg pro doc man sas adm"),
    # --- messages: the practitioner's side, managers of the territory; who reads the file --------
    Row(
        "messages.read_contact", "doc man adm", "doc.own man.own man.near adm", others=403,
        path=PRACTITIONER,
    ),
    Row(
        "messages.put_contact", "doc man adm", "doc.own man.own man.near adm", STALE, 403,
        path=PRACTITIONER, body={"email": "x@cabinet.example"},
    ),
    Row("messages.opt_out", BOOK, MEMBERS, (204,), path={"file_id": "{file}"}),
    Row("messages.opt_in", BOOK, MEMBERS, (204,), path={"file_id": "{file}"}),
    # --- agenda: the practitioner's side ---------------------------------------------------------
    Row(
        "agenda.create_session", "doc", "doc.own", (422,), 403,
        body={
            "practitioner_id": "{practitioner}", "location_id": "{call}", "date": "{date}",
            "start": "14:00", "end": "15:00", "slot_minutes": 20,
        },
    ),
    Row("agenda.list_sessions", "doc", "doc.own", listed="{session}"),
    Row("agenda.read_session", "doc", "doc.own", path=SESSION),
    Row("agenda.amend_session", "doc", "doc.own", STALE, path=SESSION, body={"note": "x"}),
    Row("agenda.end_session", "doc", "doc.own", STALE, path=SESSION),
    Row(
        "agenda.declare_absence", "doc", "doc.own", (201,), 403, path=PRACTITIONER,
        body={"from": "2199-01-01T00:00:00Z", "to": "2199-01-02T00:00:00Z"},
    ),
    Row("agenda.list_absences", "doc", "doc.own", others=403, path=PRACTITIONER),
    Row(
        "agenda.end_absence", "doc", "doc.own", (200, 204), 403,
        path={**PRACTITIONER, "absence_id": "{absence}"},
    ),
    # --- calendar: the practitioner's side ------------------------------------------------------
    Row(
        "calendar.create_token", "doc", "doc.own", (201,), 403, path=PRACTITIONER,
        body={"name": "x"},
    ),
    Row("calendar.list_tokens", "doc", "doc.own", others=403, path=PRACTITIONER),
    Row(
        "calendar.revoke_token", "doc", "doc.own", (204,), 403,
        path={**PRACTITIONER, "token_id": "{calendar_token}"},
    ),
    # --- the national interface: what is published in the territories of the platform ------------
    Row(
        "fhir.search_slots", "sas", PLATFORM, listed="{slot}",
        query={
            "schedule.actor:Practitioner.identifier": "8{rpps}", "status": "free",
            "start": ["ge{starts_at}", "le{ends_at}"],
        },
    ),
    Row(
        "fhir.search_schedules", "sas", PLATFORM, listed="{point}",
        query={
            "actor:Location.organization.identifier": "3{siret}",
            "_has:Slot:schedule:status": "free",
            "_has:Slot:schedule:start": ["ge{starts_at}", "le{ends_at}"],
        },
    ),
    Row("fhir.read_slot", "sas", PLATFORM, path=SLOT),
    Row("fhir.create_regulator", "sas", found=(400,), body={}),
    Row("fhir.put_regulator", "sas", found=(400,), query={"identifier": "x"}, body={}),
    Row("fhir.read_practitioner", "sas", PLATFORM, path=PRACTITIONER),
    Row("fhir.read_schedule", "sas", PLATFORM, path={"schedule_id": "{rpps}.{location}"}),
    Row("fhir.read_practitioner_role", "sas", PLATFORM, path={"role_id": "{rpps}.{location}"}),
    Row("fhir.read_schedule", "sas", PLATFORM, path={"schedule_id": "{point}"}),
    Row("fhir.read_location", "sas", PLATFORM, path={"location_id": "{point}"}),
    Row("fhir.read_service", "sas", PLATFORM, path={"service_id": "{community}"}),
    Row("fhir.read_organization", "sas", PLATFORM, path={"organization_id": "{community}"}),
    Row("fhir.read_organization", "sas", PLATFORM, path={"organization_id": "{point_structure}"}),
    # --- webhooks: each role's own endpoint, kept by colleagues in the same role ------------------
    Row(
        "webhooks.create", SUBSCRIBE, found=(422,), body={"url": "http://10.0.0.1/"},
    ),
    Row("webhooks.list", SUBSCRIBE, SUBSCRIBED, listed="{endpoint}"),
    Row("webhooks.read", SUBSCRIBE, SUBSCRIBED, path=ENDPOINT),
    Row(
        "webhooks.amend", SUBSCRIBE, SUBSCRIBED, STALE, path=ENDPOINT, body={"enabled": True},
    ),
    Row("webhooks.delete", SUBSCRIBE, SUBSCRIBED, STALE, path=ENDPOINT),
    Row("webhooks.rotate_secret", SUBSCRIBE, SUBSCRIBED, (201,), path=ENDPOINT),
    Row("webhooks.test", SUBSCRIBE, SUBSCRIBED, (409,), path=ENDPOINT),
    Row("webhooks.list_deliveries", SUBSCRIBE, SUBSCRIBED, path=ENDPOINT),
    Row(
        "webhooks.replay", SUBSCRIBE, SUBSCRIBED, (409,),
        path={**ENDPOINT, "delivery_id": "{endpoint}"},
    ),
    Row(
        "webhooks.replay_range", SUBSCRIBE, SUBSCRIBED, (409,), path=ENDPOINT,
        body={"from": "2022-01-01T00:00:00Z", "to": "2022-01-02T00:00:00Z"},
    ),
    # --- figures: those who are granted the territory --------------------------------------------
    *(
        Row(
            f"analytics.{figure}", "regulator man ana",
            f"{REGULATION} man.own man.near ana.own ana.near", others=403, query=YEAR,
        )
        for figure in (
            "call_outcomes", "slot_usage", "appointments", "referrals", "callbacks",
            "cpts_indicators", "unmet_needs",
        )
    ),
)  # fmt: skip
