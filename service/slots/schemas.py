"""JSON shapes of the room."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic import ConfigDict, Field, JsonValue, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from service.directory import LocationCard, OrganizationType, PractitionerCard, reference
from service.directory.parts import location_card, practitioner_card
from service.kernel.http.shapes import Answer, Body, Instant, Parameters, local
from service.kernel.paging import DEFAULT_LIMIT, MAX_LIMIT
from service.kernel.prepared import Row
from service.slots.domain import (
    AUDIENCES_ASKED,
    BATCH,
    HOLD_DEFAULT_SECONDS,
    HOLD_LONGEST_SECONDS,
    RADIUS_LONGEST_KM,
    Audience,
    Exposure,
    Hold,
    Mode,
    Slot,
    SlotDraft,
    SlotState,
    Visibility,
    state_of,
)
from service.slots.domain.release import (
    LONGEST_MINUTES,
    MOST_STEPS,
    SHORTEST_MINUTES,
    ReleaseTo,
    Step,
)

_STEP: dict[str, JsonValue] = {"minutes_before": 60, "to": "PUBLIC"}


class StepIn(Body):
    """One step of a release: what happens so many minutes before the start, if a seat is left."""

    model_config = ConfigDict(json_schema_extra={"examples": [_STEP]})

    minutes_before: int = Field(ge=SHORTEST_MINUTES, le=LONGEST_MINUTES)
    to: ReleaseTo = Field(
        description="A label to add (TRE_R314), or `GIVE_BACK`: the slot is withdrawn; booked seats"
        " stay, and no more are given. It is the last step."
    )


Release = Annotated[
    list[StepIn],
    Field(
        max_length=MOST_STEPS,
        description="Steps towards the start, each nearer to it. Null or none: never.",
    ),
]


def steps(release: Sequence[StepIn] | None) -> tuple[Step, ...]:
    """Return a release as the use cases want it."""
    return tuple(Step(step.minutes_before, step.to) for step in release or ())


Modes = Annotated[list[Mode], Field(min_length=1, max_length=3)]
Labels = Annotated[list[Visibility], Field(min_length=1, max_length=4)]
Seats = Annotated[int, Field(ge=1, le=200)]
Extra = Annotated[int, Field(ge=0, le=50)]
Note = Annotated[str, Field(max_length=500, description="For whoever books. Nothing personal.")]
Ids = Annotated[list[UUID], Field(max_length=50)]
Types = Annotated[list[OrganizationType], Field(max_length=20)]


def _specialty(value: str | None) -> str | None:
    if value is not None and value not in reference.code_list("specialties"):
        raise PydanticCustomError("unknown_code", "Not a specialty of the list JDV_J239 (SAS).")
    return value


_EXAMPLE: dict[str, JsonValue] = {
    "practitioner_id": "01938c1e-7a30-7cc1-8c35-0a6a4f3a1b11",
    "location_id": "01938c1e-7a31-7d02-9a41-5f4f0f2f3c22",
    "starts_at": "2026-12-01T14:00:00+01:00",
    "ends_at": "2026-12-01T14:20:00+01:00",
    "modes": ["AMB"],
    "visibility": ["SNP", "PRO"],
}
_NEXT: dict[str, JsonValue] = {
    "starts_at": "2026-12-01T14:20:00+01:00",
    "ends_at": "2026-12-01T14:40:00+01:00",
}


class SlotIn(Body):
    """Room for `capacity` patients at one place between two instants. Hidden (SNP) by default."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    practitioner_id: UUID | None = Field(
        None, description="Who sees the patient; may be unnamed for csnp and sos only."
    )
    location_id: UUID
    starts_at: Instant
    ends_at: Instant
    modes: Modes = Field(default=[Mode.AMB], description="AMB practice, HH home, VR video.")
    visibility: Labels = Field(
        default=[Visibility.SNP], description="National labels TRE_R314; they add up."
    )
    capacity: Seats = 1
    overbooking: Extra = 0
    cpts_ids: Ids = Field(default=[], description="Communities that the label CPTS admits.")
    organization_types: Types = Field(default=[], description="Narrows PRO and CPTS.")
    organization_ids: Ids = Field(default=[], description="Narrows PRO and CPTS.")
    specialty: str | None = Field(None, examples=["SM54"])
    walk_in: bool = Field(default=False, description="Listed, never held or booked.")
    note: Note | None = None
    release: Release | None = None
    external_id: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(
        None, description="The practice software's id: publishing it again updates the slot."
    )

    _known_specialty = field_validator("specialty")(_specialty)

    def draft(self) -> SlotDraft:
        """Return the slot as the use cases want it."""
        return SlotDraft(
            practitioner_id=self.practitioner_id,
            location_id=self.location_id,
            starts_at=self.starts_at,
            ends_at=self.ends_at,
            modes=tuple(dict.fromkeys(self.modes)),
            specialty=self.specialty,
            audience=Audience(
                tuple(dict.fromkeys(self.visibility)),
                tuple(self.cpts_ids),
                tuple(self.organization_types),
                tuple(self.organization_ids),
            ),
            capacity=self.capacity,
            overbooking=self.overbooking,
            walk_in=self.walk_in,
            note=self.note,
            external_id=self.external_id,
            release=steps(self.release),
        )


class SlotBatchIn(Body):
    """Several slots, all or none."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"slots": [_EXAMPLE, {**_EXAMPLE, **_NEXT}]}]}
    )

    slots: list[SlotIn] = Field(min_length=1, max_length=BATCH)


_NULLABLE = frozenset({"specialty", "note", "release"})


class SlotPatch(Body):
    """JSON merge patch (RFC 7396) of a slot: only the members to change."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"visibility": ["SNP", "PRO"], "note": "Entrée par la cour"}]
        }
    )

    location_id: UUID | None = None
    starts_at: Instant | None = None
    ends_at: Instant | None = None
    modes: Modes | None = None
    visibility: Labels | None = None
    capacity: Seats | None = None
    overbooking: Extra | None = None
    cpts_ids: Ids | None = None
    organization_types: Types | None = None
    organization_ids: Ids | None = None
    specialty: str | None = None
    walk_in: bool | None = None
    note: Note | None = None
    release: Release | None = None

    _known_specialty = field_validator("specialty")(_specialty)

    @field_validator("*", mode="before")
    @classmethod
    def _stays(cls, value: Any, info: ValidationInfo) -> Any:
        if value is None and info.field_name not in _NULLABLE:
            raise PydanticCustomError("required", "This member cannot be removed.")
        return value

    def changes(self) -> dict[str, Any]:
        """Return the members that were sent."""
        sent = {name: getattr(self, name) for name in self.model_fields_set}
        given = {n: list(dict.fromkeys(v)) if isinstance(v, list) else v for n, v in sent.items()}
        return given | ({"release": steps(self.release)} if "release" in sent else {})


class HoldIn(Body):
    """How long to keep the seat."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"seconds": 180}]})

    seconds: int = Field(HOLD_DEFAULT_SECONDS, ge=1, le=HOLD_LONGEST_SECONDS)


class VisibilityWarning(Answer):
    """Why nobody, or fewer than meant, could see or book the slot."""

    code: str = Field(
        description="`nobody-can-see`, `cpts-not-named`, `cpts-without-label`,"
        " `narrowing-without-effect`, `walk-in`."
    )
    detail: str


class StepOut(Answer):
    """One step of a release."""

    minutes_before: int
    to: ReleaseTo


class AdmittedOut(Answer):
    """Who could see a slot: grants in force by role and kind of organization, your side's not."""

    role: str
    organization_type: str
    grants: int


class SlotOut(Answer):
    """A slot. What only its own side may know is null for the others."""

    id: UUID
    state: SlotState
    territory: str
    practitioner: PractitionerCard | None
    practitioner_id: UUID | None
    location: LocationCard
    location_id: UUID
    organization_id: UUID
    starts_at: datetime = Field(description="In the territory's zone.")
    ends_at: datetime
    modes: list[Mode]
    specialty: str | None
    visibility: list[Visibility] = Field(description="As published.")
    effective_visibility: list[Visibility] = Field(
        description="Now: with the labels that the slot's release has added."
    )
    capacity: int
    overbooking: int
    remaining: int = Field(description="capacity - booked - live holds.")
    walk_in: bool
    note: str | None
    version: int
    distance_km: float | None = Field(None, description="Great circle; only with a centre.")
    booked: int | None = Field(None, description="Own side only.")
    held: int | None = Field(None, description="Own side only: live holds.")
    cpts_ids: list[UUID] | None = None
    organization_types: list[OrganizationType] | None = None
    organization_ids: list[UUID] | None = None
    external_id: str | None = None
    release: list[StepOut] | None = Field(None, description="Own side only.")
    session_id: UUID | None = Field(
        None, description="Own side only: the session that made it; null when published alone."
    )
    visibility_warnings: list[VisibilityWarning] | None = Field(None, description="Own side only.")
    who_can: list[AdmittedOut] | None = Field(
        None,
        description="Own side only: who else could see it now. Null too for what is left when one"
        f" answer has more than {AUDIENCES_ASKED} different audiences: ask for that slot alone.",
    )


class SearchIn(Parameters):
    """What a caller looks for."""

    from_: Annotated[Instant | None, Field(alias="from", description="Default: now.")] = None
    to: Annotated[Instant | None, Field(description="Default: from + 72 h; at most 14 d.")] = None
    territory: Annotated[str | None, Field(max_length=3, examples=["36"])] = None
    near: Annotated[
        str | None,
        Field(description="`latitude,longitude`; wins over `commune`.", examples=["46.81,1.69"]),
    ] = None
    commune: Annotated[str | None, Field(description="INSEE code.", examples=["36044"])] = None
    radius_km: Annotated[
        float | None,
        Field(
            gt=0, le=RADIUS_LONGEST_KM, description="Default: the territory's `default_radius_km`."
        ),
    ] = None
    mode: Mode | None = None
    specialty: Annotated[str | None, Field(max_length=10)] = None
    cpts: UUID | None = None
    practitioner: UUID | None = None
    reduced_mobility: bool = False
    sort: Literal["start", "distance"] = "start"
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT
    cursor: Annotated[str | None, Field(max_length=500)] = None


_Told = Annotated[str | None, Field(max_length=200)]


class ContextIn(Parameters):
    """What regulation software knows when it opens a search (INT_L01)."""

    origin: Annotated[_Told, Field(description="Who sends it; its token says that already.")] = None
    practitioner: Annotated[
        _Told,
        Field(
            description="Preferred doctor: `urn:oid:1.2.250.1.71.4.2.1|8` and the RPPS. A name is"
            " not used.",
            examples=["urn:oid:1.2.250.1.71.4.2.1|810005681340"],
        ),
    ] = None
    specialty: Annotated[
        _Told,
        Field(description="`urn:oid:…|SM54`. Words are not used.", examples=["SM54"]),
    ] = None
    streetnumber: Annotated[_Told, Field(description="Not used: do not send it.")] = None
    streetname: Annotated[_Told, Field(description="Not used: do not send it.")] = None
    inseecode: Annotated[
        _Told, Field(description="The search begins at this commune's centre.", examples=["36044"])
    ] = None
    city: Annotated[_Told, Field(description="Not used: the INSEE code says it.")] = None


class EntryOut(Answer):
    """Where to search, ready to be asked for with the same token."""

    search: str = Field(
        description="Near the commune, by distance, in the territory's radius; without one, in all"
        " territories of the caller."
    )
    preferred: str | None = Field(
        description="The slots of the preferred doctor, wherever; null if nobody here is that."
    )
    unused: list[str] = Field(description="Parameters that were sent and changed nothing.")


class SlotBatchOut(Answer):
    """The slots published together."""

    slots: list[SlotOut]


class SearchOut(Answer):
    """A page of what I may book."""

    items: list[SlotOut]
    next_cursor: str | None
    next_radius_km: float | None = Field(
        None, description="When nothing fits near the centre: the radius to try next."
    )


class ListedOut(Answer):
    """One day of the slot's zone."""

    day: date
    listed: int


class ExposureOut(Answer):
    """Why does nobody see my slot: who can, since when, and how often it was shown."""

    slot_id: UUID
    state: SlotState
    visibility_warnings: list[VisibilityWarning]
    who_can: list[AdmittedOut]
    visible_since: datetime | None = Field(
        description="Since when those who can see it can: published, released, or labels or"
        " territory last changed, whether anybody is granted that now or not (`who_can`). Null once"
        " withdrawn."
    )
    listed: int = Field(
        description="How often it stood in the answer to a search by another organization: once"
        " for each page. Counted in memory and written every few seconds; a crash loses those."
    )
    listed_by_day: list[ListedOut]
    booked_elsewhere_meanwhile: int | None = Field(
        description="Bookings with others, made since `visible_since` while this slot had room, by"
        " organizations that can see it: in the same territory, within its default radius, for a"
        " start within 24 hours of this one. Modes and specialties are not compared. Null once"
        " withdrawn."
    )


class HoldOut(Answer):
    """A seat kept until `expires_at`."""

    id: UUID
    slot_id: UUID
    expires_at: datetime


_OWN_SIDE = dict.fromkeys(
    (
        "booked",
        "held",
        "cpts_ids",
        "organization_types",
        "organization_ids",
        "external_id",
        "release",
        "session_id",
        "visibility_warnings",
        "who_can",
    )
)


def slot_out(slot: Slot, *, mine: bool) -> SlotOut:
    """Render a slot for its own side or for those who may book it."""
    own_side = {
        "booked": slot.booked,
        "held": slot.held,
        "cpts_ids": slot.audience.cpts_ids,
        "organization_types": slot.audience.organization_types,
        "organization_ids": slot.audience.organization_ids,
        "external_id": slot.external_id,
        "release": slot.release,
        "session_id": slot.session_id,
        "visibility_warnings": slot.visibility_warnings,
        "who_can": slot.who_can,
    }
    return SlotOut.model_validate(
        {
            "id": slot.id,
            "state": slot.state,
            "territory": slot.territory,
            "practitioner": slot.practitioner,
            "practitioner_id": slot.practitioner_id,
            "location": slot.location,
            "location_id": slot.location_id,
            "organization_id": slot.organization_id,
            "starts_at": local(slot.starts_at, slot.zone),
            "ends_at": local(slot.ends_at, slot.zone),
            "modes": slot.modes,
            "specialty": slot.specialty,
            "visibility": slot.audience.visibility,
            "effective_visibility": slot.effective.visibility,
            "capacity": slot.capacity,
            "overbooking": slot.overbooking,
            "remaining": slot.remaining,
            "walk_in": slot.walk_in,
            "note": slot.note,
            "version": slot.version,
            **(own_side if mine else {}),
        }
    )


def found(row: Row) -> dict[str, Any]:
    """Render a row of a search: the members of a `SlotOut`, ready for JSON.

    Twenty slots made into objects, validated and dumped again took a third of a search's time; a
    test holds these members against `GET /slots/{id}`.
    """
    remaining = max(0, row["capacity"] - row["booked"] - row["held"])
    zone, distance = ZoneInfo(row["zone"]), row["distance_km"]
    return {
        "id": row["id"],
        # A search finds no slot that was withdrawn or has started.
        "state": state_of(withdrawn=False, started=False, remaining=remaining),
        "territory": row["territory"],
        "practitioner": practitioner_card(row),
        "practitioner_id": row["practitioner_id"],
        "location": location_card(row),
        "location_id": row["location_id"],
        "organization_id": row["organization_id"],
        "starts_at": row["starts_at"].astimezone(zone),
        "ends_at": row["ends_at"].astimezone(zone),
        "modes": row["modes"],
        "specialty": row["specialty"],
        "visibility": row["visibility"],
        "effective_visibility": row["effective_visibility"],
        "capacity": row["capacity"],
        "overbooking": row["overbooking"],
        "remaining": remaining,
        "walk_in": row["walk_in"],
        "note": row["note"],
        "version": row["version"],
        "distance_km": None if distance is None else round(distance, 1),
        **_OWN_SIDE,
    }


def exposure_out(exposure: Exposure) -> ExposureOut:
    """Render who can see a slot."""
    slot, since = exposure.slot, exposure.visible_since
    return ExposureOut.model_validate(
        {
            "slot_id": slot.id,
            "state": slot.state,
            "visibility_warnings": slot.visibility_warnings,
            "who_can": slot.who_can,
            "visible_since": since and local(since, slot.zone),
            "listed": sum(times for _, times in exposure.listed),
            "listed_by_day": [{"day": day, "listed": times} for day, times in exposure.listed],
            "booked_elsewhere_meanwhile": exposure.booked_elsewhere_meanwhile,
        }
    )


def hold_out(hold: Hold) -> HoldOut:
    """Render a hold."""
    return HoldOut(id=hold.id, slot_id=hold.slot_id, expires_at=local(hold.expires_at, hold.zone))
