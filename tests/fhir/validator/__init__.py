"""Does a resource keep the rules of a guide? Read from its snapshots, said by path and rule.

What is checked, along every element: who it is (unknown ones are refused), how often it comes, its
type, fixed values and patterns, required value sets, lengths, slices, invariants, references and
what they may point at, the order of a Bundle. What cannot be checked for want of a definition is
a finding, too. Displays, extensible bindings and the French data types' own profiles (FrHumanName,
FrAddress, FrContactPoint: not among the guides' files) are not looked at.
"""

from tests.fhir.validator.guide import GUIDES, Guide
from tests.fhir.validator.walk import Finding, findings

__all__ = ["GUIDES", "Finding", "Guide", "findings"]
