"""What the API description says of FHIR; the guide of the ANS says the rest."""

from pydantic import BaseModel, ConfigDict, Field


class Concept(BaseModel):
    """What is wrong: our own stable code (docs/problems.md), and in words."""

    coding: list[dict[str, str]]
    text: str


class Issue(BaseModel):
    """One thing wrong."""

    severity: str
    code: str = Field(description="Of FHIR's value set `issue-type`.")
    details: Concept
    diagnostics: str | None = None


class OperationOutcome(BaseModel):
    """FHIR R4 OperationOutcome: every refusal under `/fhir`."""

    resourceType: str  # noqa: N815  FHIR's name
    issue: list[Issue]


class FhirResource(BaseModel):
    """A FHIR R4 resource, as the guide "Service d'Accès aux Soins" of the ANS profiles it."""

    model_config = ConfigDict(extra="allow")

    resourceType: str  # noqa: N815  FHIR's name
