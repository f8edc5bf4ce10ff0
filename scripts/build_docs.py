"""Write the pages of docs/ that are made from the code: roles, states, problems, settings.

`--check` writes nothing and fails when a page is not what the code says.
"""

import argparse
import importlib
import json
import pkgutil
import re
import sys
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import service
from service.bookings.domain import TRANSITIONS as BOOKINGS
from service.bookings.domain import Action as Booking
from service.calls.domain import TRANSITIONS as CALLS
from service.calls.domain import Action as Call
from service.description import description
from service.identity.domain import PERMISSIONS, Role
from service.kernel.errors import DomainError
from service.kernel.http.problems import status_of
from service.kernel.settings import Settings
from service.slots.domain import SlotState

DOCS = Path(__file__).parent.parent / "docs"
_MADE = "<!-- Made by scripts/build_docs.py from the code: do not edit. -->\n\n"


def _table(*rows: tuple[str, ...]) -> str:
    """Return a table; the first row is its head."""
    head, *body = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([head, "|---" * len(rows[0]) + "|", *body])


# --- roles ----------------------------------------------------------------------------------------

# In French, and who it is: one sentence.
ROLES: Mapping[Role, tuple[str, str]] = {
    Role.REGULATOR: (
        "médecin régulateur",
        "Calls back, decides, closes; alone overrides a vital refusal; reads the figures.",
    ),
    Role.OSNP: (
        "opérateur de soins non programmés (OSNP)",
        "Qualifies the call, searches, books, gives outcomes, closes.",
    ),
    Role.ARM: (
        "assistant de régulation médicale (ARM)",
        "Answers the telephone, opens and amends calls, searches, books.",
    ),
    Role.PHARMACIST: ("pharmacien", "Finds room for a patient who stands in the pharmacy."),
    Role.EMERGENCY_NURSE: (
        "infirmier d'accueil des urgences",
        "Finds room in town for a patient who need not stay.",
    ),
    Role.PROFESSIONAL: (
        "autre professionnel de santé",
        "Any other professional who finds room for a patient.",
    ),
    Role.PLATFORM_OPERATOR: (
        "opérateur de plateforme téléphonique",
        "Books for a professional who rings, and names whom in `on_behalf_of`.",
    ),
    Role.DOCTOR: (
        "médecin effecteur",
        "Publishes their own slots, sees who comes, reports; says who acts for them (`delegate`).",
    ),
    Role.DELEGATE: (
        "secrétaire, délégataire",
        "Does the same for the practitioners that the grant names.",
    ),
    Role.MANAGER: (
        "coordinateur (CPTS, SAS)",
        "Keeps their territory's directory and rights of people, reads figures; never a patient.",
    ),
    Role.ANALYST: (
        "chargé d'études",
        "Reads figures without small counts, and the directory; never a patient.",
    ),
    Role.SAS_PLATFORM: (
        "plateforme numérique SAS",
        "The national platform: reads free slots of its territories, never a patient.",
    ),
    Role.ADMIN: (
        "administrateur",
        "Keeps the directory and the rights of people everywhere; software's: `snp clients`.",
    ),
}


def _requests() -> dict[str, str]:
    """Return the request of each operation id."""
    paths: dict[str, dict[str, Any]] = json.loads(description())["paths"]
    return {
        operation["operationId"]: re.sub(r"{\w+_id}", "{id}", f"{method.upper()} {path}")
        for path, methods in paths.items()
        for method, operation in methods.items()
    }


def roles() -> str:
    """Which role may call which operation; roles that may do the same share a column."""
    alike: dict[tuple[str, ...], list[Role]] = {}
    for role in Role:
        alike.setdefault(tuple(o for o, by in PERMISSIONS.items() if role in by), []).append(role)
    columns = list(alike.values())
    requests = _requests()
    who = [(f"`{role}`", *ROLES[role]) for role in Role]
    may = [
        (
            f"`{operation}`",
            f"`{requests[operation]}`",
            *("✓" if column[0] in allowed else "" for column in columns),
        )
        for operation, allowed in PERMISSIONS.items()
    ]
    heads = ("<br>".join(f"`{role}`" for role in column) for column in columns)
    return (
        f"{_MADE}# Roles\n\n"
        "A token has one role (`scope=role:<code>`), for one organization, in some territories:\n"
        "`GET /v1/me` shows them.\n\n"
        f"{_table(('code', 'en français', 'who it is'), *who)}\n\n"
        "## Who may call what\n\n"
        "No ✓ is 403 `role-lacks-operation`. With a ✓, organization, territory and side decide\n"
        "which slots, calls, bookings and patients there are; what is somebody else's is 404.\n\n"
        f"{_table(('operation', 'request', *heads), *may)}\n"
    )


# --- states ---------------------------------------------------------------------------------------

_CALL, _BOOKING = "/v1/calls/{id}", "/v1/bookings/{id}"

# The request behind each arrow.
BOOKING_REQUESTS: Mapping[Booking, str] = {
    Booking.REPORT_FULFILLED: f'`PUT {_BOOKING}/report` with `{{"state": "fulfilled"}}`',
    Booking.REPORT_NOSHOW: f'`PUT {_BOOKING}/report` with `{{"state": "noshow"}}`',
    Booking.CANCEL: f"`POST {_BOOKING}/cancellation`; an absence that covers it",
    Booking.RESCHEDULE: f"`POST {_BOOKING}/rescheduling`",
}
CALL_REQUESTS: Mapping[Call, str] = {
    Call.AMEND: f"`PATCH {_CALL}`",
    Call.REQUEST_CALLBACK: f'`PATCH {_CALL}` with `{{"callback_requested": true}}`;'
    " said when it is opened, the call begins in `awaiting_callback`",
    Call.WITHDRAW_CALLBACK: f'`PATCH {_CALL}` with `{{"callback_requested": false}}`,'
    " as long as nobody tried",
    Call.ASSIGN: f"`PUT {_CALL}/assignment`",
    Call.UNASSIGN: f"`DELETE {_CALL}/assignment`",
    Call.MISS: f'`POST {_CALL}/callbacks` with `{{"reached": false}}`',
    Call.REACH: f'`POST {_CALL}/callbacks` with `{{"reached": true}}`',
    Call.ADD_OUTCOME: f"`POST {_CALL}/outcomes`",
    Call.REMOVE_OUTCOME: f"`DELETE {_CALL}/outcomes/{{outcome}}`",
    Call.BOOK: "`POST /v1/bookings` with its `call_id`",
    Call.CLOSE: f"`POST {_CALL}/closure`",
    Call.VOID: f'`PATCH {_CALL}` with `{{"void": true}}`: opened by mistake',
}


def _machine(table: Mapping[Any, Mapping[Any, StrEnum]], requests: Mapping[Any, str]) -> str:
    lines = ["```mermaid", "stateDiagram-v2"]
    for state, actions in table.items():
        arrows: dict[str, list[str]] = {}
        for action, target in actions.items():
            arrows.setdefault(str(target), []).append(str(action))
        lines += [f"    {state} --> {target}: {', '.join(by)}" for target, by in arrows.items()]
        if not actions:
            lines.append(f"    {state} --> [*]")
    used = {action for actions in table.values() for action in actions}
    rows = ((f"`{action}`", told) for action, told in requests.items() if action in used)
    return "\n".join([*lines, "```", "", _table(("arrow", "request"), *rows)])


def states() -> str:
    """The state machines, from the tables in `domain.py`."""
    slot = ", ".join(f"`{state}`" for state in SlotState)
    return (
        f"{_MADE}# States\n\n"
        "What is not an arrow is refused with 409 and the state's name.\n\n"
        "## Bookings\n\nThe national states of an appointment.\n\n"
        f"{_machine(BOOKINGS, BOOKING_REQUESTS)}\n\n"
        f"## Calls\n\n{_machine(CALLS, CALL_REQUESTS)}\n\n"
        f"## Slots\n\nDerived from the row and the clock, never stored: {slot}.\n"
        "Withdrawn wins over past, past over full; `full` means that no seat is left within the\n"
        "capacity, booked or held; a hold that ends makes the slot `open` again.\n"
    )


# --- problems -------------------------------------------------------------------------------------

# What is no refusal of a room: the framework's, and our own faults.
_OTHERS = (
    (405, "method-not-allowed", "This path has no such method: `Allow` names those that it has."),
    (500, "defect", "This is our fault. It was recorded: give us the `request_id`."),
)
# Those of RFC 6749 that the domain does not raise.
_OAUTH = (
    (400, "invalid_request", "No form, or no `grant_type`."),
    (400, "unsupported_grant_type", "Only `client_credentials`, and token exchange."),
)


def _refusals(base: type[DomainError] = DomainError) -> Iterator[type[DomainError]]:
    for refusal in base.__subclasses__():
        yield from _refusals(refusal)
        if hasattr(refusal, "code"):
            yield refusal


def problems() -> str:
    """Every refusal: status, code, sentence. Those with an underscore are OAuth's."""
    for module in pkgutil.walk_packages(service.__path__, "service."):
        importlib.import_module(module.name)
    found: dict[tuple[int, str], list[str]] = {}
    told = {(status_of(r), r.code, r.title) for r in _refusals() if r.__module__ != "builtins"}
    for status, code, title in sorted({*told, *_OTHERS, *_OAUTH}):
        found.setdefault((status, code), []).append(title)

    def table(*, oauth: bool) -> str:
        return _table(
            ("status", "error" if oauth else "code", "meaning"),
            *(
                (str(status), f"`{code}`", " / ".join(titles))
                for (status, code), titles in found.items()
                if ("_" in code) is oauth
            ),
        )

    return (
        f"{_MADE}# Problems\n\n"
        "Refusals are RFC 9457 `application/problem+json`: `type` is `/problems/<code>`, `code`\n"
        "is stable, `errors[]` says where (JSON pointer or parameter) and what, other members may\n"
        "name what blocks. Answers with 429 and 503 carry `Retry-After`.\n\n"
        f"{table(oauth=False)}\n\n"
        "## Signing in\n\n"
        "`POST /oauth/token` says 400 and 401 in the language of OAuth instead (RFC 6749 §5.2):\n"
        "`application/json`, `error` is the code, `error_description` the sentence. Its other\n"
        "refusals, 429 too, are problems as above.\n\n"
        f"{table(oauth=True)}\n"
    )


# --- settings -------------------------------------------------------------------------------------


def settings() -> str:
    """Every setting with its default, and its values where they are few."""
    rows = []
    for name, field in Settings.model_fields.items():
        given = field.default
        text = json.dumps(given) if isinstance(given, dict) else given
        default = "" if given in (None, "", ()) else f"`{text}`"
        values = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
        choice = f" Values: {', '.join(f'`{value}`' for value in values)}." if values else ""
        rows.append((f"`SNP_{name.upper()}`", default, f"{field.description}{choice}"))
    return (
        f"{_MADE}# Settings\n\nEnvironment variables, read once at start.\n\n"
        f"{_table(('variable', 'default', 'meaning'), *rows)}\n"
    )


PAGES = {
    "roles.md": roles,
    "states.md": states,
    "problems.md": problems,
    "settings.md": settings,
}


def main() -> int:
    """Write the pages, or with `--check` tell which ones are not up to date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale = []
    for name, make in PAGES.items():
        path, text = DOCS / name, make()
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if not check:
            path.write_text(text, encoding="utf-8")
    if stale:
        print(f"{'Not up to date, run `make openapi`' if check else 'Written'}: {', '.join(stale)}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
