"""Write the pages of docs/ that are made from the code: states, problems, settings.

`--check` writes nothing and fails when a page is not what the code says.
"""

import argparse
import importlib
import pkgutil
import sys
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

import service
from service.bookings.domain import TRANSITIONS as BOOKINGS
from service.calls.domain import TRANSITIONS as CALLS
from service.kernel.errors import DomainError
from service.kernel.http.problems import status_of
from service.kernel.settings import Settings
from service.slots.domain import SlotState

DOCS = Path(__file__).parent.parent / "docs"
_MADE = "<!-- Made by scripts/build_docs.py from the code: do not edit. -->\n\n"


def _machine(table: Mapping[Any, Mapping[Any, StrEnum]]) -> str:
    lines = ["```mermaid", "stateDiagram-v2"]
    for state, actions in table.items():
        arrows: dict[str, list[str]] = {}
        for action, target in actions.items():
            arrows.setdefault(str(target), []).append(str(action))
        lines += [f"    {state} --> {target}: {', '.join(by)}" for target, by in arrows.items()]
        if not actions:
            lines.append(f"    {state} --> [*]")
    return "\n".join([*lines, "```"])


def states() -> str:
    """The state machines, from the tables in `domain.py`."""
    slot = ", ".join(f"`{state}`" for state in SlotState)
    return (
        f"{_MADE}# States\n\n"
        "What is not an arrow is refused with 409 and the state's name.\n\n"
        f"## Bookings\n\nThe national states of an appointment.\n\n{_machine(BOOKINGS)}\n\n"
        f"## Calls\n\n{_machine(CALLS)}\n\n"
        f"## Slots\n\nDerived from the row and the clock, never stored: {slot}.\n"
        "Withdrawn wins over past, past over full; `full` means that no seat is left within the\n"
        "capacity, booked or held; a hold that ends makes the slot `open` again.\n"
    )


def _refusals(base: type[DomainError] = DomainError) -> Iterator[type[DomainError]]:
    for refusal in base.__subclasses__():
        yield from _refusals(refusal)
        if hasattr(refusal, "code"):
            yield refusal


def problems() -> str:
    """Every refusal: status, code, sentence."""
    for module in pkgutil.walk_packages(service.__path__, "service."):
        importlib.import_module(module.name)
    rows = sorted(
        {(status_of(r), r.code, r.title) for r in _refusals() if r.__module__ != "builtins"}
    )
    table = "\n".join(f"| {status} | `{code}` | {title} |" for status, code, title in rows)
    return (
        f"{_MADE}# Problems\n\n"
        "Refusals are RFC 9457 `application/problem+json`: `type` is `/problems/<code>`, `code`\n"
        "is stable, `errors[]` says where (JSON pointer or parameter) and what, other members may\n"
        "name what blocks. Answers with 429 and 503 carry `Retry-After`.\n\n"
        f"| status | code | meaning |\n|---|---|---|\n{table}\n"
    )


def settings() -> str:
    """Every setting with its default."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else f"`{field.default}`"
        rows.append(f"| `SNP_{name.upper()}` | {default} | {field.description} |")
    return (
        f"{_MADE}# Settings\n\nEnvironment variables, read once at start.\n\n"
        "| variable | default | meaning |\n|---|---|---|\n" + "\n".join(rows) + "\n"
    )


PAGES = {"states.md": states, "problems.md": problems, "settings.md": settings}


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
