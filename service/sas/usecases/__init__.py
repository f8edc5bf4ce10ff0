"""Use cases: `regulators` whom SAS tells of, and `appointments` that it is told."""

from service.sas.usecases.appointments import consume, health, measures, retry, sweep
from service.sas.usecases.regulators import create, put

__all__ = ["consume", "create", "health", "measures", "put", "retry", "sweep"]
