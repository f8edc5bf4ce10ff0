"""HTTP: national code lists, verbatim, with French labels. They change with a release only."""

import hashlib
from functools import cache
from typing import Any

from fastapi import APIRouter, Response
from pydantic import Field

from service.directory import reference
from service.directory.domain import CodeListNotFound
from service.identity.http import CurrentActor, Guarded, refusals
from service.kernel.http.deps import IfNoneMatch, is_known
from service.kernel.http.shapes import Answer

router = APIRouter(prefix="/v1", tags=["directory"], route_class=Guarded)

_KEPT = "private, max-age=86400"
_UNCHANGED: dict[int | str, dict[str, Any]] = {
    304: {"description": "`If-None-Match` names the list as it is."}
}


class CodeOut(Answer):
    """One code, as the national list has it."""

    code: str
    label: str = Field(description="In French.")
    parent: str | None = Field(description="The code that it refines.")


class CodeListOut(Answer):
    """A national code list, in the national order."""

    name: str
    items: list[CodeOut]


class CodeListNameOut(Answer):
    """A list that there is."""

    name: str = Field(examples=["motives"])
    codes: int = Field(description="How many codes it has.")


class CodeListsOut(Answer):
    """The lists that there are."""

    items: list[CodeListNameOut]


@router.get("/code-lists", operation_id="directory.list_code_lists", responses=refusals())
async def list_code_lists(_: CurrentActor, response: Response) -> CodeListsOut:
    """List the names of the national code lists."""
    response.headers["Cache-Control"] = _KEPT
    return CodeListsOut(
        items=[
            CodeListNameOut(name=name, codes=len(reference.code_list(name)))
            for name in reference.code_lists()
        ]
    )


@router.get(
    "/code-lists/{name}",
    operation_id="directory.read_code_list",
    response_model=CodeListOut,
    responses={**_UNCHANGED, **refusals(CodeListNotFound)},
)
async def read_code_list(
    _: CurrentActor, name: str, response: Response, if_none_match: IfNoneMatch = None
) -> CodeListOut | Response:
    """Read a national code list with its French labels."""
    if name not in reference.code_lists():
        raise CodeListNotFound(code_lists=list(reference.code_lists()))
    found, etag = _rendered(name)
    headers = {"Cache-Control": _KEPT, "ETag": etag}
    if is_known(etag, if_none_match):
        return Response(status_code=304, headers=headers)
    response.headers.update(headers)
    return found


@cache
def _rendered(name: str) -> tuple[CodeListOut, str]:
    items = [CodeOut.model_validate(code) for code in reference.code_list(name).values()]
    found = CodeListOut(name=name, items=items)
    return found, f'"{hashlib.sha256(found.model_dump_json().encode()).hexdigest()[:16]}"'
