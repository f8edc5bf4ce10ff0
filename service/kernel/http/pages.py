"""What a person sees who opens an address in a browser: the text of a problem, the documentation.

A problem's `type` is the address of its page: `/problems/slot-taken`.
"""

from collections.abc import Iterator
from html import escape

from fastapi import APIRouter
from starlette.responses import HTMLResponse, RedirectResponse

from service.kernel.errors import DomainError, NotFound
from service.kernel.http.problems import status_of

router = APIRouter(include_in_schema=False)

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{code}</title>
<h1>{code}</h1>
{texts}
<p>Every refusal: docs/problems.md. The API: <a href="/docs">/docs</a>.</p>
</html>
"""
# What is refused by no room: see `problems.install` and the middleware.
_OTHERS = {
    "method-not-allowed": (405, "This address knows other methods: see the header Allow."),
    "defect": (500, "This is our fault. It was recorded: tell us the request_id."),
}


@router.get("/")
async def first() -> RedirectResponse:
    """Lead to the documentation."""
    return RedirectResponse("/docs")


@router.get("/problems/{code}")
async def problem_page(code: str) -> HTMLResponse:
    """Show what a refusal means."""
    told = sorted({(status_of(each), each.title) for each in _refusals() if each.code == code})
    if code in _OTHERS:
        told.append(_OTHERS[code])
    if not told:
        raise NotFound
    texts = "\n".join(f"<p>{status}: {escape(sentence)}</p>" for status, sentence in told)
    return HTMLResponse(_PAGE.format(code=escape(code), texts=texts))


def _refusals(base: type[DomainError] = DomainError) -> Iterator[type[DomainError]]:
    for refusal in base.__subclasses__():
        yield from _refusals(refusal)
        if hasattr(refusal, "code"):
            yield refusal
