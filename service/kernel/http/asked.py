"""Query parameters that are read all at once.

FastAPI validates the parameters of a signature one after the other; for the fourteen of a search
that took longer than its rows. A model of them is validated in one step, and documented alike.
"""

from typing import Any, Generic, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from service.kernel.http.shapes import Parameters

_SCHEMAS = "#/components/schemas/{model}"

M = TypeVar("M", bound=Parameters)


class Asked(Generic[M]):
    """A dependency that reads the query into a model. Refuses as FastAPI does: 422, where, what."""

    def __init__(self, model: type[M]) -> None:
        self._model = model
        self.documented: list[dict[str, Any]] = [
            {
                "name": name,
                "in": "query",
                "required": False,
                "schema": schema,
                **({"description": schema["description"]} if "description" in schema else {}),
            }
            for name, schema in model.model_json_schema(ref_template=_SCHEMAS)["properties"].items()
        ]
        self.names = frozenset(parameter["name"] for parameter in self.documented)

    async def __call__(self, request: Request) -> M:
        """Read the query of a request."""
        try:
            return self._model.model_validate(dict(request.query_params))
        except ValidationError as error:
            raise RequestValidationError(
                [{**wrong, "loc": ("query", *wrong["loc"])} for wrong in error.errors()]
            ) from None
