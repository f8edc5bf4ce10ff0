"""JSON shapes of the room."""

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Self
from uuid import UUID

from pydantic import AfterValidator, ConfigDict, Field, computed_field, model_validator
from pydantic_core import PydanticCustomError

from service.directory import reference
from service.directory.domain import (
    LOCATIONS_OF_ONE,
    LocationDraft,
    OrganizationDraft,
    OrganizationType,
    PractitionerDraft,
    PractitionerStatus,
    finess_number,
    phone_number,
    rpps_number,
    siret_number,
)
from service.kernel.http.shapes import Answer, Body


def _read_by(read: Callable[[str], str | None], code: str, sentence: str) -> AfterValidator:
    """Normalise a text by a rule of the domain; say the sentence where the rule finds nothing."""

    def validate(text: str) -> str:
        found = read(text)
        if found is None:
            raise PydanticCustomError(code, sentence)
        return found

    return AfterValidator(validate)


def _listed_in(name: str) -> Callable[[str], str | None]:
    return lambda code: code if code in reference.code_list(name) else None


def _commune(code: str) -> str | None:
    return code if reference.commune(code) else None


def _once_each(ids: list[UUID]) -> list[UUID]:
    return list(dict.fromkeys(ids))


# No control characters: PostgreSQL keeps no NUL, and a name is one line.
_LINE = r"^[^\x00-\x1f\x7f]+$"

Name = Annotated[str, Field(min_length=1, max_length=200, pattern=_LINE)]
TerritoryCode = Annotated[
    str, Field(pattern=r"^[0-9A-Za-z]{2,3}$", description="National code.", examples=["36"])
]
Rpps = Annotated[
    str,
    Field(
        max_length=20,
        description="11 digits, or the prefixed form of 12 digits; kept and answered bare.",
        examples=["10005681340"],
    ),
    _read_by(rpps_number, "rpps", "An RPPS number has 11 digits (12 with the prefix 8)."),
]
Finess = Annotated[
    str,
    Field(max_length=15, examples=["360000053"]),
    _read_by(finess_number, "finess", "A FINESS number has 9 characters: 360000053, 2A0000014."),
]
Siret = Annotated[
    str,
    Field(max_length=30, examples=["34173748400020"]),
    _read_by(siret_number, "siret", "A SIRET has 14 digits, and its key fits."),
]
Phone = Annotated[
    str,
    Field(max_length=30, examples=["+33254000000"]),
    _read_by(phone_number, "phone", "Not a possible phone number: write +33254000000."),
]
CommuneCode = Annotated[
    str,
    Field(max_length=5, description="INSEE code.", examples=["36044"]),
    _read_by(_commune, "unknown_commune", "No commune has this INSEE code."),
]
Specialty = Annotated[
    str,
    Field(max_length=10, examples=["SM54"]),
    _read_by(
        _listed_in("specialties"), "unknown_code", "Not a specialty of the list JDV_J239 (SAS)."
    ),
]
Profession = Annotated[
    str,
    Field(max_length=10, description="`10` physician, `21` pharmacist...", examples=["10"]),
    _read_by(_listed_in("professions"), "unknown_code", "Not a profession of the list TRE_G15."),
]
PostalCode = Annotated[str, Field(pattern=r"^[0-9]{5}$", examples=["36000"])]
Latitude = Annotated[float, Field(ge=-90, le=90, description="WGS 84. Default: the commune's.")]
Longitude = Annotated[float, Field(ge=-180, le=180, description="WGS 84.")]
Communities = Annotated[
    list[UUID],
    Field(max_length=50, description="CPTS that it is a member of."),
    AfterValidator(_once_each),
]
Places = Annotated[
    list[UUID],
    Field(max_length=LOCATIONS_OF_ONE, description="Locations where they work: all of them."),
]


class _Patch(Body):
    """JSON merge patch (RFC 7396): the members to change; `null` removes what may be absent."""

    nullable: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="after")
    def _nothing_required_is_removed(self) -> Self:
        for name in self.model_fields_set - self.nullable:
            if getattr(self, name) is None:
                raise PydanticCustomError("required", "{name} cannot be removed.", {"name": name})
        return self

    def changes(self) -> dict[str, Any]:
        """Return the members that were sent."""
        return {name: getattr(self, name) for name in self.model_fields_set}


# --- territories --------------------------------------------------------------------------------


class TerritoryOut(Answer):
    """The area of one SAS."""

    id: str = Field(description="National code.", examples=["36"])
    name: str
    region: str | None
    zone: str = Field(description="IANA time zone.", examples=["Europe/Paris"])
    default_radius_km: float = Field(description="How far a search looks unless told.")
    enlargement_km: float = Field(description="How much farther when it found nothing.")


# --- organizations ------------------------------------------------------------------------------


class OrganizationIn(Body):
    """An organization of one territory: a practice, a pharmacy, a CPTS, a regulation centre..."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "territory": "36",
                    "type": "pharmacy",
                    "name": "Pharmacie de la Gare",
                    "commune": "36044",
                    "phone": "+33254000000",
                }
            ]
        }
    )

    territory: TerritoryCode
    type: OrganizationType
    name: Name
    finess: Finess | None = None
    siret: Siret | None = None
    commune: CommuneCode | None = None
    phone: Phone | None = None
    cpts_ids: Communities = Field(default=[])
    active: bool = True

    def draft(self) -> OrganizationDraft:
        """Return the organization as the use cases want it."""
        return OrganizationDraft(**{**dict(self), "cpts_ids": tuple(self.cpts_ids)})


class OrganizationPatch(_Patch):
    """What may change; an organization never leaves its territory."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "Pharmacie du Pont", "phone": "+33254000001"}]}
    )

    nullable = frozenset({"finess", "siret", "commune", "phone"})

    type: OrganizationType | None = None
    name: Name | None = None
    finess: Finess | None = None
    siret: Siret | None = None
    commune: CommuneCode | None = None
    phone: Phone | None = None
    cpts_ids: Communities | None = None
    active: bool | None = None

    def changes(self) -> dict[str, Any]:
        """Return the members that were sent."""
        sent = super().changes()
        if self.cpts_ids is not None:
            sent["cpts_ids"] = tuple(self.cpts_ids)
        return sent


def _commune_name(code: str | None) -> str | None:
    found = reference.commune(code) if code else None
    return found.name if found else None


class OrganizationOut(Answer):
    """An organization."""

    id: UUID
    territory: str
    type: OrganizationType
    name: str
    finess: str | None
    siret: str | None
    commune: str | None = Field(description="INSEE code.")
    phone: str | None
    cpts_ids: list[UUID]
    active: bool = Field(description="False: closed; kept because the past names it.")
    version: int

    @computed_field(description="The commune's name today; null if its code has ended.")  # type: ignore[prop-decorator]  # mypy wants @property on top
    @property
    def commune_name(self) -> str | None:
        """Return the name that goes with the INSEE code."""
        return _commune_name(self.commune)


# --- practitioners ------------------------------------------------------------------------------


class PractitionerIn(Body):
    """A practitioner, by exercise name, with the places where they work."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "rpps": "10005681340",
                    "family_name": "Épreuve",
                    "given_name": "Camille",
                    "specialty": "SM54",
                    "territory": "36",
                    "location_ids": ["01938c1e-7a31-7d02-9a41-5f4f0f2f3c22"],
                }
            ]
        }
    )

    rpps: Rpps
    family_name: Name
    given_name: Name
    profession: Profession = "10"
    specialty: Specialty | None = None
    status: PractitionerStatus = PractitionerStatus.SELF_EMPLOYED
    territory: TerritoryCode
    active: bool = True
    location_ids: Places = Field(default=[])

    def draft(self) -> PractitionerDraft:
        """Return the practitioner as the use cases want it."""
        return PractitionerDraft(**{**dict(self), "location_ids": frozenset(self.location_ids)})


class PractitionerPatch(_Patch):
    """What may change; `location_ids` names all their places anew."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"specialty": "SM54", "active": True}]}
    )

    nullable = frozenset({"specialty"})

    rpps: Rpps | None = None
    family_name: Name | None = None
    given_name: Name | None = None
    profession: Profession | None = None
    specialty: Specialty | None = None
    status: PractitionerStatus | None = None
    territory: TerritoryCode | None = None
    active: bool | None = None
    location_ids: Places | None = None

    def changes(self) -> dict[str, Any]:
        """Return the members that were sent."""
        sent = super().changes()
        if self.location_ids is not None:
            sent["location_ids"] = frozenset(self.location_ids)
        return sent


class PractitionerOut(Answer):
    """A practitioner."""

    id: UUID
    rpps: str = Field(description="11 digits.")
    family_name: str
    given_name: str
    profession: str = Field(description="TRE_G15.")
    specialty: str | None = Field(description="JDV_J239.")
    status: PractitionerStatus
    territory: str
    active: bool = Field(description="False: no longer practises; the past names them.")
    location_ids: Annotated[list[UUID], AfterValidator(sorted)]
    version: int


# --- locations ----------------------------------------------------------------------------------


class _Positioned(Body):
    """Both coordinates, or neither."""

    @model_validator(mode="after")
    def _whole_position(self) -> Self:
        sent = self.model_fields_set & {"latitude", "longitude"}
        missing = sum(getattr(self, name, None) is None for name in ("latitude", "longitude"))
        if len(sent) == 1 or missing == 1:
            raise PydanticCustomError("half_position", "Latitude and longitude come together.")
        return self


class LocationIn(_Positioned):
    """A place of an organization. Without coordinates it is where its commune is."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "organization_id": "01938c1e-7a30-7cc1-8c35-0a6a4f3a1b11",
                    "name": "Cabinet de la Gare",
                    "address": "1 place de la Gare",
                    "postal_code": "36000",
                    "commune": "36044",
                    "reduced_mobility": True,
                }
            ]
        }
    )

    organization_id: UUID
    name: Name
    address: Name | None = None
    postal_code: PostalCode | None = None
    commune: CommuneCode
    latitude: Latitude | None = None
    longitude: Longitude | None = None
    reduced_mobility: bool = Field(
        default=False, description="Accessible to people with reduced mobility."
    )
    phone: Phone | None = None
    active: bool = True

    def draft(self) -> LocationDraft:
        """Return the place as the use cases want it."""
        return LocationDraft(**dict(self))


class LocationPatch(_Positioned, _Patch):
    """What may change; a place never leaves its organization. No coordinates: the commune's."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"phone": "+33254000000", "reduced_mobility": True}]}
    )

    nullable = frozenset({"address", "postal_code", "latitude", "longitude", "phone"})

    name: Name | None = None
    address: Name | None = None
    postal_code: PostalCode | None = None
    commune: CommuneCode | None = None
    latitude: Latitude | None = None
    longitude: Longitude | None = None
    reduced_mobility: bool | None = None
    phone: Phone | None = None
    active: bool | None = None


class LocationOut(Answer):
    """Where care is given."""

    id: UUID
    organization_id: UUID
    territory: str = Field(description="Its organization's.")
    name: str
    address: str | None
    postal_code: str | None
    commune: str = Field(description="INSEE code.")
    latitude: float
    longitude: float
    reduced_mobility: bool
    phone: str | None
    active: bool = Field(description="False: closed; the past names it.")
    version: int

    @computed_field(description="The commune's name today; null if its code has ended.")  # type: ignore[prop-decorator]  # mypy wants @property on top
    @property
    def commune_name(self) -> str | None:
        """Return the name that goes with the INSEE code."""
        return _commune_name(self.commune)


class PractitionerCard(Answer):
    """Who sees the patient, inside a slot or a booking."""

    id: UUID
    rpps: str
    family_name: str
    given_name: str
    specialty: str | None


class LocationCard(Answer):
    """Where care is given, inside a slot or a booking."""

    id: UUID
    name: str
    address: str | None
    postal_code: str | None
    commune: str = Field(description="INSEE code.")
    latitude: float
    longitude: float
    reduced_mobility: bool = Field(description="Accessible to people with reduced mobility.")
    phone: str | None
