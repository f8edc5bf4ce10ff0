"""Names that the guide of the ANS gives: canonical URLs of profiles, identifier and code systems.

Two families of URLs live side by side in the guide. Where its versions 1.1.0 and 1.2.0 differ, both
spellings are here.
"""

FHIR_VERSION = "4.0.1"
MEDIA_TYPE = "application/fhir+json; charset=utf-8"

_SAS = "http://sas.fr/fhir/StructureDefinition"
_ANS = "https://interop.esante.gouv.fr/ig/fhir/sas"
_INTEROP = "http://interopsante.org/fhir/CodeSystem"
_NOS = "https://mos.esante.gouv.fr/NOS"
_HL7 = "http://terminology.hl7.org/CodeSystem"

# --- profiles: exactly one on each resource -----------------------------------------------------

BUNDLE = f"{_SAS}/BundleAgregateur"
SLOT = f"{_SAS}/FrSlotAgregateur"
SCHEDULE = f"{_SAS}/FrScheduleAgregateur"
PRACTITIONER = f"{_SAS}/FrPractitionerAgregateur"
PRACTITIONER_ROLE = f"{_SAS}/FrPractitionerRoleExerciceAgregateur"
LOCATION = f"{_SAS}/FrLocationAgregateur"
REGULATOR = f"{_ANS}/StructureDefinition/FrPractitionerRegul"
CPTS_BUNDLE = f"{_ANS}/StructureDefinition/sas-cpts-bundle-aggregator"
CPTS_SLOT = f"{_ANS}/StructureDefinition/sas-cpts-slot-aggregator"
CPTS_SERVICE = f"{_ANS}/StructureDefinition/sas-cpts-healthcareservice-aggregator"
CPTS_ORGANIZATION = f"{_ANS}/StructureDefinition/sas-cpts-organization-aggregator"
SOS_BUNDLE = f"{_ANS}/StructureDefinition/sas-sos-bundle-aggregator"
SOS_SLOT = f"{_ANS}/StructureDefinition/sas-sos-slot-aggregator"
SOS_SCHEDULE = f"{_ANS}/StructureDefinition/sas-sos-schedule-aggregator"
SOS_LOCATION = f"{_ANS}/StructureDefinition/sas-sos-location-aggregator"
SOS_ORGANIZATION = f"{_ANS}/StructureDefinition/sas-sos-organization-aggregator"
# What R5 says of `Slot.serviceType`, as an extension.
SERVICE_TYPE = "http://hl7.org/fhir/5.0/StructureDefinition/extension-Slot.serviceType"

# --- what this server is an instance of ---------------------------------------------------------

GUIDE = _ANS
INDIVIDUALS = f"{_ANS}/CapabilityStatement/SAS-GestionnaireAgenda-PsIndiv"
COMMUNITIES = f"{_ANS}/CapabilityStatement/SAS-GestionnaireAgenda-CPTS"
POINTS = f"{_ANS}/CapabilityStatement/SAS-GestionnaireAgenda-SOS"
STRUCTURES = f"{_ANS}/CapabilityStatement/SAS-GestionnaireStructure"
SLOT_START = f"{_ANS}/SearchParameter/slot-sp-start"

# --- identifiers --------------------------------------------------------------------------------

PRACTITIONER_ID = "urn:oid:1.2.250.1.71.4.2.1"  # IDNPS: 8 before an RPPS
STRUCTURE_ID = "urn:oid:1.2.250.1.71.4.2.2"  # IDNST: 1 before a FINESS, 3 before a SIRET
IDENTIFIER_TYPE = f"{_INTEROP}/fr-v2-0203"
LOCATION_IDENTIFIER_TYPE = f"{_INTEROP}/fr-location-identifier-type"
IDENTIFIER_TYPE_1_2 = "https://hl7.fr/ig/fhir/core/CodeSystem/fr-core-cs-v2-0203"

# --- codes --------------------------------------------------------------------------------------

VISIBILITY = f"{_NOS}/TRE_R314-TypeCreneau/FHIR/TRE-R314-TypeCreneau"
MODE = f"{_HL7}/v3-ActCode"
SPECIALTY = f"{_NOS}/TRE_R38-SpecialiteOrdinale/FHIR/TRE-R38-SpecialiteOrdinale"
STRUCTURE_CATEGORY = f"{_NOS}/TRE_R66-CategorieEtablissement/FHIR/TRE-R66-CategorieEtablissement"
CPTS = "604"
APPOINTMENT_TYPE = f"{_HL7}/v2-0276"
WALK_IN, ROUTINE = "WALKIN", "ROUTINE"
