"""Unmet needs beside unused seats: the shape of the answer, and its lines as a table."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from service.analytics.domain import UnmetBy, UnmetNeeds
from service.analytics.schemas.shapes import Count, PeriodOut
from service.analytics.schemas.tables import Code, Table, kind
from service.directory import reference
from service.kernel.http.shapes import Answer


class UnmetLineOut(Answer):
    """One motive, mode, reason, commune, day (`2026-12-01`), hour (`08`), or commune and day."""

    key: str
    label: str | None = Field(None, description="In French, but of a day or an hour.")
    needs: int
    unused_seats: int | None = Field(description="Null where slots have no such thing.")


class UnmetNeedsOut(PeriodOut):
    """What nobody had room for, beside the seats that nobody used, computed from rows."""

    territory: str
    synthetic: bool = Field(description="True: every row of this database is invented.")
    needs: Count = Field(description="By the start of the wanted window, where the patient is.")
    needs_with_open_slots: Count = Field(
        description="Of these, recorded although a slot of the wanted mode and specialty was open."
    )
    unused_seats: Count = Field(
        description="Of slots that have started: neither booked nor withdrawn; no walk-ins."
    )
    by_motive: list[UnmetLineOut] | None
    by_mode: list[UnmetLineOut] | None
    by_reason: list[UnmetLineOut] | None
    by_commune: list[UnmetLineOut] | None
    by_day: list[UnmetLineOut] | None
    by_hour: list[UnmetLineOut] | None
    by_commune_day: list[UnmetLineOut] | None = Field(
        description="Where and when there were needs."
    )


def unmet_needs_members(found: UnmetNeeds) -> dict[str, Any]:
    """Return the members of the answer that say what was counted."""
    return {
        "needs": found.needs,
        "needs_with_open_slots": found.needs_with_open_slots,
        "unused_seats": found.unused_seats,
        **{
            f"by_{by}": [
                {
                    "key": line.key,
                    "label": _label(by, line.key),
                    "needs": line.needs,
                    "unused_seats": line.unused_seats,
                }
                for line in lines
            ]
            for by in UnmetBy
            for lines in [found.lines.get(by, ())]
        },
    }


_LISTS = {
    UnmetBy.MOTIVE: "motives",
    UnmetBy.MODE: "modes",
    UnmetBy.REASON: "unmet_need_reasons",
}


def _label(by: UnmetBy, key: str) -> str | None:
    if by in _LISTS:
        code = reference.code_list(_LISTS[by]).get(key)
        return code.label if code else None
    if by in {UnmetBy.COMMUNE, UnmetBy.COMMUNE_DAY}:
        commune = reference.commune(key.partition(" ")[0])
        return commune.name if commune else None
    return None


def unmet_needs_table(answer: Mapping[str, Any]) -> Table:
    """Lay the answer out: everything in the first row, then one row a line; `by` says of what."""
    context = {name: answer[name] for name in ("territory", "synthetic", "from", "to")}
    context["territory"] = Code(context["territory"])
    counts = {"needs": answer["needs"], "unused_seats": answer["unused_seats"]}
    rows: list[dict[str, Any]] = [{"by": None, "key": None, "label": None, **counts}]
    rows += (
        {"by": str(by), **line, "key": kind(by, line["key"])}
        for by in UnmetBy
        for line in answer[f"by_{by}"] or ()
    )
    named = ("by", "key", "label")
    header = [*named, *context, *counts]
    return Table(header, [[{**context, **row}[name] for name in header] for row in rows])
